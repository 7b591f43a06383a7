"""Insertion and deletion: does the detector's answer follow the map?

Pixels are inserted into an unrecognisable picture, or deleted from the original, the most salient
first, and the detector runs at every step. A map of what the detector relies on raises the score
early when it inserts, and lowers it early when it deletes (Petsiuk et al., RISE, BMVC 2018,
arXiv:1806.07421, section 4.2; for detections, D-RISE, arXiv:2006.03204, section 4).

Pixels of equal value are in reading order. Steps of all curves go through the detector in full
batches, made as they are needed, so memory does not grow with their number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.records import Proposals, Target, as_targets
from chiaroscuro.core.similarity import similarity
from chiaroscuro.detectors import load_detector
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.observe import usable_image
from chiaroscuro.evidence.passes import default_batch_size, detect_each
from chiaroscuro.metrics.maps import ordered_map
from chiaroscuro.metrics.protocols import (
    Direction,
    Protocol,
    changed,
    protocol_named,
    sigma_px,
    start_and_end,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """The detector's answers while a picture was changed pixel by pixel.

    Attributes:
        direction: ``"insertion"`` or ``"deletion"``.
        protocol: how it was made.
        fraction: ``points``, share of the picture's pixels that were changed, rising from 0.
        similarity: ``points``, in [0, 1]: highest IoU x score (x class agreement) over the
            proposals.
        iou: ``points``: IoU of the proposal of highest similarity; 0 where there is none.
        score: ``points``: its score; 0 where there is none.
    """

    direction: Direction
    protocol: Protocol
    fraction: Float64[Tensor, " points"]
    similarity: Float64[Tensor, " points"]
    iou: Float64[Tensor, " points"]
    score: Float64[Tensor, " points"]

    @property
    def area(self) -> float:
        """Area under the similarity by the trapezoid rule, over the fraction that was changed."""
        return self._area(self.similarity)

    @property
    def iou_area(self) -> float:
        """Area under the IoU alone."""
        return self._area(self.iou)

    @property
    def score_area(self) -> float:
        """Area under the score alone."""
        return self._area(self.score)

    @property
    def start(self) -> float:
        """Similarity before any pixel was changed."""
        return float(self.similarity[0])

    @property
    def end(self) -> float:
        """Similarity after the last step."""
        return float(self.similarity[-1])

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, the protocol with it."""
        return {
            "direction": self.direction,
            "protocol": self.protocol.describe(),
            "area": self.area,
            "iou_area": self.iou_area,
            "score_area": self.score_area,
            "start": self.start,
            "end": self.end,
            "fraction": self.fraction.tolist(),
            "similarity": self.similarity.tolist(),
        }

    def _area(self, values: Tensor) -> float:
        changed = float(self.fraction[-1] - self.fraction[0])
        return float(torch.trapezoid(values, self.fraction)) / changed


def insertion(
    image: Any,
    detector: Any,
    target: Any,
    saliency: Any,
    *,
    protocol: str | Protocol = "chiaroscuro",
    batch_size: int | None = None,
) -> Curve:
    """The curve of one map as its most salient pixels are inserted; a large area is good.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        detector: the one that was explained, or anything ``load_detector`` takes.
        target: Target, or box ``x1 y1 x2 y2``.
        saliency: the raw map, ``height width``: a tensor, a NumPy array or lists.
        protocol: a name of ``PROTOCOLS``, or your own.
        batch_size: pictures per detector call; chosen from the picture's size when not given.

    Raises:
        InputError: on a map of another size than the picture, or with NaN.
        UndefinedMetricError: on a constant map, which has no order of pixels.
        TargetError: on a target outside the picture.
    """
    (curve,) = curves(
        image, detector, [target], [saliency], "insertion", protocol, batch_size=batch_size
    )
    return curve


def deletion(
    image: Any,
    detector: Any,
    target: Any,
    saliency: Any,
    *,
    protocol: str | Protocol = "chiaroscuro",
    batch_size: int | None = None,
) -> Curve:
    """The curve of one map as its most salient pixels are deleted; a small area is good.

    Arguments and errors are those of ``insertion``.
    """
    (curve,) = curves(
        image, detector, [target], [saliency], "deletion", protocol, batch_size=batch_size
    )
    return curve


def overall(insertion: Curve, deletion: Curve) -> float:
    """Insertion area minus deletion area, in [-1, 1].

    Raises:
        InputError: if the curves are not one of each, or were made by two protocols.
    """
    if (insertion.direction, deletion.direction) != ("insertion", "deletion"):
        raise InputError(
            "overall: wanted an insertion and a deletion curve, "
            f"got {insertion.direction} and {deletion.direction}"
        )
    if insertion.protocol != deletion.protocol:
        raise InputError(
            f"overall: the curves were made by two protocols, {insertion.protocol.name} and "
            f"{deletion.protocol.name}; figures of two protocols cannot be compared"
        )
    return insertion.area - deletion.area


def curves(
    image: Any,
    detector: Any,
    targets: Sequence[Any],
    maps: Sequence[Any],
    direction: Direction,
    protocol: str | Protocol = "chiaroscuro",
    *,
    batch_size: int | None = None,
) -> list[Curve]:
    """Curves of several maps in one picture, their steps together in full batches.

    Args:
        image: as for ``insertion``.
        detector: likewise.
        targets: one per map.
        maps: one per target, each ``height width``.
        direction: ``"insertion"`` or ``"deletion"``.
        protocol: as for ``insertion``.
        batch_size: likewise.

    Raises:
        InputError: as for ``insertion``, or if targets and maps differ in number.
    """
    protocol, detector = protocol_named(protocol), load_detector(detector)
    pixels = as_unit_floats(usable_image(image)[None])[0]
    height, width = pixels.shape[1:]
    if len(targets) != len(maps):
        raise InputError(f"maps: wanted one per target, {len(targets)}, got {len(maps)}")
    wanted = [as_targets(target)[0].inside(height, width) for target in targets]
    maps = [ordered_map(saliency, (height, width)) for saliency in maps]
    orders = [
        protocol.order(saliency, target) for saliency, target in zip(maps, wanted, strict=True)
    ]
    fill = protocol.insertion if direction == "insertion" else protocol.deletion

    def steps() -> Iterator[Tensor]:
        ends, sigma = (pixels, pixels), -1.0
        for target, (order, counts) in zip(wanted, orders, strict=True):
            if sigma_px(fill, target) != sigma:  # several maps of one target share a blur
                ends = start_and_end(protocol, direction, pixels, target)
                sigma = sigma_px(fill, target)
            yield from changed(*ends, order, counts)

    size = batch_size or default_batch_size(height, width, torch.device(detector.info.device))
    found = detect_each(steps(), detector, size)
    return [
        _curve(target, counts, [next(found) for _ in counts], direction, protocol, height * width)
        for target, (_, counts) in zip(wanted, orders, strict=True)
    ]


def changed_picture(
    image: Any,
    target: Any,
    saliency: Any,
    direction: Direction,
    share: float | int,
    *,
    protocol: str | Protocol = "chiaroscuro",
) -> Float32[Tensor, "3 height width"]:
    """One step of a curve: the picture with a share of its pixels inserted or deleted.

    Args:
        image: as for ``insertion``.
        target: likewise.
        saliency: likewise.
        direction: ``"insertion"`` or ``"deletion"``.
        share: of the picture's pixels, the most salient first, in [0, 1].
        protocol: as for ``insertion``; its fill is used, its steps are not.

    Raises:
        InputError: as for ``insertion``, or if the share lies outside [0, 1].
    """
    protocol = protocol_named(protocol)
    if not 0 <= share <= 1:
        raise InputError(f"share: wanted a number in [0, 1], got {share}")
    pixels = as_unit_floats(usable_image(image)[None])[0]
    height, width = pixels.shape[1:]
    saliency = ordered_map(saliency, (height, width))
    wanted = as_targets(target)[0].inside(height, width)
    order, _ = protocol.order(saliency, wanted)
    ends = start_and_end(protocol, direction, pixels, wanted)
    return next(changed(*ends, order, [round(share * height * width)]))


def _curve(
    target: Target,
    counts: Sequence[int],
    found: Sequence[Proposals],
    direction: Direction,
    protocol: Protocol,
    pixels: int,
) -> Curve:
    rows = [best_match(target, proposals, protocol.min_iou) for proposals in found]
    match, overlap, score = torch.tensor(rows, dtype=torch.float64).T
    return Curve(
        direction=direction,
        protocol=protocol,
        fraction=torch.tensor(counts, dtype=torch.float64) / pixels,
        similarity=match,
        iou=overlap,
        score=score,
    )


def best_match(
    target: Target, proposals: Proposals, min_iou: float | int = 0.0
) -> tuple[float, float, float]:
    """Similarity, IoU and score of the proposal most like the target; zeros without one.

    Args:
        target: what is matched.
        proposals: what the detector reported.
        min_iou: a proposal that overlaps the target less does not count.
    """
    overlap = boxes.iou(target.box[None], proposals.boxes)[0]
    near = overlap >= max(min_iou, 1e-9)
    if not bool(near.any()):
        return 0.0, 0.0, 0.0
    proposals, overlap = proposals[near], overlap[near]
    match = similarity([target], proposals)[0]
    best = int(match.argmax())
    return float(match[best]), float(overlap[best]), float(proposals.scores[best])

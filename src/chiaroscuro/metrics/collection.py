"""Insertion and deletion over a whole set of pictures, scored by mean average precision.

Bengamra et al. 2023, figure 9: the most salient pixels of all targets are inserted into the blurred
picture, or blurred in the original, and the detector's average precision over the set is measured
at every share of pixels.

The maps of a picture's targets become one order of pixels: each map is divided by its own maximum,
and every pixel takes the largest of the values. So each target's best evidence comes first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import InputError, UndefinedMetricError
from chiaroscuro.core.records import Proposals, Truth, as_targets
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.detectors.protocol import as_unit_floats
from chiaroscuro.evidence.observe import usable_image
from chiaroscuro.evidence.passes import default_batch_size, detect_each
from chiaroscuro.metrics.average_precision import MAX_DETECTIONS, average_precision
from chiaroscuro.metrics.maps import most_salient_first, usable_map
from chiaroscuro.metrics.protocols import (
    DIRECTIONS,
    Direction,
    Protocol,
    changed,
    protocol_named,
    start_and_end,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedPicture:
    """A picture, what was explained in it, and its annotations.

    Attributes:
        name: for the list of pictures left out.
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        targets: what was explained.
        saliency: ``targets height width``, raw: a tensor or a sequence of maps.
        truth: the annotations.
    """

    name: str
    image: Any
    targets: Sequence[Any] | Any
    saliency: Any
    truth: Truth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CollectionCurve:
    """Average precision of a set of pictures while all of them change.

    Attributes:
        direction: ``"insertion"`` or ``"deletion"``.
        protocol: how it was made.
        fraction: ``points``, share of every picture's pixels that was changed, rising from 0.
        ap: ``points``, COCO average precision in [0, 1].
        ap50: ``points``, at an IoU of 0.5.
        n_pictures: number of pictures measured.
        n_boxes: number of their annotations that are scored.
        left_out: the other pictures, each with the reason.
    """

    direction: Direction
    protocol: Protocol
    fraction: Float64[Tensor, " points"]
    ap: Float64[Tensor, " points"]
    ap50: Float64[Tensor, " points"]
    n_pictures: int
    n_boxes: int
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def area(self) -> float:
        """Area under the average precision by the trapezoid rule."""
        return float(torch.trapezoid(self.ap, self.fraction))

    @property
    def ap50_area(self) -> float:
        """Area under AP50."""
        return float(torch.trapezoid(self.ap50, self.fraction))

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, the protocol with it."""
        return {
            "direction": self.direction,
            "protocol": self.protocol.describe(),
            "area": self.area,
            "ap50_area": self.ap50_area,
            "fraction": self.fraction.tolist(),
            "ap": self.ap.tolist(),
            "ap50": self.ap50.tolist(),
            "n_pictures": self.n_pictures,
            "n_boxes": self.n_boxes,
            "left_out": [{"picture": name, "reason": reason} for name, reason in self.left_out],
        }


def merged_map(saliency: Any) -> Float32[Tensor, "height width"]:
    """One order of pixels from the maps of all targets of a picture.

    Args:
        saliency: ``targets height width``, raw; maps without a positive value are skipped.

    Raises:
        UndefinedMetricError: if no map has a positive value.
        InputError: on NaN, infinity or another shape.
    """
    maps = [usable_map(one) for one in saliency]
    shown = [one / one.max() for one in maps if float(one.max()) > 0]
    if not shown:
        raise UndefinedMetricError("no map has a positive value, so nothing is most salient")
    if len({one.shape for one in shown}) > 1:
        raise InputError("saliency: wanted maps of one size")
    return torch.stack(shown).max(dim=0).values


def protocol_of_sets(name: str | Protocol) -> Protocol:
    """The protocol of that name, if its steps are the same in every picture."""
    protocol = protocol_named(name)
    if protocol.step != "picture" or protocol.patch:
        raise InputError(
            f"protocol {protocol.name}: its steps differ from picture to picture; wanted shares of "
            "the picture, as in painting, chiaroscuro and xplique"
        )
    return protocol


def collection_curves(
    pictures: Iterable[MappedPicture],
    detector: Any,
    protocol: str | Protocol = "painting",
    *,
    batch_size: int | None = None,
) -> tuple[CollectionCurve, CollectionCurve]:
    """The insertion and the deletion curve of a set of pictures.

    Pictures are processed one at a time, and only the detections are kept, so with a generator that
    reads them memory does not grow with the pictures.

    Args:
        pictures: the set.
        detector: the one that was explained, or anything ``load_detector`` takes.
        protocol: one whose steps are shares of the picture. A blur that grows with the box grows
            with the largest of the picture's targets.
        batch_size: pictures per detector call.

    Returns:
        Insertion, deletion.

    Raises:
        InputError: on a protocol with other steps, or no usable picture.
        UndefinedMetricError: if no annotation is scored.
    """
    protocol, detector = protocol_of_sets(protocol), load_detector(detector)
    found: dict[Direction, list[list[Proposals]]] = {direction: [] for direction in DIRECTIONS}
    truth: list[Truth] = []
    left_out: list[tuple[str, str]] = []
    for picture in pictures:
        try:
            saliency = merged_map(picture.saliency)
        except UndefinedMetricError as reason:
            left_out.append((picture.name, str(reason)))
            continue
        truth.append(picture.truth)
        for direction, answers in found.items():
            answers.append(_answers(picture, saliency, detector, protocol, direction, batch_size))
    if not truth:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out[:3])
        raise InputError(f"collection_curves: no picture with a map ({reasons or 'none at all'})")
    insertion, deletion = (
        _curve(direction, protocol, found[direction], truth, left_out) for direction in DIRECTIONS
    )
    return insertion, deletion


def _curve(
    direction: Direction,
    protocol: Protocol,
    answers: Sequence[Sequence[Proposals]],
    truth: Sequence[Truth],
    left_out: Sequence[tuple[str, str]],
) -> CollectionCurve:
    points = [average_precision(point, truth) for point in zip(*answers, strict=True)]
    return CollectionCurve(
        direction=direction,
        protocol=protocol,
        fraction=torch.tensor(protocol.shares, dtype=torch.float64),
        ap=torch.tensor([point.ap for point in points], dtype=torch.float64),
        ap50=torch.tensor([point.ap50 for point in points], dtype=torch.float64),
        n_pictures=len(truth),
        n_boxes=sum(int((~one.ignore).sum()) for one in truth),
        left_out=tuple(left_out),
    )


def _answers(
    picture: MappedPicture,
    saliency: Tensor,
    detector: Detector,
    protocol: Protocol,
    direction: Direction,
    batch_size: int | None,
) -> list[Proposals]:
    """Detections at every share of the picture's pixels."""
    pixels = as_unit_floats(usable_image(picture.image)[None])[0]
    height, width = pixels.shape[1:]
    usable_map(saliency, (height, width))
    largest = max(as_targets(picture.targets), key=lambda target: float(boxes.area(target.box)))
    order = most_salient_first(saliency)
    counts = [round(share * height * width) for share in protocol.shares]
    ends = start_and_end(protocol, direction, pixels, largest)
    size = batch_size or default_batch_size(height, width, torch.device(detector.info.device))
    found = detect_each(changed(*ends, order, counts), detector, size)
    return [proposals.best(MAX_DETECTIONS) for proposals in found]

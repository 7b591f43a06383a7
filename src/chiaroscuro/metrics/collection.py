"""Insertion and deletion over a whole set of pictures, scored by mean average precision.

Bengamra et al. 2023, figure 9: every picture is rebuilt with the most salient pixels of all its
targets put into the blurred picture, or blurred out of the original, and the detector's average
precision over the set is measured at every share of pixels.

The maps of a picture's targets are made one order of pixels: each map is divided by its own highest
value and every pixel takes the largest of them, so that each target's best evidence comes first
and the share is exactly what it says.
"""

from collections.abc import Callable, Iterable, Sequence
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
from chiaroscuro.metrics.causal import Direction, changed
from chiaroscuro.metrics.maps import most_salient_first, usable_map
from chiaroscuro.metrics.protocols import Protocol, filled, protocol_named


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedPicture:
    """A picture, what was explained in it, and what is really there.

    Attributes:
        name: for the record of what was left out.
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        targets: what was explained.
        saliency: ``targets height width``, raw: a tensor or a sequence of maps.
        truth: the marked boxes.
    """

    name: str
    image: Any
    targets: Sequence[Any] | Any
    saliency: Any
    truth: Truth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CollectionCurve:
    """Average precision of a set of pictures while all of them are changed.

    Attributes:
        direction: ``"insertion"`` or ``"deletion"``.
        protocol: how it was made.
        fraction: ``points``, share of every picture's pixels that was changed, rising from 0.
        ap: ``points``, COCO average precision in [0, 1].
        ap50: ``points``, at an IoU of 0.5.
        n_pictures: how many pictures count.
        n_boxes: how many marked boxes in them are scored.
        left_out: pictures that do not count, with the reason.
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
        """The same under AP50."""
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
        saliency: ``targets height width``, raw; maps without a positive value take no part.

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
    """The protocol of that name, if its steps are the same in every picture.

    Raises:
        InputError: if they are not.
        UnknownNameError: if there is none.
    """
    protocol = protocol_named(name)
    if protocol.step != "picture" or protocol.patch:
        raise InputError(
            f"protocol {protocol.name}: its steps differ from picture to picture; a set needs "
            "shares of the picture, as painting, chiaroscuro and xplique have them"
        )
    return protocol


def collection_curves(
    pictures: Iterable[MappedPicture],
    detector: Any,
    protocol: str | Protocol = "painting",
    *,
    batch_size: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[CollectionCurve, CollectionCurve]:
    """The insertion and the deletion curve of a set of pictures.

    Pictures are taken one at a time, so a generator that reads them keeps memory flat; what the
    detector reports is all that is kept.

    Args:
        pictures: the set.
        detector: the detector that was explained, or anything ``load_detector`` takes.
        protocol: one whose steps are shares of the picture. A blur that grows with the box grows
            with the largest of the picture's targets.
        batch_size: pictures a detector call.
        progress: called with a picture's name when it is done.

    Returns:
        Insertion, deletion.

    Raises:
        InputError: on a protocol with other steps, or no usable picture.
        UndefinedMetricError: if no marked box is to be scored.
    """
    protocol, detector = protocol_of_sets(protocol), load_detector(detector)
    found: dict[Direction, list[list[Proposals]]] = {"insertion": [], "deletion": []}
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
        if progress is not None:
            progress(picture.name)
    if not truth:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out[:3])
        raise InputError(f"collection_curves: no picture with a map ({reasons or 'none at all'})")
    curves = []
    for direction, answers in found.items():
        points = [average_precision(list(at), truth) for at in zip(*answers, strict=True)]
        curves.append(
            CollectionCurve(
                direction=direction,
                protocol=protocol,
                fraction=torch.tensor(protocol.shares, dtype=torch.float64),
                ap=torch.tensor([point.ap for point in points], dtype=torch.float64),
                ap50=torch.tensor([point.ap50 for point in points], dtype=torch.float64),
                n_pictures=len(truth),
                n_boxes=sum(int((~marked.ignore).sum()) for marked in truth),
                left_out=tuple(left_out),
            )
        )
    return curves[0], curves[1]


def _answers(
    picture: MappedPicture,
    saliency: Tensor,
    detector: Detector,
    protocol: Protocol,
    direction: Direction,
    batch_size: int | None,
) -> list[Proposals]:
    """What the detector reports at every share of the picture's pixels."""
    pixels = as_unit_floats(usable_image(picture.image)[None])[0]
    height, width = pixels.shape[1:]
    usable_map(saliency, (height, width))
    largest = max(as_targets(picture.targets), key=lambda target: float(boxes.area(target.box)))
    order = most_salient_first(saliency)
    counts = [round(share * height * width) for share in protocol.shares]
    fill = protocol.insertion if direction == "insertion" else protocol.deletion
    other = filled(fill, pixels, largest)
    before, after = (other, pixels) if direction == "insertion" else (pixels, other)
    size = batch_size or default_batch_size(height, width, torch.device(detector.info.device))
    found = detect_each(changed(before, after, order, counts), detector, size)
    return [proposals.best(MAX_DETECTIONS) for proposals in found]

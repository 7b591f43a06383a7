"""Whether boxes are plausible as they were read: a wrong layout is refused, with the cause."""

import torch
from torch import Tensor

from chiaroscuro.core import boxes as geometry
from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.detectors.commons.placement import Placement, corners, inverted
from chiaroscuro.detectors.commons.rows import Rows
from chiaroscuro.detectors.protocol import DetectorInfo

_STRONG = 0.5  # of the best score: weaker boxes may lie anywhere
_PIXEL = 2.0  # in pixels of the network's input: a shorter side is of no object
_SEVERAL = 5  # equal boxes: fewer may be one object
_MANY = 20  # boxes, from which their format is visible
_INVERTED = (
    "inverted (x2 < x1 or y2 < y1): they look like x y width height, centre and size, or y x y x",
    "box_format='xywh', 'cxcywh' or 'yxyx'",
)


def refuse_implausible(rows: Rows, placement: Placement, info: DetectorInfo) -> None:
    """Check the strongest boxes of a picture, in pixels of the network's input."""
    boxes, scores = _reported(rows, info.min_score)
    if not len(boxes):
        return
    strongest = boxes[scores >= _STRONG * scores[0]]
    fault = _fault_of_strongest(strongest, placement) or _fault_of_all(boxes, placement)
    if fault is None:
        return
    what, remedy = fault
    shown = ", ".join(f"{float(side):z.4g}" for side in boxes[0])
    height, width = placement.size
    raise DetectorOutputError(
        f"detector {info.name}: wanted boxes x1 y1 x2 y2 in pixels of its input, {width} wide and "
        f"{height} high, got boxes {what}; the strongest: {shown}. Give "
        f"{remedy}, or another layout="
    )


def _fault_of_strongest(boxes: Tensor, placement: Placement) -> tuple[str, str] | None:
    """What is wrong with the strongest boxes, and the remedy."""
    upside_down = inverted(boxes)
    upright = boxes[~upside_down]
    if bool((boxes.abs() <= 1.5).all()) and min(placement.size) > 4:
        return "in [0, 1]", "normalised=True (or grid_offsets=True, for offsets of a grid)"
    if _most(upside_down):
        return _INVERTED
    if _most((upright[:, 2:] - upright[:, :2] <= _PIXEL).all(dim=1)):
        what = "of about one pixel: they look like offsets of a grid, or fractions of the picture"
        return what, "grid_offsets=True or normalised=True"
    if _most(_share_inside(upright, placement) < 0.5):
        return _why_outside(upright, placement)
    if len(boxes) >= _SEVERAL and bool(((boxes - boxes[0]).abs() < 1e-3).all()):
        what = f"all the same, {len(boxes)} times: another output may hold the boxes"
        return what, "outputs={'boxes': 'NAME', ...}"
    return None


def _fault_of_all(boxes: Tensor, placement: Placement) -> tuple[str, str] | None:
    """What is wrong with many boxes, weak ones among them, and the remedy."""
    if len(boxes) < _MANY:
        return None
    if float(inverted(boxes).float().mean()) > 0.2:
        return _INVERTED
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    height, width = placement.size
    spread = (centre.amax(dim=0) - centre.amin(dim=0)) / boxes.new_tensor([width, height])
    near = (size >= boxes[:, :2]).all(dim=1).float().mean()
    if float(near) > 0.95 and bool((spread > 0.4).all()):  # not all of one large object
        what = "that nearly all begin at the top left: they look like corners, read as a place"
        return f"{what} and a size", "box_format='xyxy' or 'yxyx'"
    return None


def refuse_labels(rows: Rows, info: DetectorInfo, first_label: int) -> None:
    """Check that every label has a class name; ``first_label`` is the file's first number."""
    labels = rows.labels[(rows.scores >= info.min_score) & (rows.scores > 0)]
    n = len(info.class_names)
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n:
        low, high = (int(end) + first_label for end in (labels.min(), labels.max()))
        raise DetectorOutputError(
            f"detector {info.name}: wanted labels from {first_label} to {first_label + n - 1}, got "
            f"{low} to {high}; give class_names, all of them, or first_label, the number of the "
            "first (1 where a background is 0)"
        )


def _reported(rows: Rows, min_score: float) -> tuple[Tensor, Tensor]:
    """Finite boxes that reach the lowest score, and their scores, best first."""
    boxes, scores = rows.boxes, rows.scores
    usable = torch.isfinite(boxes).all(dim=1) & torch.isfinite(scores)
    usable &= (scores >= min_score) & (scores > 0)
    boxes, scores = boxes[usable], scores[usable]
    order = scores.argsort(descending=True, stable=True)
    return boxes[order], scores[order]


def _most(flags: Tensor) -> bool:
    return bool(len(flags)) and float(flags.float().mean()) > 0.5


def _share_inside(boxes: Tensor, placement: Placement) -> Tensor:
    """Share of each box that lies on the picture."""
    (top, left), (height, width) = placement.corner, placement.inner
    picture = boxes.new_tensor([[left, top, left + width, top + height]])
    return geometry.share_inside(boxes, picture)[:, 0]


def _why_outside(boxes: Tensor, placement: Placement) -> tuple[str, str]:
    """The likely cause of boxes that lie off the picture, and the remedy."""
    if float(boxes.abs().median()) > 4 * max(placement.size):
        what = "far off the picture: pixels may have been enlarged again"
        return what, "normalised=False or grid_offsets=False"
    if not _most(_share_inside(corners(boxes, "yxyx"), placement) < 0.5):
        return "off the picture, as if x and y were swapped", "box_format='yxyx'"
    return "off the picture, or mostly so", "box_format= (xyxy, yxyx, xywh or cxcywh)"

"""Whether a function's boxes are ``x1 y1 x2 y2`` in pixels of the picture.

A box in another format often looks like a box: ``x y width height`` in the picture's upper left
passes every check of its shape, and the map would explain the wrong place. Two things reveal the
format: rows that cannot be boxes in this picture, and the same picture mirrored, in which a box in
pixels is mirrored too.
"""

import torch
from torch import Tensor

from chiaroscuro.core import boxes as geometry
from chiaroscuro.detectors.commons.placement import corners, inverted

_SMALLEST = 16  # pixels per side; a smaller picture reveals no format
_WRONG_SHARE = 0.2  # of the scores on impossible boxes, from which the format is suspected
_MARGIN = 0.05  # of a side: a box of the right format may reach that far past the picture
_FAR = 0.25  # of a side: a box whose centre lies farther outside is impossible
_SAME = 0.6  # IoU from which a mirrored box is where it should be
_BETTER = 0.3  # IoU by which another format must fit better
_MOVED = 0.02  # of the width: a box that moved less reveals nothing


_OTHER_FORMATS = {
    "x y width height": "xywh",
    "centre x, centre y, width, height": "cxcywh",
    "y1 x1 y2 x2": "yxyx",
}


def suspicion(boxes: Tensor, scores: Tensor, height: int, width: int) -> str | None:
    """The likely format of one picture's boxes, if they cannot be ``x1 y1 x2 y2`` in its pixels.

    None where the boxes are plausible. Rows that are not finite, and padding of score 0 or less,
    are skipped.
    """
    boxes, scores = _judged(boxes, scores)
    if not len(boxes) or min(height, width) < _SMALLEST:
        return None
    if _normalised(boxes):
        return (
            f"looks normalised, from 0 to 1; multiply x by {width}, the picture's width, and y by "
            f"{height}, its height"
        )
    upside_down = inverted(boxes)
    outside = _far_outside(boxes, height, width)
    wrong = upside_down | outside
    if float(scores[wrong].sum()) < _WRONG_SHARE * float(scores.sum()):
        return None
    fitting = [
        name
        for name, box_format in _OTHER_FORMATS.items()
        if bool(_inside(corners(boxes, box_format), height, width).all())
    ]
    if fitting:
        return f"looks like {' or '.join(fitting)}; convert to x1 y1 x2 y2"
    if bool(upside_down.any()):
        return (
            f"looks like x y width height, or another order, since {int(upside_down.sum())} of "
            f"{len(boxes)} boxes have x2 < x1 or y2 < y1; convert to x1 y1 x2 y2"
        )
    return (
        f"looks like pixels of another size: {int(outside.sum())} of {len(boxes)} boxes lie far "
        f"outside the picture, which is {width} pixels wide and {height} high; if it is resized "
        "first, scale the boxes back"
    )


def undecided(boxes: Tensor, scores: Tensor, height: int, width: int) -> bool:
    """Whether one picture's boxes could also be a corner or a centre with a size."""
    boxes, _ = _judged(boxes, scores)
    if min(height, width) < _SMALLEST:
        return False
    return any(
        bool(_inside(corners(boxes, box_format), height, width).all())
        for box_format in ("xywh", "cxcywh")
    )


def suspicion_mirrored(
    boxes: Tensor, scores: Tensor, mirrored: Tensor, mirrored_scores: Tensor, size: tuple[int, int]
) -> str | None:
    """The likely format, if boxes of the mirrored picture are mirrored only in that format.

    None also where the strongest box did not move, which reveals nothing.
    """
    height, width = size
    boxes, scores = _judged(boxes, scores)
    mirrored, mirrored_scores = _judged(mirrored, mirrored_scores)
    if not len(boxes) or not len(mirrored) or min(size) < _SMALLEST:
        return None
    best = boxes[scores.argmax()][None]
    if float((mirrored - best).abs().amax(dim=1).min()) <= _MOVED * width:
        return None
    needed = max(_SAME, _agreement(_flipped(best, width), mirrored) + _BETTER)
    fitting = [
        name
        for name, box_format in _OTHER_FORMATS.items()
        if _agreement(_flipped(corners(best, box_format), width), corners(mirrored, box_format))
        >= needed
        and bool(_inside(corners(best, box_format), height, width).all())
    ]
    if not fitting:
        return None
    return (
        f"looks like {' or '.join(fitting)}, by the boxes of the mirrored picture; "
        "convert to x1 y1 x2 y2"
    )


def _judged(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    kept = torch.isfinite(boxes).all(dim=1) & (scores > 0)
    return boxes[kept], scores[kept]


def _normalised(boxes: Tensor) -> bool:
    """All within about a pixel of the corner, and not on whole pixels."""
    if float(boxes.min()) < -0.5 or float(boxes.max()) > 1.5:
        return False
    return bool(((boxes - boxes.round()).abs() > 1e-6).any())


def _far_outside(boxes: Tensor, height: int, width: int) -> Tensor:
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = boxes.new_tensor([width, height])
    return ((centres < -_FAR * size) | (centres > (1 + _FAR) * size)).any(dim=1)


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    size = boxes.new_tensor([width, height])
    margin = _MARGIN * size + 1
    upright = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    return upright & ((boxes[:, :2] >= -margin) & (boxes[:, 2:] <= size + margin)).all(dim=1)


def _flipped(boxes: Tensor, width: int) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def _agreement(box: Tensor, others: Tensor) -> float:
    """Highest IoU of a box with others; an inverted one agrees with none."""
    upright = others[~inverted(others)]
    if not len(upright) or bool(inverted(box).any()):
        return 0.0
    return float(geometry.iou(box, upright).max())

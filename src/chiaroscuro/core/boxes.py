"""Box geometry in one convention: ``x1 y1 x2 y2``, pixels, continuous coordinates.

A box covers the points ``x1 <= x < x2``; its width is ``x2 - x1``, with nothing added. The pixel in
column ``c`` covers ``[c, c + 1)`` and has its centre at ``c + 0.5``.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def area(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """Area of every box in square pixels; 0 for empty or inverted boxes."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(
        min=0
    )


def iou(first: Float[Tensor, "n 4"], second: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of every pair of boxes, in [0, 1].

    Without a smoothing term: two equal boxes of any size have exactly 1. Where the union is empty
    the value is 0.
    """
    shared = intersection(first, second)
    union = area(first)[:, None] + area(second)[None, :] - shared
    return torch.where(union > 0, shared / union.clamp(min=1e-30), union.new_zeros(()))


def intersection(first: Float[Tensor, "n 4"], second: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Area that every pair of boxes shares, in square pixels."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    extent = (high - low).clamp(min=0)
    return extent[..., 0] * extent[..., 1]


def share_inside(first: Float[Tensor, "n 4"], second: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Share of each first box's area that lies in each second one, in [0, 1]; 0 without area."""
    own = area(first)[:, None]
    shared = intersection(first, second)
    return torch.where(own > 0, shared / own.clamp(min=1e-30), shared.new_zeros(()))


def distance_map(box: Float[Tensor, "4"], height: int, width: int) -> Float[Tensor, "height width"]:
    """Euclidean distance in pixels from every pixel centre to the box; 0 inside it."""
    x1, y1, x2, y2 = box.tolist()
    x = torch.arange(width, dtype=torch.float32) + 0.5
    y = torch.arange(height, dtype=torch.float32) + 0.5
    dx = torch.maximum(x1 - x, x - x2).clamp(min=0)
    dy = torch.maximum(y1 - y, y - y2).clamp(min=0)
    return torch.hypot(dx[None, :], dy[:, None])


def neighbourhood(
    box: Float[Tensor, "4"], height: int, width: int
) -> tuple[Bool[Tensor, "height width"], Bool[Tensor, "height width"]]:
    """Pixels in the box, and pixels in the ring around it.

    The ring is everything outside the box that is nearer to it than one box size, the square root
    of the box's area. Fidelity is judged over the two together.

    Returns:
        Two disjoint boolean masks, ``(inside, ring)``.
    """
    distance = distance_map(box, height, width)
    inside = distance == 0
    size = float(area(box).sqrt())
    return inside, (distance < size) & ~inside


def have_area_in(boxes: Float[Tensor, "n 4"], height: int, width: int) -> Bool[Tensor, " n"]:
    """Whether each box has an area, some of it inside a picture of that size."""
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    inside: Tensor = (x2 > x1) & (y2 > y1) & (x1 < width) & (y1 < height) & (x2 > 0) & (y2 > 0)
    return inside

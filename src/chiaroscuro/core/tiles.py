"""Tiles: overlapping parts of a picture, at its full size and at halves of it.

A detector made for pictures of some size sees small faces of a larger picture in tiles of that size
(sliced inference: Akyon et al., SAHI, ICIP 2022, arXiv:2202.06934), and large faces in tiles of the
picture reduced to a half, a quarter and so on, until one tile is all of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiaroscuro.core.windows import Window

OVERLAP = 0.25  # of a tile's side, at least


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture at one of its sizes.

    Attributes:
        size: height and width in pixels to which the picture is reduced first.
        scale: reduced pixels per pixel of the picture, in (0, 1].
        window: the part, in reduced pixels.
    """

    size: tuple[int, int]
    scale: float
    window: Window

    @property
    def whole(self) -> bool:
        """Whether it is all of the picture."""
        return self.window.size == self.size

    @property
    def place(self) -> list[int]:
        """``x1 y1 x2 y2`` in whole pixels of the picture."""
        return [round(value / self.scale) for value in self.window.plain()]

    def in_picture(self, boxes: Tensor) -> Tensor:
        """Boxes ``... 4`` in the tile's pixels, in those of the picture."""
        x, y = self.window.x1, self.window.y1
        return (boxes + boxes.new_tensor([x, y, x, y])) / self.scale

    def in_tile(self, boxes: Tensor) -> Tensor:
        """Boxes ``... 4`` in the picture's pixels, in those of the tile."""
        x, y = self.window.x1, self.window.y1
        return boxes * self.scale - boxes.new_tensor([x, y, x, y])

    def depth(self, boxes: Tensor) -> Tensor:
        """How far boxes ``n 4`` in the tile's pixels are from the borders that cut the picture.

        Returns:
            ``n``, pixels: to the nearest border; below 0 where it cuts the box, infinite where the
            tile is the whole picture.
        """
        (height, width), one = self.size, self.window
        x1, y1, x2, y2 = boxes.unbind(-1)
        far = torch.full_like(x1, math.inf)
        sides = (
            x1 if one.x1 > 0 else far,
            y1 if one.y1 > 0 else far,
            one.size[1] - x2 if one.x2 < width else far,
            one.size[0] - y2 if one.y2 < height else far,
        )
        return torch.stack(sides).amin(dim=0)


def tiles_of(height: int, width: int, side: int) -> list[Tile]:
    """All tiles of a picture, of at most ``side`` pixels across and down; coarse ones first.

    The first is all of the picture, halved until it fits. The tiles of one size are of one shape,
    spread evenly, and neighbours overlap by a quarter of ``side`` or more.
    """
    longer = max(height, width)
    halvings = max(0, math.ceil(math.log2(longer / side)))
    tiles: list[Tile] = []
    for times in range(halvings, -1, -1):
        scale = round(longer / 2**times) / longer
        size = max(1, round(height * scale)), max(1, round(width * scale))
        rows, columns = (_spread(length, side) for length in size)
        tiles += [
            Tile(size, scale, Window(x1, y1, x2, y2)) for y1, y2 in rows for x1, x2 in columns
        ]
    return tiles


def tile_for(box: Tensor, tiles: Sequence[Tile]) -> Tile:
    """The tile for a box ``4`` in the picture's pixels of which no detector says how large it is.

    Of the largest size at which a tile shows at least as much around the box as the box is long,
    the tile whose borders are farthest from it.
    """

    def depth(tile: Tile) -> float:
        return float(tile.depth(tile.in_tile(box[None]))[0])

    length = float((box[2:] - box[:2]).max())
    fitting = [tile for tile in tiles if depth(tile) >= length * tile.scale]
    scale = max(tile.scale for tile in fitting)  # the whole picture always fits
    return max((tile for tile in fitting if tile.scale == scale), key=depth)


def _spread(length: int, side: int) -> list[tuple[int, int]]:
    """First and last pixel of equal parts of a length, overlapping, none longer than ``side``."""
    overlap = math.ceil(OVERLAP * side)
    n = 1 if length <= side else math.ceil((length - overlap) / (side - overlap))
    extent = math.ceil((length + (n - 1) * overlap) / n)
    starts = [round(i * (length - extent) / max(1, n - 1)) for i in range(n)]
    return [(start, start + extent) for start in starts]

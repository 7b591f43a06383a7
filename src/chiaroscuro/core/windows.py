"""Windows: parts of a picture round targets, on which passes are run instead of on the whole.

A detector of limited surroundings answers in a window as it does in the whole picture, if the grids
of its layers fall on the same pixels: so corners lie on multiples of its stride. Whether it does is
measured, never assumed: see ``evidence.certificate``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiaroscuro.core.records import Target

MARGINS = ((1.0, 96.0), (2.0, 128.0))  # of windows, tried in turn: in box sides, at least pixels
MOST_OF_PICTURE = 0.8  # share of the picture above which windows are not worth their certificate


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A part of a picture: ``x1 y1 x2 y2`` in whole pixels; the last column is ``x2 - 1``."""

    x1: int
    y1: int
    x2: int
    y2: int

    @classmethod
    def whole(cls, size: Sequence[int]) -> "Window":
        """All of a picture of that height and width."""
        height, width = size
        return cls(0, 0, width, height)

    def plain(self) -> list[int]:
        """As JSON values."""
        return [self.x1, self.y1, self.x2, self.y2]

    @property
    def area(self) -> int:
        """In pixels."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y2 - self.y1, self.x2 - self.x1

    @property
    def rows(self) -> Tensor:
        """Numbers of the picture's rows in it."""
        return torch.arange(self.y1, self.y2)

    @property
    def columns(self) -> Tensor:
        """Numbers of the picture's columns in it."""
        return torch.arange(self.x1, self.x2)

    def of(self, image: Tensor) -> Tensor:
        """This part of ``... height width``; a view."""
        return image[..., self.y1 : self.y2, self.x1 : self.x2]

    def holds(self, box: Tensor) -> bool:
        """Whether a box ``4`` lies inside."""
        x1, y1, x2, y2 = box.tolist()
        return bool(self.x1 <= x1 and self.y1 <= y1 and x2 <= self.x2 and y2 <= self.y2)

    def contains(self, other: "Window") -> bool:
        """Whether another window lies inside."""
        return self.within(other) == other

    def within(self, other: "Window") -> "Window":
        """The part that two windows share."""
        low = max(self.x1, other.x1), max(self.y1, other.y1)
        return Window(*low, min(self.x2, other.x2), min(self.y2, other.y2))

    def moved(self, right: int, down: int) -> "Window":
        """The same window that many pixels further right and down."""
        return Window(self.x1 + right, self.y1 + down, self.x2 + right, self.y2 + down)

    def with_other(self, other: "Window") -> "Window":
        """The smallest window that holds both; its corners are among theirs."""
        low = min(self.x1, other.x1), min(self.y1, other.y1)
        return Window(*low, max(self.x2, other.x2), max(self.y2, other.y2))


@dataclass(frozen=True, slots=True)
class Group:
    """A window, and the numbers of the targets that it is for."""

    window: Window
    targets: tuple[int, ...]


def window_around(
    box: Tensor, size: tuple[int, int], stride: float, margin: tuple[float, float]
) -> Window:
    """The window of one box.

    Args:
        box: ``4``, in the picture.
        size: height and width of the picture.
        stride: of the detector's grid, in pixels of the picture.
        margin: in longer sides of the box, and at least in pixels.
    """
    x1, y1, x2, y2 = map(float, box)
    around = max(margin[0] * max(x2 - x1, y2 - y1), margin[1])
    height, width = size

    def low(value: float) -> int:
        return round(stride * math.floor(max(0.0, value - around) / stride))

    def high(value: float, limit: int) -> int:
        return min(limit, round(stride * math.ceil((value + around) / stride)))

    return Window(low(x1), low(y1), high(x2, width), high(y2, height))


def grouped(
    targets: Sequence[Target],
    numbers: Sequence[int],
    size: tuple[int, int],
    stride: float,
    margin: tuple[float, float],
) -> list[Group]:
    """Windows for some of the targets: two are merged where one is no larger than both.

    Targets too large for a window, as their windows would be most of the picture, have none.
    """
    whole = size[0] * size[1]
    groups: list[Group] = []
    for number in numbers:
        window = window_around(targets[number].box, size, stride, margin)
        if window.area <= MOST_OF_PICTURE * whole:
            _merge_into(groups, Group(window, (number,)))
    return sorted(groups, key=lambda group: group.targets)


def _merge_into(groups: list[Group], new: Group) -> None:
    """Add a group, merged with those that it saves pixels with, which may bring in others."""
    while True:
        saved = [_saved(new.window, group.window) for group in groups]
        best = max(range(len(groups)), key=saved.__getitem__, default=None)
        if best is None or saved[best] < 0:
            groups.append(new)
            return
        other = groups.pop(best)
        numbers = tuple(sorted((*new.targets, *other.targets)))
        new = Group(new.window.with_other(other.window), numbers)


def _saved(first: Window, second: Window) -> int:
    """Pixels of two windows above those of one that holds both."""
    return first.area + second.area - first.with_other(second).area

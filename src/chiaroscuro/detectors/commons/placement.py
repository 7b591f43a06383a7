"""Boxes of any format, and a picture in a network's input: boxes and maps back from it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

BOX_FORMATS = ("xyxy", "yxyx", "xywh", "cxcywh")


def corners(boxes: Float[Tensor, "*n 4"], box_format: str) -> Float[Tensor, "*n 4"]:
    """Boxes of one of ``BOX_FORMATS`` as ``x1 y1 x2 y2``."""
    from torchvision.ops import box_convert  # heavy: not needed to list detectors

    if box_format == "yxyx":
        return boxes[..., [1, 0, 3, 2]]
    converted: Tensor = box_convert(boxes, box_format, "xyxy")
    return converted


def inverted(boxes: Float[Tensor, "n 4"]) -> Bool[Tensor, " n"]:
    """Which boxes have ``x2 < x1`` or ``y2 < y1``."""
    return (boxes[:, 2:] < boxes[:, :2]).any(dim=1)


_GREY = (114 / 255,) * 3  # YOLO networks are trained with bars of this colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a picture lies in a network's input: resized to ``inner``, its corner at ``corner``.

    Attributes:
        picture: height, width of the picture in pixels.
        size: height, width of the network's input.
        inner: height, width of the resized picture in the input.
        corner: top, left of the resized picture in the input.
        antialias: whether pictures are reduced by averaging, as in PIL, or by plain bilinear
            interpolation, as in OpenCV; the network's training decides.
        colour: of the bars, red green blue in [0, 1].
    """

    picture: tuple[int, int]
    size: tuple[int, int]
    inner: tuple[int, int]
    corner: tuple[int, int] = (0, 0)
    antialias: bool = False
    colour: tuple[float, float, float] = _GREY

    @classmethod
    def letterbox(
        cls,
        picture: tuple[int, int],
        size: tuple[int, int],
        multiple: int = 32,
        *,
        centred: bool = True,
        colour: tuple[float, float, float] = _GREY,
    ) -> "Placement":
        """Resized with its aspect ratio kept, and bars at the sides, as YOLO networks expect.

        A side of 0 is free: as long as needed, to the next multiple. Bars that are not centred are
        to the right and below.
        """
        ratio = min((s / p for s, p in zip(size, picture, strict=True) if s), default=1.0)
        inner = pair(max(1, round(side * ratio)) for side in picture)
        filled = _free_sides(size, inner, multiple)
        corner = pair(max(0, round((s - i) / 2 - 0.1)) for s, i in zip(filled, inner, strict=True))
        return cls(
            picture=picture,
            size=filled,
            inner=inner,
            corner=corner if centred else (0, 0),
            colour=colour,
        )

    @classmethod
    def stretch(
        cls,
        picture: tuple[int, int],
        size: tuple[int, int],
        multiple: int = 32,
        *,
        antialias: bool = True,
    ) -> "Placement":
        """Resized to fill the input; a free side is the picture's own, to the next multiple."""
        filled = _free_sides(size, picture, multiple)
        return cls(picture=picture, size=filled, inner=filled, antialias=antialias)

    def of_part(self, part: tuple[int, int], multiple: int) -> "Placement":
        """A part, of that height and width, of the picture: resized by the same factors.

        The cells of ``multiple`` pixels of the input fall on the picture as in the whole, if the
        part's corner is at whole cells from the picture's: the bars are as wide as the whole's.
        """
        inner = pair(
            max(1, round(side * resized / whole))
            for side, resized, whole in zip(part, self.inner, self.picture, strict=True)
        )
        corner = pair(offset % multiple for offset in self.corner)
        needed = pair(c + i for c, i in zip(corner, inner, strict=True))
        size = _free_sides((0, 0), needed, multiple)
        return replace(self, picture=part, size=size, inner=inner, corner=corner)

    def fill(self, images: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 h w"]:
        """The network's input, still in [0, 1]."""
        if self.inner != self.picture:
            images = F.interpolate(
                images, self.inner, mode="bilinear", align_corners=False, antialias=self.antialias
            )
        if self.inner == self.size:
            return images
        (top, left), (height, width) = self.corner, self.inner
        bars = images.new_tensor(self.colour).view(1, 3, 1, 1)
        filled = bars.expand(len(images), 3, *self.size).clone()
        filled[:, :, top : top + height, left : left + width] = images
        return filled

    def to_picture(self, boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
        """Boxes in pixels of the network's input as boxes in pixels of the picture."""
        (top, left), (height, width) = self.corner, self.inner
        offset = boxes.new_tensor([left, top, left, top])
        x, y = self.picture[1] / width, self.picture[0] / height
        return (boxes - offset) * boxes.new_tensor([x, y, x, y])


def scaled_up(boxes: Float[Tensor, "*n 4"], size: tuple[int, int]) -> Float[Tensor, "*n 4"]:
    """Boxes in [0, 1] as boxes in pixels of an area of that height and width."""
    height, width = size
    return boxes * boxes.new_tensor([width, height, width, height])


def over_picture(
    cells: Float[Tensor, "n h w"], cell: tuple[float, float], picture: tuple[int, int]
) -> Float[Tensor, "n height width"]:
    """Maps of a network's cells over the picture, bilinear; constant beyond the outer centres.

    The cells, of a height and width in pixels of the picture, begin at its top left corner.
    """
    down, right = (
        _weights(n_cells, side, pixels).to(cells)
        for n_cells, side, pixels in zip(cells.shape[1:], cell, picture, strict=True)
    )
    return down @ cells @ right.T


def pair(values: Any) -> tuple[int, int]:
    """Two whole numbers."""
    first, second = values
    return int(first), int(second)


def _free_sides(size: tuple[int, int], needed: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The size, with sides of 0 replaced by what is needed, rounded up to a multiple."""
    return pair(s or math.ceil(n / multiple) * multiple for s, n in zip(size, needed, strict=True))


def _weights(n_cells: int, cell: float, pixels: int) -> Float[Tensor, "pixels n_cells"]:
    """Weight of every cell at every pixel centre, along one axis."""
    place = ((torch.arange(pixels) + 0.5) / cell - 0.5).clamp(0, n_cells - 1)
    return (1 - (place[:, None] - torch.arange(n_cells)).abs()).clamp(min=0)

"""Protocols by name: everything that two insertion or deletion figures must share to be compared.

The literature uses a dozen and seldom names them; the same method scores 0.44 under one and 0.86
under another. A result here always carries its protocol.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import UnknownNameError
from chiaroscuro.core.masks import gaussian_blur
from chiaroscuro.core.records import Target
from chiaroscuro.metrics.maps import most_salient_first


@dataclass(frozen=True, slots=True, kw_only=True)
class Blur:
    """A Gaussian blur.

    Attributes:
        sigma: in pixels, or in box sizes (the square root of the target's area).
        kernel: pixels per side, odd; 6 sigma when None.
        unit: of ``sigma``.
    """

    sigma: float | int
    kernel: int | None = None
    unit: Literal["pixels", "box sizes"] = "pixels"


Fill = Literal["black"] | Blur
Direction = Literal["insertion", "deletion"]
DIRECTIONS: tuple[Direction, ...] = ("insertion", "deletion")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a curve is made.

    Attributes:
        name: as users type it.
        insertion: the picture before anything is inserted.
        deletion: what replaces a deleted pixel.
        step: unit of a step: a share of the picture, up to all of it; a share of the box's area, up
            to as many pixels as the box has; or pixels.
        shares: for steps that are shares: where the curve is measured, from 0 to 1.
        step_px: for steps in pixels.
        patch: side of the square patches that change as a whole, in box sizes, in the order of the
            map's mean over each; 0 changes single pixels.
        min_iou: a proposal that overlaps the target less does not count.
        source: where the protocol comes from.
    """

    name: str
    insertion: Fill
    deletion: Fill
    step: Literal["picture", "box", "pixels"] = "picture"
    shares: tuple[float | int, ...] = ()
    step_px: int = 0
    patch: float | int = 0
    min_iou: float = 0.0
    source: str = ""

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    def order(
        self, saliency: Float32[Tensor, "height width"], target: Target
    ) -> tuple[Int64[Tensor, " pixels"], list[int]]:
        """The order in which pixels change.

        Equal pixels, or patches, are in reading order. Where a step does not divide the whole, the
        last one is shorter.

        Returns:
            The pixels, numbered in reading order, the most salient first; and how many of them have
            changed at every point of the curve, from 0 on, rising.
        """
        height, width = saliency.shape
        total = height * width
        if self.patch:
            return self._patches(saliency, target)
        order = most_salient_first(saliency)
        if self.step == "pixels":
            return order, [*range(0, total, self.step_px), total]
        whole = total if self.step == "picture" else min(total, float(boxes.area(target.box)))
        return order, sorted({min(total, round(share * whole)) for share in self.shares})

    def _patches(
        self, saliency: Float32[Tensor, "height width"], target: Target
    ) -> tuple[Int64[Tensor, " pixels"], list[int]]:
        height, width = saliency.shape
        side = max(1, round(self.patch * float(boxes.area(target.box).sqrt())))
        across = math.ceil(width / side)
        row, column = torch.arange(height) // side, torch.arange(width) // side
        patch = (row[:, None] * across + column).flatten()
        sizes = torch.bincount(patch)
        means = torch.bincount(patch, weights=saliency.flatten().double()) / sizes
        best = torch.argsort(means, descending=True, stable=True)
        rank = torch.empty_like(best)
        rank[best] = torch.arange(len(best))
        ends = [0, *sizes[best].cumsum(0).tolist()]
        points = sorted({round(share * len(best)) for share in self.shares})
        return torch.argsort(rank[patch], stable=True), [ends[point] for point in points]


def _even(n: int) -> tuple[float, ...]:
    return tuple(i / n for i in range(n + 1))


_FINE_FIRST = tuple(
    percent / 100
    for percent in (0, 0.2, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100)
)  # most of what matters happens within the first tenth of the picture
_BLUR_BY_BOX = Blur(sigma=0.5, unit="box sizes")

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="chiaroscuro",
            insertion=_BLUR_BY_BOX,
            deletion=_BLUR_BY_BOX,
            shares=_FINE_FIRST,
            source="ours: the blur grows with the box, so that its start is no face",
        ),
        Protocol(
            name="painting",
            insertion=Blur(sigma=50, kernel=51),
            deletion=Blur(sigma=50, kernel=51),
            shares=_FINE_FIRST,
            source="Bengamra et al. 2023: blur of kernel 51 and sigma 50, shares of the picture",
        ),
        Protocol(
            name="rise",
            insertion=Blur(sigma=5, kernel=11),
            deletion="black",
            step="pixels",
            step_px=224,
            source="Petsiuk et al. 2018, arXiv:1806.07421: steps of 224 pixels",
        ),
        Protocol(
            name="xplique",
            insertion="black",
            deletion="black",
            shares=_even(10),
            source="Xplique 2.0: ten steps, baseline 0",
        ),
        Protocol(
            name="vxcode",
            insertion=Blur(sigma=200, kernel=201),
            deletion=Blur(sigma=200, kernel=201),
            shares=_FINE_FIRST,
            patch=0.25,
            source="Yamauchi et al. 2026, arXiv:2412.00666: blur of kernel 201 and sigma 200, "
            "whole patches; their side, a quarter of the box's, and the points measured are ours",
        ),
        Protocol(
            name="odam",
            insertion="black",
            deletion="black",
            step="box",
            shares=_even(100),
            min_iou=0.5,
            source="ODAM: a hundred steps of a hundredth of the box's area, IoU above 0.5",
        ),
    )
}


def protocol_named(name: str | Protocol) -> Protocol:
    """The protocol of that name."""
    if isinstance(name, Protocol):
        return name
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, list(PROTOCOLS))
    return PROTOCOLS[name]


def filled(
    fill: Fill, image: Float32[Tensor, "3 height width"], target: Target
) -> Float32[Tensor, "3 height width"]:
    """The whole picture, filled."""
    if isinstance(fill, str):
        return torch.zeros_like(image)
    radius = None if fill.kernel is None else fill.kernel // 2
    return gaussian_blur(image, sigma_px(fill, target), radius)


def start_and_end(
    protocol: Protocol,
    direction: Direction,
    pixels: Float32[Tensor, "3 height width"],
    target: Target,
) -> tuple[Float32[Tensor, "3 height width"], Float32[Tensor, "3 height width"]]:
    """The pictures that a curve goes from and to."""
    if direction == "insertion":
        return filled(protocol.insertion, pixels, target), pixels
    return pixels, filled(protocol.deletion, pixels, target)


def changed(
    before: Float32[Tensor, "3 height width"],
    after: Float32[Tensor, "3 height width"],
    order: Int64[Tensor, " pixels"],
    counts: Sequence[int],
) -> Iterator[Float32[Tensor, "3 height width"]]:
    """A picture turning into another: at every count, as many pixels have changed, in order."""
    canvas, done = before.clone(), 0
    now, then = canvas.view(3, -1), after.reshape(3, -1)
    for count in counts:
        pixels = order[done:count]
        now[:, pixels] = then[:, pixels]
        done = count
        yield canvas.clone()


def sigma_px(fill: Fill, target: Target) -> float:
    """Sigma of the fill's blur in pixels; 0 for black."""
    if isinstance(fill, str):
        return 0.0
    size = float(boxes.area(target.box).sqrt()) if fill.unit == "box sizes" else 1.0
    return float(fill.sigma * size)

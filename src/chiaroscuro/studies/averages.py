"""The average map of many targets, in the coordinates of their boxes.

Bengamra et al. 2023, figure 7: crops of all maps, brought to one size and averaged. Here of
close-ups, where there are any, since the cells of a map's masks blur what is inside a face; with a
margin for context, each map divided by its own highest value so that every target counts alike, and
with the count and the spread of every pixel, since parts of a crop may lie outside the picture.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from chiaroscuro.core.records import Target
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.metrics.localisation import SUPPORTED

BOX_PX, MARGIN = 64, 0.5  # side of the box in the average, and the margin in box sides


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AverageMap:
    """Mean over targets in box coordinates; ``MARGIN`` of the box's sides is shown around it.

    Attributes:
        saliency: ``side side``, mean of the maps, each divided by its highest value in the picture.
        spread: ``side side``, standard deviation over targets; NaN where fewer than two reach.
        face: ``3 side side``, mean of the pictures in [0, 1].
        count: ``side side``, how many crops reach a pixel; the means are 0 where none does.
        n_targets: how many targets there are in it.
        n_empty: how many had no positive value that stands out, and are left out.
    """

    saliency: Float32[Tensor, "side side"]
    spread: Float32[Tensor, "side side"]
    face: Float32[Tensor, "3 side side"]
    count: Int64[Tensor, "side side"]
    n_targets: int
    n_empty: int

    @property
    def standard_error(self) -> Float32[Tensor, "side side"]:
        """Of the mean over targets, ``side side``; infinite where fewer than two crops reach."""
        error = self.spread / (self.count - 1).clamp(min=1).sqrt()
        return torch.where(self.count > 1, error, torch.inf)


class Averager:
    """Adds up crops one at a time; memory does not grow with their number."""

    def __init__(self) -> None:
        side = round(BOX_PX * (1 + 2 * MARGIN))
        self._sum = torch.zeros(side, side, dtype=torch.float64)
        self._squares = torch.zeros_like(self._sum)
        self._face = torch.zeros(3, side, side, dtype=torch.float64)
        self._count = torch.zeros(side, side, dtype=torch.int64)
        self._n = self._empty = 0

    def add(
        self,
        image: Tensor,
        saliency: Tensor,
        target: Target,
        standard_error: Tensor | None = None,
    ) -> None:
        """Add one target's raw map ``height width``, unless no positive value exceeds its error.

        A map of noise, divided by its own highest value, would look like evidence.
        """
        sure = saliency if standard_error is None else saliency - SUPPORTED * standard_error
        highest = float(saliency.max())
        if float(sure.max()) <= 0:
            self._empty += 1
            return
        pixels = image.float() / 255 if image.dtype == torch.uint8 else image.float()
        layers = torch.cat([(saliency / highest)[None], pixels])
        crop, inside = box_crop(layers, target)
        crop = torch.where(inside, crop, 0).double()
        self._sum += crop[0]
        self._squares += crop[0] ** 2
        self._face += crop[1:]
        self._count += inside
        self._n += 1

    def add_map(self, image: Tensor, result: Explanation, index: int) -> None:
        """Add a target of an explanation of a picture: its close-up, if it has one."""
        closeup = result.closeup(index)
        if closeup is not None:
            image, result, index = closeup.window.of(image), closeup.alone(result), 0
        self.add(image, result.saliency[index], result.targets[index], result.standard_error[index])

    def result(self) -> AverageMap:
        """The averages so far."""
        n = self._count.clamp(min=1)
        mean = self._sum / n
        variance = (self._squares / n - mean**2).clamp(min=0)
        return AverageMap(
            saliency=mean.float(),
            spread=torch.where(self._count > 1, variance.sqrt(), torch.nan).float(),
            face=(self._face / n).float(),
            count=self._count.clone(),
            n_targets=self._n,
            n_empty=self._empty,
        )


def box_crop(layers: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Layers cropped to box and margin, ``layers side side``, and where the picture is."""
    height, width = layers.shape[1:]
    side = round(BOX_PX * (1 + 2 * MARGIN))
    x1, y1, x2, y2 = target.box.tolist()
    steps = (
        torch.arange(side, dtype=torch.float32) + 0.5
    ) / BOX_PX - MARGIN  # 0 at the box's near edge, 1 at its far
    x, y = x1 + steps * (x2 - x1), y1 + steps * (y2 - y1)
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None, :]
    shrink = max((x2 - x1), (y2 - y1)) / BOX_PX
    if shrink > 1:  # samples further apart than pixels: blur first, or detail would alias
        layers = torch.nn.functional.avg_pool2d(
            layers[None], 2 * round(shrink / 2) + 1, 1, round(shrink / 2), count_include_pad=False
        )[0]
    across, down = 2 * x / width - 1, 2 * y / height - 1
    grid = torch.stack([across.expand(side, side), down[:, None].expand(side, side)], dim=-1)
    crop = torch.nn.functional.grid_sample(
        layers[None], grid[None].to(layers), padding_mode="border", align_corners=False
    )
    return crop[0], inside

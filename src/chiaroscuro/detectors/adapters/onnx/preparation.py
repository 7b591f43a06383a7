"""How pictures are resized, padded and normalised for an ONNX file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chiaroscuro.core.errors import InputError
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Feeding
from chiaroscuro.detectors.adapters.onnx.options import named, numbers
from chiaroscuro.detectors.commons.placement import Placement

_ORDERS = {"rgb": [0, 1, 2], "bgr": [2, 1, 0]}
PLACES = {"centre": True, "top-left": False}

# Mean and standard deviation of pixels in [0, 1], red green blue.
NORMALISATIONS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "unit": ((0.0,) * 3, (1.0,) * 3),
    "255": ((0.0,) * 3, (1 / 255,) * 3),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "127": ((127 / 255,) * 3, (128 / 255,) * 3),
    "127.5": ((127.5 / 255,) * 3, (128 / 255,) * 3),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How pictures are resized and normalised for a network.

    Attributes:
        size: height, width of the network's input; a side of 0 is free.
        mean: of every channel, in the network's order, of pixels in [0, 1].
        deviation: standard deviation, likewise.
        order: channels of the network among red, green and blue.
        feeding: bars and their place.
    """

    size: tuple[int, int]
    mean: Tensor
    deviation: Tensor
    order: Sequence[int]
    feeding: Feeding

    @classmethod
    def of(
        cls,
        feeding: Feeding,
        size: tuple[int, int],
        mean: Any = None,
        deviation: Any = None,
    ) -> "Preparation":
        """From a layout's feeding and the user's numbers, one or three, in the network's order.

        Where one of these numbers is above 1, they are of pixels in [0, 255], else in [0, 1].
        """
        order = named("channel order", feeding.channel_order, _ORDERS)
        named("place of the picture", feeding.padding, PLACES)
        if mean is None and deviation is None:
            means, deviations = named("normalisation", feeding.normalise, NORMALISATIONS)
            means, deviations = ([values[i] for i in order] for values in (means, deviations))
        else:
            means = numbers("mean", 0 if mean is None else mean)
            deviations = numbers("std", 1 if deviation is None else deviation)
            scale = _scale_of(means, deviations)
            means, deviations = ([v / scale for v in values] for values in (means, deviations))
        return cls(
            size=size,
            mean=torch.tensor(means).view(3, 1, 1),
            deviation=torch.tensor(deviations).view(3, 1, 1),
            order=order,
            feeding=feeding,
        )

    def placement(self, picture: tuple[int, int]) -> Placement:
        """Where a picture of that height and width lies in the network's input."""
        multiple = self.feeding.multiple
        if not self.feeding.letterbox:
            return Placement.stretch(picture, self.size, multiple)
        return Placement.letterbox(
            picture,
            self.size,
            multiple,
            centred=PLACES[self.feeding.padding],
            colour=self._colour(),
        )

    def pixels(self, pictures: Tensor, placement: Placement) -> Tensor:
        """The network's input for pictures ``n 3 height width`` in [0, 1]."""
        filled = placement.fill(pictures)[:, list(self.order)]
        return (filled - self.mean) / self.deviation

    def _colour(self) -> tuple[float, float, float]:
        """Of the bars, red green blue in [0, 1]."""
        colour = self.feeding.padding_colour
        if colour == "mean":
            values = [float(self.mean[self.order.index(i)]) for i in range(3)]
        else:
            values = [v / 255 for v in numbers("padding_colour", colour)]
        red, green, blue = values
        return red, green, blue


def _scale_of(mean: Sequence[float], deviation: Sequence[float]) -> float:
    """Value of a white pixel in the units of mean and standard deviation."""
    if max(*mean, *deviation) > 1:
        return 255.0
    if set(mean) == {0.0} and set(deviation) == {1.0}:
        raise InputError(
            "mean, std: 0 and 1 leave pixels as they are; wanted normalise='255' for pixels in "
            "[0, 255], or 'unit' for [0, 1]"
        )
    return 1.0

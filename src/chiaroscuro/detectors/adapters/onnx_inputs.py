"""How pictures enter an ONNX file: which input takes them, in what order, size and scale."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from chiaroscuro.core.errors import InputError, UnknownNameError
from chiaroscuro.detectors.adapters.onnx_layouts.layout import Feeding
from chiaroscuro.detectors.frames import Frame, pair

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_PICTURE_TYPES = ("tensor(float)", "tensor(float16)", "tensor(double)", "tensor(uint8)")
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

# Inputs beside the picture, which say how large it is. The network's input is all they hear of, so
# that boxes come back in its pixels.
_EXTRAS: dict[str, Callable[[int, Frame], Any]] = {
    "orig_target_sizes": lambda n, frame: [frame.size[::-1]] * n,
    "pixel_mask": lambda n, frame: np.ones((n, *frame.size)),
    "im_shape": lambda n, frame: [frame.size] * n,
    "image_shape": lambda n, frame: [frame.size] * n,
    "scale_factor": lambda n, frame: [(1, 1)] * n,
    "im_info": lambda n, frame: [(*frame.size, 1)] * n,
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureInput:
    """The input that takes pictures, and those beside it.

    Attributes:
        name: of the input.
        dtype: as ONNX Runtime spells it.
        n_dims: 4, or 3 where it takes a single picture.
        channels_last: whether the colours come last: height, width, channels.
        batch_size: how many pictures it takes at once; 0 for any number.
        size: height, width; a side of 0 is free.
        extras: types of the other inputs by name.
    """

    name: str
    dtype: str
    n_dims: int
    channels_last: bool
    batch_size: int
    size: tuple[int, int]
    extras: Mapping[str, str]

    @classmethod
    def of(cls, inputs: Sequence[Any], channels_last: bool | None = None) -> "PictureInput":
        """Found among the inputs of a session.

        Args:
            inputs: as ONNX Runtime declares them.
            channels_last: to say it, where a file leaves all sides open.

        Raises:
            InputError: if there is not one input for pictures, or others that are not known.
        """
        pictures = [i for i in inputs if i.type in _PICTURE_TYPES and _takes_colours(i.shape)]
        pictures = [i for i in pictures if i.name not in _EXTRAS]
        extras = {i.name: i.type for i in inputs if i not in pictures}
        if len(pictures) != 1 or not set(extras) <= set(_EXTRAS):
            listed = ", ".join(f"{i.name} {i.shape} {i.type}" for i in inputs)
            raise InputError(
                "ONNX detector: wanted one input for pictures with three colours, n x 3 x height x "
                "width or n x height x width x 3, of floats or uint8, and at most "
                f"{' and '.join(_EXTRAS)}; the file has {listed}"
            )
        (found,) = pictures
        shape = sides(found.shape)
        last = shape[-1] == 3 and shape[-3] != 3
        if channels_last is not None:
            if shape[-1 if channels_last else -3] not in (0, 3):
                raise InputError(f"channels_last={channels_last}: the input is {found.shape}")
            last = channels_last
        return cls(
            name=found.name,
            dtype=found.type,
            n_dims=len(shape),
            channels_last=last,
            batch_size=shape[0] if len(shape) == 4 else 1,
            size=pair(shape[-3:-1] if last else shape[-2:]),
            extras=extras,
        )

    def feed(self, pixels: Tensor, frame: Frame) -> dict[str, Any]:
        """What the session gets for pixels ``n 3 height width`` that are scaled already."""
        dtype = DTYPES[self.dtype]
        if dtype is np.uint8:
            pixels = pixels.round().clamp(0, 255)
        if self.channels_last:
            pixels = pixels.permute(0, 2, 3, 1)
        array = np.ascontiguousarray(pixels.numpy().astype(dtype, copy=False))
        given = {self.name: array if self.n_dims == 4 else array[0]}
        for name, kind in self.extras.items():
            values = np.asarray(_EXTRAS[name](len(pixels), frame))
            given[name] = values.astype(DTYPES.get(kind, np.int64))
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """How pictures are brought to a network's size and scale.

    Attributes:
        size: height, width of the network's input; a side of 0 is free.
        mean: of every channel, in the network's order, of pixels in [0, 1].
        deviation: by which they are divided then.
        order: channels of the network among red, green and blue.
        feeding: bars, and where they go.
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
        """From a family's habits, or numbers that are given.

        Args:
            feeding: habits, with what the user said in their place.
            size: height, width; a side of 0 is free.
            mean: of every channel in the network's order, one number or three; with ``deviation``.
                Where one of these six numbers is above 1, of pixels in [0, 255], else in [0, 1].
            deviation: standard deviation, likewise.

        Raises:
            InputError: if numbers cannot be used.
            UnknownNameError: if a word is not known.
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

    def frame(self, picture: tuple[int, int]) -> Frame:
        """How a picture of that height and width lies in the network's input."""
        multiple = self.feeding.multiple
        if not self.feeding.letterbox:
            return Frame.stretch(picture, self.size, multiple)
        return Frame.letterbox(
            picture,
            self.size,
            multiple,
            centred=PLACES[self.feeding.padding],
            colour=self._colour(),
        )

    def pixels(self, pictures: Tensor, frame: Frame) -> Tensor:
        """The network's input for pictures ``n 3 height width`` in [0, 1]."""
        filled = frame.fill(pictures)[:, list(self.order)]
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


def input_size(wanted: Any, fixed: tuple[int, int]) -> tuple[int, int]:
    """Height, width of the network's input; 0 for a side that is free.

    Raises:
        InputError: if the file has other sides, or this is no size.
    """
    asked = (wanted, wanted) if isinstance(wanted, int) else tuple(wanted or ())
    if len(asked) != 2 or any(not isinstance(side, int) or side < 0 for side in asked):
        raise InputError(f"input_size: wanted height and width in pixels, got {wanted!r}")
    if any(f and a and f != a for f, a in zip(fixed, asked, strict=True)):
        raise InputError(f"input_size: this file is made for {fixed} (height, width), got {asked}")
    return pair(f or a for f, a in zip(fixed, asked, strict=True))


def numbers(option: str, value: Any) -> list[float]:
    """Three numbers, one a channel; from one number, or from ``"1,2,3"``, too.

    Raises:
        InputError: if it is something else.
    """
    parts = value.split(",") if isinstance(value, str) else value
    try:
        found = [float(part) for part in (parts if isinstance(parts, Sequence) else [parts])]
    except (TypeError, ValueError):
        found = []
    found = found * 3 if len(found) == 1 else found
    if len(found) != 3 or not np.isfinite(found).all() or (option == "std" and 0 in found):
        raise InputError(f"{option}: wanted a number, or three (one a channel), got {value!r}")
    return found


def flag(option: str, value: Any) -> bool | None:
    """Yes, no, or None where it is not said; also in words, as the command line has them.

    Raises:
        InputError: if it is something else.
    """
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{option}: wanted true or false, got {value!r}")
    return value


def named(kind: str, name: Any, known: Mapping[str, T]) -> T:
    """The entry of that name.

    Raises:
        UnknownNameError: if there is none.
    """
    if not isinstance(name, str) or name not in known:
        raise UnknownNameError(kind, str(name), list(known))
    return known[name]


def sides(shape: Sequence[Any]) -> tuple[int, ...]:
    """A declared shape; sides that have a name or are unknown become 0."""
    return tuple(side if isinstance(side, int) and side > 0 else 0 for side in shape or ())


def _takes_colours(shape: Sequence[Any]) -> bool:
    found = sides(shape)
    return len(found) in (3, 4) and (found[-3] in (3, 0) or found[-1] == 3)


def _scale_of(mean: Sequence[float], deviation: Sequence[float]) -> float:
    """What the pixels' white is in the units of mean and standard deviation."""
    if max(*mean, *deviation) > 1:
        return 255.0
    if set(mean) == {0.0} and set(deviation) == {1.0}:
        raise InputError(
            "mean, std: 0 and 1 leave pixels as they are; wanted normalise='255' for pixels in "
            "[0, 255], or 'unit' for [0, 1]"
        )
    return 1.0

"""The input of an ONNX file that takes pictures, and its other inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from chiaroscuro.core.errors import InputError
from chiaroscuro.detectors.commons.placement import Placement, pair

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_PICTURE_TYPES = ("tensor(float)", "tensor(float16)", "tensor(double)", "tensor(uint8)")
# Other inputs, for the size of the picture. They get the size of the network's input, so that boxes
# are in its pixels.
_EXTRAS: dict[str, Callable[[int, Placement], Any]] = {
    "orig_target_sizes": lambda n, placement: [placement.size[::-1]] * n,
    "pixel_mask": lambda n, placement: np.ones((n, *placement.size)),
    "im_shape": lambda n, placement: [placement.size] * n,
    "image_shape": lambda n, placement: [placement.size] * n,
    "scale_factor": lambda n, placement: [(1, 1)] * n,
    "im_info": lambda n, placement: [(*placement.size, 1)] * n,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureInput:
    """The input that takes pictures, and the other inputs.

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
        """The one among a session's inputs; ``channels_last`` where a file leaves sides open."""
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

    def feed(self, pixels: Tensor, placement: Placement) -> dict[str, Any]:
        """The session's inputs for pixels ``n 3 height width`` that are scaled already."""
        dtype = DTYPES[self.dtype]
        if dtype is np.uint8:
            pixels = pixels.round().clamp(0, 255)
        if self.channels_last:
            pixels = pixels.permute(0, 2, 3, 1)
        array = np.ascontiguousarray(pixels.numpy().astype(dtype, copy=False))
        given = {self.name: array if self.n_dims == 4 else array[0]}
        for name, kind in self.extras.items():
            values = np.asarray(_EXTRAS[name](len(pixels), placement))
            given[name] = values.astype(DTYPES.get(kind, np.int64))
        return given


def sides(shape: Sequence[Any]) -> tuple[int, ...]:
    """A declared shape; sides that are named or unknown become 0."""
    return tuple(side if isinstance(side, int) and side > 0 else 0 for side in shape or ())


def _takes_colours(shape: Sequence[Any]) -> bool:
    found = sides(shape)
    return len(found) in (3, 4) and (found[-3] in (3, 0) or found[-1] == 3)

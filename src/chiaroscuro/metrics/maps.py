"""Checks and order of the maps that metrics take."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from chiaroscuro.core.errors import InputError, UndefinedMetricError
from chiaroscuro.core.records import plain_array


def usable_map(
    saliency: Any, size: tuple[int, int] | None = None
) -> Float32[Tensor, "height width"]:
    """A saliency map, finite and of that height and width, from anything array-like."""
    if not isinstance(saliency, Tensor):
        saliency = torch.from_numpy(_array(saliency))
    values: Tensor = saliency.detach().cpu().float()
    shape = tuple(values.shape)
    if values.ndim != 2 or 0 in shape:
        raise InputError(
            f"saliency: wanted one map of shape (height, width), got {shape}; "
            "take one target's map, result.saliency[0]"
        )
    if size is not None and shape != size:
        raise InputError(
            f"saliency: wanted a map of the picture's size {size}, got {shape}, (height, width)"
        )
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        raise InputError(
            f"saliency: wanted finite numbers, got NaN or infinity in {bad} of "
            f"{values.numel()} pixels; such a map has no order of pixels"
        )
    return values


def _array(saliency: Any) -> npt.NDArray[Any]:
    try:
        array = plain_array(saliency)
    except ValueError as error:
        raise InputError(f"saliency: wanted a map (height, width), got {error}") from error
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"saliency: wanted a map (height, width) of numbers, got {type(saliency).__name__}"
        )
    return np.array(array, dtype=np.float32)


def ordered_map(saliency: Any, size: tuple[int, int]) -> Float32[Tensor, "height width"]:
    """A checked saliency map that has a most salient pixel."""
    values = usable_map(saliency, size)
    if float(values.max()) == float(values.min()):
        raise UndefinedMetricError(
            f"the map has the same value everywhere ({float(values[0, 0]):g}), so there is no "
            "most salient pixel to begin with; count it, do not average it in"
        )
    return values


def most_salient_first(saliency: Tensor) -> Int64[Tensor, " pixels"]:
    """Pixels, numbered in reading order, by decreasing value; equal ones in reading order.

    Value and place are sorted together as one integer, many times faster than a stable sort.
    """
    values = saliency.detach().cpu().float().contiguous().numpy().ravel() + 0.0  # no minus zero
    bits = values.view(np.int32).astype(np.int64)
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # as integers in the order of the floats
    keys = (-rising << 32) | np.arange(len(values))
    keys.sort()
    return torch.from_numpy(keys & 0xFFFFFFFF)

"""What every metric asks of a map before it looks at it."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from chiaroscuro.errors import InputError, UndefinedMetricError


def usable_map(saliency: Tensor, size: tuple[int, int] | None = None) -> None:
    """Refuse what is no saliency map.

    Args:
        saliency: ``height width``.
        size: the picture's ``(height, width)``, if the map must fit one.

    Raises:
        InputError: on another shape, or NaN or infinity.
    """
    shape = tuple(saliency.shape)
    if saliency.ndim != 2 or 0 in shape:
        raise InputError(
            f"saliency: wanted one map of shape (height, width), got {shape}; "
            "take one target's map, result.saliency[0]"
        )
    if size is not None and shape != size:
        raise InputError(
            f"saliency: wanted a map of the picture's size {size}, got {shape}, (height, width)"
        )
    if not bool(torch.isfinite(saliency).all()):
        bad = int((~torch.isfinite(saliency)).sum())
        raise InputError(
            f"saliency: wanted finite numbers, got NaN or infinity in {bad} of "
            f"{saliency.numel()} pixels; such a map has no order of pixels"
        )


def ordered_map(saliency: Tensor, size: tuple[int, int]) -> None:
    """Refuse a map that has no most salient pixel.

    Raises:
        InputError: as for ``usable_map``.
        UndefinedMetricError: on a map with the same value everywhere.
    """
    usable_map(saliency, size)
    if float(saliency.max()) == float(saliency.min()):
        raise UndefinedMetricError(
            f"the map has the same value everywhere ({float(saliency[0, 0]):g}), so there is no "
            "most salient pixel to begin with; count it, do not average it in"
        )


def most_salient_first(saliency: Tensor) -> Int64[Tensor, " pixels"]:
    """Pixels, counted in reading order, by falling value; equal ones in reading order.

    Value and place are sorted as one whole number each, which is many times faster than a stable
    sort of the values.
    """
    values = saliency.detach().cpu().float().contiguous().numpy().ravel() + 0.0  # no minus zero
    bits = values.view(np.int32).astype(np.int64)
    rising = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # as integers in the order of the floats
    keys = (-rising << 32) | np.arange(len(values))
    keys.sort()
    return torch.from_numpy(keys & 0xFFFFFFFF)

"""What the arrays of chiaroscuro's files may be."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chiaroscuro.core.checks import Limit, range_text
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.records import LARGEST_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """What an array may be.

    Attributes:
        dtypes: one of these, in this machine's byte order; ``"str"`` is text of any length.
        axes: their names, and the lengths of those that are fixed; axes of one name have one
            length, in all arrays of a file.
        low: least value.
        high: greatest value.
        nan: whether NaN may stand for an unknown value. Infinity never may.
        needed: whether it must be there.
    """

    dtypes: tuple[str, ...] = ("float32",)
    axes: tuple[str | int, ...] = ()
    low: Limit = None
    high: Limit = None
    nan: bool = False
    needed: bool = True

    def check_header(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], lengths: dict[str, int]
    ) -> None:
        """Check dtype and shape, and add the lengths of its axes to ``lengths``."""
        kinds = [np.dtype(kind) for kind in self.dtypes]
        if not (dtype in kinds or (dtype.kind == "U" and "str" in self.dtypes)):
            raise InputError(f"{name}: wanted {' or '.join(self.dtypes)}, got {dtype}")
        wanted = tuple(
            lengths.get(axis, axis) if isinstance(axis, str) else axis for axis in self.axes
        )
        fits = len(shape) == len(wanted) and all(
            isinstance(axis, str) or axis == length
            for axis, length in zip(wanted, shape, strict=True)
        )
        if not fits or any(length < 0 for length in shape):
            axes = ", ".join(map(str, wanted)) + "," * (len(wanted) == 1)
            raise InputError(f"{name}: wanted shape ({axes}), got {shape}")
        named = zip(self.axes, shape, strict=True)
        lengths.update({axis: length for axis, length in named if isinstance(axis, str)})

    def check_values(self, name: str, values: npt.NDArray[Any]) -> None:
        """Check that values are finite and in range."""
        if values.dtype.kind == "U" or not values.size:
            return
        known = values[~np.isnan(values)] if self.nan else values
        low, high = (known.min(), known.max()) if known.size else (0, 0)
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"{name}: wanted finite numbers, got NaN or infinity")
        if (self.low is not None and low < self.low) or (
            self.high is not None and high > self.high
        ):
            raise InputError(
                f"{name}: wanted numbers{range_text(self.low, self.high)}, got {low} to {high}"
            )


_TOLERANCE = 1e-4  # shares computed in float32 may exceed 1 by a hair

EVIDENCE = {
    "settings": Array(dtypes=("str",)),
    "image": Array(dtypes=("uint8", "float32"), axes=(3, "height", "width"), low=0),
    "boxes": Array(axes=("proposals", 4)),
    "scores": Array(axes=("proposals",), low=0, high=1),
    "labels": Array(dtypes=("int64",), axes=("proposals",), low=0, high=LARGEST_LABEL),
    "counts": Array(dtypes=("int64",), axes=("n_masks",), low=0),
    "class_probabilities": Array(axes=("proposals", "classes"), low=0, high=1, needed=False),
    "objectness": Array(axes=("proposals",), low=0, high=1, needed=False),
    "fill": Array(dtypes=("uint8", "float32"), axes=(3, "height", "width"), low=0, needed=False),
}

_MAPS = ("targets", "height", "width")
SALIENCY = {
    "saliency": Array(axes=_MAPS),
    "standard_error": Array(axes=_MAPS, low=0),
    "boxes": Array(axes=("targets", 4)),
    "scores": Array(axes=("targets",), low=0, high=1, nan=True),
    "labels": Array(dtypes=("int64",), axes=("targets",), low=-1, high=LARGEST_LABEL),
    "fidelity": Array(axes=("targets",), low=-1 - _TOLERANCE, high=1 + _TOLERANCE, nan=True),
    "mean_weight": Array(axes=("targets",), low=-_TOLERANCE, high=1 + _TOLERANCE, nan=True),
}

_CLOSE = ("height", "width")
CLOSEUP = {
    "saliency": Array(axes=_CLOSE),
    "standard_error": Array(axes=_CLOSE, low=0),
}

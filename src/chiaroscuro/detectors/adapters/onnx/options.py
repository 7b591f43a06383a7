"""Options of an ONNX detector, as Python values or as the command line writes them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from chiaroscuro.core.errors import InputError, UnknownNameError
from chiaroscuro.detectors.commons.placement import pair

T = TypeVar("T")


def input_size(wanted: Any, fixed: tuple[int, int]) -> tuple[int, int]:
    """Height, width of the network's input; 0 for a side that is free."""
    given = (wanted, wanted) if isinstance(wanted, int) else tuple(wanted or ())
    if len(given) != 2 or any(not isinstance(side, int) or side < 0 for side in given):
        raise InputError(f"input_size: wanted height and width in pixels, got {wanted!r}")
    if any(f and a and f != a for f, a in zip(fixed, given, strict=True)):
        raise InputError(f"input_size: this file is made for {fixed} (height, width), got {given}")
    return pair(f or a for f, a in zip(fixed, given, strict=True))


def numbers(option: str, value: Any) -> list[float]:
    """Three numbers, one per channel; from one number, or from ``"1,2,3"``, too."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        found = [float(part) for part in (parts if isinstance(parts, Sequence) else [parts])]
    except (TypeError, ValueError):
        found = []
    found = found * 3 if len(found) == 1 else found
    if len(found) != 3 or not np.isfinite(found).all() or (option == "std" and 0 in found):
        raise InputError(f"{option}: wanted a number, or three (one per channel), got {value!r}")
    return found


def named(kind: str, name: Any, known: Mapping[str, T]) -> T:
    """The entry of that name."""
    if not isinstance(name, str) or name not in known:
        raise UnknownNameError(kind, str(name), list(known))
    return known[name]

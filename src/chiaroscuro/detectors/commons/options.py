"""Options that several detectors have."""

import math
from collections.abc import Sequence
from typing import Any

from chiaroscuro.core.errors import InputError


def score_floor(min_score: float | None, default: float) -> float:
    """The lowest score to report."""
    floor = default if min_score is None else min_score
    if not 0 <= floor < 1:
        raise InputError(f"min_score: wanted a number in [0, 1), got {min_score}")
    return floor


def checked_stride(stride: Any) -> float:
    """``DetectorInfo.stride``, a finite number of pixels."""
    known = isinstance(stride, int | float) and not isinstance(stride, bool)
    if not known or not 0 < stride < math.inf:
        raise InputError(f"stride: wanted a number of pixels above 0, got {stride!r}")
    return float(stride)


def flag(option: str, value: Any) -> bool | None:
    """True, false, or None where it is not given; also in words, as the command line has them."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None and not isinstance(value, bool):
        raise InputError(f"{option}: wanted true or false, got {value!r}")
    return value


def checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Class names, at least one."""
    if isinstance(class_names, str):
        raise InputError(
            f"class_names: wanted a list of names, got the string {class_names!r}; "
            f"class_names=[{class_names!r}]"
        )
    names = tuple(class_names)
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"class_names: wanted at least one name, got {list(names)!r}")
    return names

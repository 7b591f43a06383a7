"""Options that several detectors have."""

from collections.abc import Sequence

from chiaroscuro.core.errors import InputError


def score_floor(min_score: float | None, default: float) -> float:
    """The lowest score to report."""
    floor = default if min_score is None else min_score
    if not 0 <= floor < 1:
        raise InputError(f"min_score: wanted a number in [0, 1), got {min_score}")
    return floor


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

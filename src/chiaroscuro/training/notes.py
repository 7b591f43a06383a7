"""What a person should know although training goes on, in sentences."""

import warnings
from collections.abc import Callable

Tell = Callable[[str], None]


def warn(text: str) -> None:
    """Say it as a warning: what is done with a sentence where nobody else takes it."""
    warnings.warn(text, RuntimeWarning, stacklevel=3)

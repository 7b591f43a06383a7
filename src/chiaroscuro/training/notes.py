"""Notes: sentences that a user should read although training continues."""

import warnings
from collections.abc import Callable

Note = Callable[[str], None]


def warn(text: str) -> None:
    """Issue a note as a warning, the default."""
    warnings.warn(text, RuntimeWarning, stacklevel=3)

"""What settings may be, and their defaults: each number stands here once."""

from typing import Any

from chiaroscuro.core.checks import maybe, number, whole
from chiaroscuro.core.errors import InputError

MIN_SCORE = 0.3  # lowest score of a detection that counts as found
MAX_SIDE = 1280  # longer side in pixels to which pictures are reduced
TILE = 1280  # longer side in pixels of the tiles in which larger pictures are searched
MAX_PIXELS = 100_000_000  # pictures with more are refused

SEED = whole(0, 2**64 - 1)
N_PASSES = whole(1)
BATCH_SIZE = maybe(whole(1))
FIDELITY = number(0, 1, ends=False)
KEEP_PROBABILITY = number(0, 1, ends=False)
CELLS = whole(1)
SCORE = number(0, 1)
SIDE = whole(1)


def SIDE_OR_NONE(name: str, value: Any) -> int | None:  # noqa: N802  (a check like the others)
    """A number of pixels; None, or 0, for no limit."""
    return None if value is None or value == 0 else int(SIDE(name, value))


def MATCH_IOU(name: str, value: Any) -> float:  # noqa: N802  (a check like the others)
    """A number above 0, up to 1."""
    iou: float = SCORE(name, value)
    if iou == 0:
        raise InputError(f"{name}: wanted a number above 0, up to 1, got 0")
    return iou


def passes_or_auto(name: str, value: Any) -> Any:
    """A number of detector passes, or ``"auto"``."""
    if isinstance(value, str) and value == "auto":
        return value
    try:
        return N_PASSES(name, value)
    except InputError as error:
        raise InputError(str(error).replace(" of at least 1", ' of at least 1 or "auto"')) from None

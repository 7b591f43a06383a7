"""What the readers of all formats share: text in any encoding, numbers, sizes."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chiaroscuro.core.errors import AnnotationError

Box = tuple[float, float, float, float]


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        AnnotationError: if it does not exist or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise AnnotationError(f"{path} does not exist; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise AnnotationError(f"{path} cannot be read: {error}") from error


def read_text(path: Path) -> str:
    """A file's text: UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        AnnotationError: if it cannot be read, or is in another encoding.
    """
    data = read_bytes(path)
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path} is neither UTF-8 nor UTF-16 ({error}); save it as UTF-8"
        ) from error


def as_float(value: Any) -> float | None:
    """A JSON number as a float, infinite where it is too large; None where it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def stated_side(value: Any, what: str) -> int:
    """A picture's width or height as a data set states it, in pixels.

    Returns:
        0 where none is stated: it is absent, 0, NaN or infinite.

    Raises:
        AnnotationError: if it is negative or no number; begins with ``what``.
    """
    number: float | None = 0.0
    if value is not None and value != "":
        number = as_float(value)
    if isinstance(value, str) and value.strip():
        try:
            number = float(value)
        except ValueError:
            number = None
    if number is None or number < 0:
        raise AnnotationError(
            f"{what}: wanted a number of pixels, got {str(value)[:40]!r}; correct it, or leave the "
            "size out: it is then taken from the picture"
        )
    return round(number) if math.isfinite(number) else 0


def check_pixels(boxes: Iterable[Box], source: str) -> None:
    """Refuse a data set whose boxes are in shares of the picture, where pixels are the rule.

    Raises:
        AnnotationError: if there are boxes and no coordinate is above 1.
    """
    highest = [max(map(abs, box)) for box in boxes]
    if highest and max(highest) <= 1:
        raise AnnotationError(
            f"{source}: wanted boxes in pixels, got none beyond 1; these look like shares of the "
            "picture's width and height: multiply them"
        )


def storable(text: str) -> str:
    """Text that every file can hold: what is no Unicode becomes "?"."""
    return text.encode(errors="replace").decode()


def corners(values: list[float]) -> Box:
    """The box around points given as x y x y ..., x1 y1 x2 y2."""
    xs, ys = values[::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)

"""What the readers of all formats share: files with one kind of error, numbers, boxes, sizes."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import yaml

from chiaroscuro.core.errors import AnnotationError

Box = tuple[float, float, float, float]


def read_bytes(path: Path) -> bytes:
    """A file's content; raises AnnotationError."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise AnnotationError(f"{path} does not exist; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise AnnotationError(f"{path} cannot be read: {error}") from error


def read_text(path: Path, errors: str = "strict") -> str:
    """A file's text: UTF-8, UTF-16 or UTF-32, with or without a byte order mark."""
    data = read_bytes(path)
    try:
        return data.decode(json.detect_encoding(data), errors)
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path} is neither UTF-8 nor UTF-16 ({error}); save it as UTF-8"
        ) from error


def read_json(path: Path) -> Any:
    """A JSON file's content."""
    text = read_text(path, "surrogatepass")
    with parsing(path, "readable JSON"):
        return json.loads(text)


def read_yaml(path: Path) -> Any:
    """A YAML file's content."""
    text = read_text(path)
    with parsing(path, "readable YAML"):
        return yaml.safe_load(text)


@contextmanager
def parsing(path: Path, kind: str) -> Iterator[None]:
    """Turn the errors of a parser of JSON, YAML or XML into AnnotationError."""
    try:
        yield
    except (ValueError, LookupError, RecursionError, yaml.YAMLError, ParseError) as error:
        raise AnnotationError(f"{path} is not {kind}: {error}") from error


def as_float(value: Any) -> float | None:
    """A JSON number as a float, infinite where it is too large; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def stated_side(value: Any, what: str) -> int:
    """A picture's width or height as a data set states it; 0 where it is absent or not finite."""
    number = 0.0 if value is None or value == "" else as_float(value)
    if isinstance(value, str) and value.strip():
        try:
            number = float(value)
        except ValueError:
            number = None
    if number is None or number < 0:
        raise AnnotationError(
            f"{what}: wanted a number of pixels, got {str(value)[:40]!r}; correct it, or leave the "
            "size out: it is then read from the picture"
        )
    return round(number) if math.isfinite(number) else 0


def check_pixels(boxes: Iterable[Box], source: str) -> None:
    """Refuse a data set with boxes in shares of the picture where they must be in pixels."""
    if max((abs(value) for box in boxes for value in box), default=math.inf) <= 1:
        raise AnnotationError(
            f"{source}: wanted boxes in pixels, got none beyond 1; these look like shares of the "
            "picture's width and height: multiply them"
        )


def storable(text: str) -> str:
    """Text that every file can hold: what is not Unicode becomes "?"."""
    return text.encode(errors="replace").decode()


def corners(values: Sequence[float]) -> Box:
    """The box around points given as x y x y ..., x1 y1 x2 y2."""
    xs, ys = values[::2], values[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def first_few(values: Sequence[object]) -> str:
    """Up to five values, separated by commas."""
    return ", ".join(map(str, values[:5])) + ", ..." * (len(values) > 5)

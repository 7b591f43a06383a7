"""What a value may be: one small check per kind, for settings and for files of our own.

A check is given a name and a value. It returns the value as plain Python (a NumPy scalar becomes
an ``int`` or ``float``), or raises ``InputError`` that names the value, what was wanted and what
came. Checks of containers name the place inside: ``design.grid_size[1]``.
"""

import operator
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chiaroscuro.core.errors import ImageError, InputError

Check = Callable[[str, Any], Any]
Limit = float | int | None


def whole(low: int | None = None, high: int | None = None) -> Check:
    """A whole number from ``low`` to ``high``; Python's, NumPy's or torch's, never a bool."""
    wanted = "a whole number" + _range(low, high)

    def check(name: str, value: Any) -> int:
        if isinstance(value, (bool, np.bool_)) or getattr(value, "dtype", None) == torch.bool:
            raise _refused(name, wanted, value)
        try:
            number = operator.index(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise _refused(name, wanted, value) from error
        if (low is not None and number < low) or (high is not None and number > high):
            raise _refused(name, wanted, value)
        return number

    return check


def number(low: Limit = None, high: Limit = None, *, ends: bool = True) -> Check:
    """A finite number from ``low`` to ``high``; without ``ends``, strictly between them."""
    wanted = "a number" + (_range(low, high) if ends else _between(low, high))

    def check(name: str, value: Any) -> float:
        if isinstance(value, Tensor) and value.ndim == 0:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, Real):
            raise _refused(name, wanted, value)
        try:
            plain = float(value)
        except OverflowError as error:
            raise _refused(name, wanted, value) from error
        within = np.isfinite(plain) and (low is None or plain >= low)
        within = within and (high is None or plain <= high)
        if not within or (not ends and plain in (low, high)):
            raise _refused(name, wanted, value)
        return plain

    return check


def text(name: str, value: Any) -> str:
    """Text that can be written as UTF-8: without half of a surrogate pair."""
    if not isinstance(value, str):
        raise _refused(name, "text", value)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _refused(name, "text without lone surrogates", ascii(value)) from error
    return value


def path_text(name: str, value: Any) -> str:
    """A path or address: text, with bytes that are no UTF-8 as Python has them in file names."""
    if not isinstance(value, str):
        raise _refused(name, "a path", value)
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError as error:
        raise _refused(name, "a path without lone surrogates", ascii(value)) from error
    return value


def flag(name: str, value: Any) -> bool:
    """True or false."""
    if not isinstance(value, (bool, np.bool_)):
        raise _refused(name, "true or false", value)
    return bool(value)


def anything(_name: str, value: Any) -> Any:
    """Any value, as it is."""
    return value


def one_of(*values: str) -> Check:
    """One of some words."""

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise _refused(name, " or ".join(values), value)
        return value

    return check


def instance(kind: type, wanted: str) -> Check:
    """An object of a class."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise _refused(name, wanted, value)
        return value

    return check


def function(name: str, value: Any) -> Any:
    """Something that can be called."""
    if not callable(value):
        raise _refused(name, "a function", value)
    return value


def maybe(check: Check) -> Check:
    """None, or what another check lets pass."""
    return lambda name, value: None if value is None else check(name, value)


def either(*checks: Check) -> Check:
    """What one of several checks lets pass; the last one's error if none does."""

    def check(name: str, value: Any) -> Any:
        for one in checks[:-1]:
            try:
                return one(name, value)
            except InputError:
                continue
        return checks[-1](name, value)

    return check


def many(item: Check, length: int | None = None) -> Check:
    """A list, or a tuple, each of whose items passes."""
    wanted = "a list" if length is None else f"a list of {length}"

    def check(name: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or (length is not None and len(value) != length):
            raise _refused(name, wanted, value)
        return [item(f"{name}[{i}]", one) for i, one in enumerate(value)]

    return check


def mapping(item: Check = anything, key: Check = text) -> Check:
    """A mapping from text, each of whose values passes."""

    def check(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _refused(name, "an object", value)
        return {key(f"key of {name}", k): item(_inside(name, k), v) for k, v in value.items()}

    return check


def record(needed: Mapping[str, Check], known: Mapping[str, Check] | None = None) -> Check:
    """A mapping that has all ``needed`` keys; those of ``known`` are checked where they are.

    Further keys are kept as they are: newer versions may write more.
    """
    checks = {**needed, **(known or {})}

    def check(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _refused(name, "an object", value)
        absent = [key for key in needed if key not in value]
        if absent:
            raise InputError(f"{_inside(name, absent[0])} is absent")
        return {k: checks.get(k, anything)(_inside(name, k), v) for k, v in value.items()}

    return check


def settle(settings: object, table: Mapping[str, Check]) -> None:
    """Check fields of a frozen dataclass in its ``__post_init__``, and keep their plain values.

    Raises:
        InputError: naming the first field that is of another kind or out of range.
    """
    for name, check in table.items():
        object.__setattr__(settings, name, check(name, getattr(settings, name)))


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
        """Check dtype and shape, and add the lengths of its axes to ``lengths``.

        Raises:
            InputError: if they are not those wanted.
        """
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
        """Check that values are finite and in range.

        Raises:
            InputError: naming the first that is not.
        """
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
                f"{name}: wanted numbers{_range(self.low, self.high)}, got {low} to {high}"
            )


def picture(name: str, image: Tensor) -> Tensor:
    """A picture ``3 height width`` on the CPU: uint8, or float32 in [0, 1].

    Raises:
        ImageError: if it is none.
    """
    if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
        raise ImageError(f"{name}: wanted shape (3, height, width), got {tuple(image.shape)}")
    image = image.detach().cpu()
    if image.dtype == torch.uint8:
        return image
    if not image.is_floating_point():
        raise ImageError(f"{name}: wanted uint8 or float32 in [0, 1], got {image.dtype}")
    image = image.to(torch.float32)
    if not bool(torch.isfinite(image).all()) or image.min() < 0 or image.max() > 1:
        raise ImageError(
            f"{name}: wanted floats in [0, 1], got {float(image.min()):g} to "
            f"{float(image.max()):g}; divide by 255 or pass uint8"
        )
    return image


def shown(value: Any) -> str:
    """A value in an error message, cut short where it is long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a huge number"


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120


def _refused(name: str, wanted: str, value: Any) -> InputError:
    return InputError(f"{name}: wanted {wanted}, got {shown(value)}")


def _inside(name: str, key: object) -> str:
    short = str(key)[:60].encode("ascii", "backslashreplace").decode()
    return f"{name}.{short}" if name else short


def _range(low: Limit, high: Limit) -> str:
    if low is None or high is None:
        return "" if low is None else f" of at least {low:g}"
    return f" from {_plain(low)} to {_plain(high)}"


def _between(low: Limit, high: Limit) -> str:
    if high is None:
        return f" above {low:g}"
    return f" between {low:g} and {high:g}"


def _plain(limit: float | int) -> str:
    return "2**64 - 1" if limit == 2**64 - 1 else f"{limit:g}"

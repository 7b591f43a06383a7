"""What a value may be: one small check per kind, for settings and for files of our own.

A check is given a name and a value. It returns the value as plain Python (a NumPy scalar becomes
an ``int`` or ``float``), or raises ``InputError`` that names the value, what was wanted and what
came. Checks of containers name the place inside: ``design.grid_size[1]``.
"""

import math
import operator
import reprlib
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from chiaroscuro.core.errors import InputError

Check = Callable[[str, Any], Any]
Limit = float | int | None


def whole(low: int | None = None, high: int | None = None) -> Check:
    """A whole number from ``low`` to ``high``; Python's, NumPy's or torch's, never a bool."""
    wanted = "a whole number" + range_text(low, high)

    def check(name: str, value: Any) -> int:
        if _is_flag(value):
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
    wanted = "a number" + (range_text(low, high) if ends else _between(low, high))

    def check(name: str, value: Any) -> float:
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # NumPy's, torch's
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, Real):
            raise _refused(name, wanted, value)
        try:
            plain = float(value)
        except OverflowError as error:
            raise _refused(name, wanted, value) from error
        within = math.isfinite(plain) and (low is None or plain >= low)
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
    if not isinstance(value, bool) and type(value).__name__ not in ("bool_", "bool"):  # NumPy's
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


def _is_flag(value: Any) -> bool:
    """Whether a value is true or false: Python's, NumPy's or torch's."""
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool")


def range_text(low: Limit, high: Limit) -> str:
    """A range as the end of a sentence."""
    if low is None or high is None:
        return "" if low is None else f" of at least {low:g}"
    return f" from {_plain(low)} to {_plain(high)}"


def _between(low: Limit, high: Limit) -> str:
    if high is None:
        return f" above {low:g}"
    return f" between {low:g} and {high:g}"


def _plain(limit: float | int) -> str:
    return "2**64 - 1" if limit == 2**64 - 1 else f"{limit:g}"

"""Settings and records, declared once: attrs classes whose fields state default, check and help.

Such a class checks its values when it is made, and says what is wrong in our own sentences. The
same declaration is read from JSON (:func:`read`), written to it (:func:`plain`), and turned into
options of the command line (``cli.options``). docs/decisions/0012-declared-records.md says why.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from chiaroscuro.core.checks import Check, many, maybe, shown
from chiaroscuro.core.errors import InputError

T = TypeVar("T")


def setting(
    check: Check,
    default: Any = attrs.NOTHING,
    *,
    help: str = "",  # noqa: A002  (as Typer and argparse call it)
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
    typed: type | None = None,
    shown_default: Any = attrs.NOTHING,
) -> Any:
    """A field of an attrs class.

    Args:
        check: makes a plain value of what is given, or raises ``InputError`` with the field's name.
        default: the field is required without one.
        help: one sentence for the command line, the page and the reference.
        flags: spellings on the command line; ``--field-name`` when not given.
        metavar: stands for the value in the help.
        typed: what the command line parses, where it is not the field's type.
        shown_default: of the command line and the page, where it is another than in Python.
    """
    return attrs.field(
        default=default,
        converter=attrs.Converter(lambda value, field: check(field.name, value), takes_field=True),
        metadata={
            "help": help,
            "flags": flags,
            "metavar": metavar,
            "typed": typed,
            "shown_default": default if shown_default is attrs.NOTHING else shown_default,
        },
    )


def part(kind: type, *, required: bool = False) -> Any:
    """A field that holds another declared class, by default one with its default values."""
    return setting(of_kind(kind), attrs.NOTHING if required else attrs.Factory(kind))


def optional_part(kind: type) -> Any:
    """A field that holds another declared class, or None."""
    return setting(maybe(of_kind(kind)), None)


def parts(kind: type, *, optional: bool = False) -> Any:
    """A field that holds a tuple of another declared class; if optional, or None."""
    items = tuple_of(of_kind(kind))
    return setting(maybe(items), None) if optional else setting(items)


def tuple_of(check: Check) -> Check:
    """A list each of whose items passes, as a tuple."""
    items = many(check)
    return lambda name, value: tuple(items(name, value))


def of_kind(kind: type) -> Check:
    """A declared class: an instance, or JSON values to read one from."""
    return lambda name, value: value if isinstance(value, kind) else read(kind, value, name)


def read(kind: type[T], value: Any, name: str = "") -> T:
    """A declared class from JSON values; keys that it does not have are passed over.

    Raises:
        InputError: naming the place, such as ``settings.design.grid_size[1]``.
    """
    fields: Any = attrs.fields(kind)  # type: ignore[arg-type]
    if not isinstance(value, Mapping):
        raise InputError(f"{name or kind.__name__}: wanted an object, got {shown(value)}")
    prefix = f"{name}." if name else ""
    for field in fields:
        if field.default is attrs.NOTHING and field.name not in value:
            raise InputError(f"{prefix}{field.name} is absent")
    try:
        return kind(**{field.name: value[field.name] for field in fields if field.name in value})
    except InputError as error:
        error.args = (f"{prefix}{error}",)
        raise


def plain(value: Any) -> Any:
    """A declared class as JSON values: the inverse of :func:`read`.

    A value inside that has a method ``plain`` says itself how it is written.
    """
    whole = _written(None, None, value)
    if not attrs.has(type(whole)):
        return whole
    return attrs.asdict(whole, value_serializer=_written)


def _written(_instance: Any, _field: Any, value: Any) -> Any:
    return value.plain() if hasattr(value, "plain") else value

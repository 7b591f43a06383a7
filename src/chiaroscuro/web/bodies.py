"""Typed request bodies and queries, checked by ``core.checks``: errors name the field.

Numbers and lists in a query are text; they are parsed before they are checked.
"""

import contextlib
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import attrs
import cattrs

from chiaroscuro import metrics
from chiaroscuro.core import limits
from chiaroscuro.core.checks import (
    Check,
    either,
    many,
    mapping,
    maybe,
    number,
    one_of,
    record,
    shown,
    text,
    whole,
)
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.records import Target
from chiaroscuro.figures.colours import SIGNED
from chiaroscuro.figures.draw import Look
from chiaroscuro.store.bundle import parse_json

MAX_PASSES = 5000
MAX_TARGETS = 24
T = TypeVar("T")

_STRUCTURES = cattrs.Converter(prefer_attrib_converters=True, detailed_validation=False)


def structure(values: Any, kind: type[T]) -> T:
    """A body or query of that class; further fields are ignored.

    Raises:
        InputError: naming the field that is missing or wrong.
    """
    values = mapping()("request", values)
    try:
        return _STRUCTURES.structure(values, kind)
    except KeyError as error:
        raise InputError(f"{error.args[0]}: missing in the request") from error


def _checked(_: type, fields: list[Any]) -> list[Any]:
    """Let every field be converted by the check in its annotation."""
    return [field.evolve(converter=_converter(field.type)) for field in fields]


def _converter(annotation: Any) -> Any:
    (check,) = annotation.__metadata__
    return attrs.Converter(lambda value, field: check(field.name, value), takes_field=True)


def _from_text(parse: Callable[[str], Any], check: Check) -> Check:
    """A check of a value that a query holds as text."""

    def checked(name: str, value: Any) -> Any:
        if isinstance(value, str):
            with contextlib.suppress(ValueError, OverflowError):  # the check refuses the text
                value = parse(value)
        return check(name, value)

    return checked


_TARGET = record(
    {"box": many(_from_text(float, number()), 4)},
    {
        "label": maybe(_from_text(int, whole(0))),
        "score": maybe(number()),
        "origin": one_of("found", "drawn"),
    },
)


def _target(name: str, value: Any) -> Target:
    known = ("box", "label", "score", "origin")
    fields = _TARGET(name, value)
    return Target(**{key: fields[key] for key in known if key in fields})


def _targets(name: str, value: Any) -> list[Target]:
    values = many(mapping())(name, value)
    if not 1 <= len(values) <= MAX_TARGETS:
        raise InputError(
            f"{name}: wanted 1 to {MAX_TARGETS} boxes, got {len(values)}; choose a face or draw "
            "a box"
        )
    return [_target(f"{name}[{i}]", one) for i, one in enumerate(values)]


def _detectors(name: str, value: Any) -> list[str]:
    names: list[str] = many(text)(name, value)
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise InputError(f"{name}: wanted one detector or two different ones, got {shown(value)}")
    return names


def _two_detectors(name: str, value: Any) -> list[str]:
    return _detectors(name, many(text, 2)(name, value))


_SHARE = _from_text(float, number(0, 1))
_DIRECTION = one_of(*metrics.DIRECTIONS)
_DETECTORS = _from_text(lambda names: names.split(","), _detectors)
_TWO_DETECTORS = _from_text(lambda names: names.split(","), _two_detectors)


_body = attrs.frozen(kw_only=True, field_transformer=_checked)


@_body
class SampleBody:
    """A sample painting to open."""

    sample: Annotated[int, whole()]


@_body
class FacesBody:
    """The detector that looks for faces."""

    detector: Annotated[str, text]


@_body
class TargetsBody:
    """Boxes to explain, and the detectors to explain."""

    detectors: Annotated[list[str], _DETECTORS]
    targets: Annotated[list[Target], _targets]


@_body
class ObservationBody(TargetsBody):
    """A job that observes detectors; ``n_masks`` is a number or ``"auto"``."""

    n_masks: Annotated[int | str, either(one_of("auto"), whole(10, MAX_PASSES))] = "auto"
    seed: Annotated[int, limits.SEED] = 0


@_body
class CurvesBody:
    """A job that measures the curves of one target."""

    detector: Annotated[str, text]
    target: Annotated[Target, _target]


JOB_KINDS: dict[str, type[ObservationBody | CurvesBody]] = {
    "explain": ObservationBody,
    "curves": CurvesBody,
}


def job_body(values: Any) -> ObservationBody | CurvesBody:
    """The body of a job, by its ``kind``; raises as ``structure``."""
    kind = mapping()("request", values).get("kind", "explain")
    return structure(values, JOB_KINDS[one_of(*JOB_KINDS)("kind", kind)])


@_body
class ChangeBody:
    """A painting with a share of its most salient pixels inserted or deleted."""

    detector: Annotated[str, text]
    target: Annotated[Target, _target]
    direction: Annotated[metrics.Direction, _DIRECTION]
    share: Annotated[float, _SHARE] = 0.0


@_body
class LookQuery:
    """How a map is displayed."""

    colours: Annotated[str, text] = SIGNED
    sign: Annotated[str, text] = "all"
    threshold: Annotated[float, _SHARE] = 0.0

    @property
    def look(self) -> Look:
        """These settings for figures; raises ``UnknownNameError`` on unknown colours or signs."""
        return Look(colours=self.colours, sign=self.sign, threshold=self.threshold)


@_body
class MapQuery(LookQuery):
    """A map to display."""

    detector: Annotated[str, text]
    target: Annotated[Target, _target]


@_body
class DifferenceQuery:
    """Two detectors whose maps are compared."""

    detectors: Annotated[list[str], _TWO_DETECTORS]
    target: Annotated[Target, _target]


@_body
class ExportQuery(LookQuery):
    """A file to download."""

    detectors: Annotated[list[str], _DETECTORS]
    targets: Annotated[list[Target], _from_text(parse_json, _targets)]

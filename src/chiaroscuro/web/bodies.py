"""Typed request bodies and queries, checked by ``core.checks``: errors name the field.

Numbers and lists in a query are text; they are parsed before they are checked.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Literal

import attrs

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
from chiaroscuro.core.declared import read, setting
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.plan import MAX_AUTO_PASSES
from chiaroscuro.core.records import Target
from chiaroscuro.figures.colours import SIGNED
from chiaroscuro.figures.look import Look
from chiaroscuro.store.bundle import parse_json

MAX_PASSES = MAX_AUTO_PASSES
MAX_TARGETS = 24


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


@attrs.frozen(kw_only=True)
class SampleBody:
    """A sample painting to open."""

    sample: int = setting(whole())


@attrs.frozen(kw_only=True)
class FacesBody:
    """The detector that looks for faces."""

    detector: str = setting(text)


@attrs.frozen(kw_only=True)
class TargetsBody:
    """Boxes to explain, and the detectors to explain."""

    detectors: list[str] = setting(_DETECTORS)
    targets: list[Target] = setting(_targets)


@attrs.frozen(kw_only=True)
class ObservationBody(TargetsBody):
    """A job that observes detectors; ``n_passes`` is a number or ``"auto"``."""

    n_passes: int | Literal["auto"] = setting(either(one_of("auto"), whole(10, MAX_PASSES)), "auto")
    seed: int = setting(limits.SEED, 0)


@attrs.frozen(kw_only=True)
class CurvesBody:
    """A job that measures the curves of one target."""

    detector: str = setting(text)
    target: Target = setting(_target)


JOB_KINDS: dict[str, type[ObservationBody | CurvesBody]] = {
    "explain": ObservationBody,
    "curves": CurvesBody,
}


def job_body(values: Any) -> ObservationBody | CurvesBody:
    """The body of a job, by its ``kind``; raises as ``read``."""
    kind = mapping()("request", values).get("kind", "explain")
    return read(JOB_KINDS[one_of(*JOB_KINDS)("kind", kind)], values)


@attrs.frozen(kw_only=True)
class ChangeBody:
    """A painting with a share of its most salient pixels inserted or deleted."""

    detector: str = setting(text)
    target: Target = setting(_target)
    direction: metrics.Direction = setting(_DIRECTION)
    share: float = setting(_SHARE, 0.0)


@attrs.frozen(kw_only=True)
class LookQuery:
    """How a map is displayed."""

    colours: str = setting(text, SIGNED)
    sign: str = setting(text, "all")
    threshold: float = setting(_SHARE, 0.0)

    @property
    def look(self) -> Look:
        """These settings for figures; raises ``UnknownNameError`` on unknown colours or signs."""
        return Look(colours=self.colours, sign=self.sign, threshold=self.threshold)


@attrs.frozen(kw_only=True)
class MapQuery(LookQuery):
    """A map to display."""

    detector: str = setting(text)
    target: Target = setting(_target)


@attrs.frozen(kw_only=True)
class DifferenceQuery:
    """Two detectors whose maps are compared."""

    detectors: list[str] = setting(_TWO_DETECTORS)
    target: Target = setting(_target)


@attrs.frozen(kw_only=True)
class ExportQuery(LookQuery):
    """A file to download."""

    detectors: list[str] = setting(_DETECTORS)
    targets: list[Target] = setting(_from_text(parse_json, _targets))

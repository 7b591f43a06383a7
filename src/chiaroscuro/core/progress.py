"""How far long work has come: one record, one callback, for passes, pictures and steps alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Report = Callable[["Progress"], None]
"""What long work calls as it comes along; raising in it stops the work, and nothing is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far work has come.

    Attributes:
        done: passes, pictures or steps done.
        total: those wanted; with automatic stopping, those expected to be needed.
        unit: what is counted: ``"passes"``, ``"pictures"`` or ``"steps"``.
        what: name of the picture, method or stage under way.
        seconds: since the work began.
        started_at: what was done already when it began.
        fidelity: of every target at the last look; empty without automatic stopping.
        values: further figures of training, such as losses, by name.
        within: progress of the picture under way.
        evidence: for passes under random masks: call it for the evidence so far, from which maps
            can be plotted as they form. The call is cheap; explaining a target takes a few tenths
            of a second.
    """

    done: int
    total: int
    unit: str = "passes"
    what: str = ""
    seconds: float = 0.0
    started_at: int = 0
    fidelity: tuple[float, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    within: "Progress | None" = None
    evidence: Callable[[], Any] | None = None

    @property
    def pace(self) -> float:
        """Units per second so far."""
        return (self.done - self.started_at) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this pace; None before the first unit."""
        return (self.total - self.done) / self.pace if self.pace > 0 else None


class Steps:
    """Reports work of a known number of units.

    Args:
        report: the callback; None for nobody.
        total: units to do.
        unit: what is counted.
        done: units done already.
    """

    def __init__(self, report: Report | None, total: int, unit: str, done: int = 0) -> None:
        self._report, self._began = report, time.perf_counter()
        self._now = Progress(done=done, total=total, unit=unit, started_at=done)

    def at(self, what: str) -> None:
        """Say what is under way."""
        self._send(replace(self._now, what=what, within=None))

    def advance(self, values: Mapping[str, float] | None = None) -> None:
        """Count one unit as done.

        Args:
            values: figures to show with it.
        """
        done, values = self._now.done + 1, values or {}
        self._send(replace(self._now, done=done, values=values, within=None))

    def within(self, inner: Progress) -> None:
        """Pass on the progress of the unit under way."""
        self._send(replace(self._now, within=inner))

    def _send(self, now: Progress) -> None:
        self._now = replace(now, seconds=time.perf_counter() - self._began)
        if self._report is not None:
            self._report(self._now)


def naming(report: Report, what: str) -> Report:
    """A callback that says what is under way."""
    return lambda now: report(replace(now, what=what))

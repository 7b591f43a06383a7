"""Progress on stderr: a bar on a terminal, else a line per minute."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from chiaroscuro.cli.console import escaped, notes
from chiaroscuro.core.log import log
from chiaroscuro.core.progress import Progress, Report

LINE_EVERY_S = 60.0
_LOG = log("chiaroscuro.progress")


@contextmanager
def progress(what: str = "") -> Iterator[Report]:
    """Shows how far the work has come, with the time left.

    Args:
        what: is under way, where the work itself does not say.
    """
    if not notes.is_terminal:
        yield _lines(what)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Bar(*columns, console=notes, transient=True) as bar:
        task = bar.add_task(escaped(what), total=None, details="")

        def show(now: Progress) -> None:
            bar.update(
                task,
                description=escaped(now.what or what),
                completed=now.done,
                total=now.total,
                details=_details(now),
            )

        yield show


def _lines(what: str, clock: Callable[[], float] = time.monotonic) -> Report:
    """Logs a line per minute; the first after a minute."""
    last = clock()

    def show(now: Progress) -> None:
        nonlocal last
        if clock() - last >= LINE_EVERY_S:
            last = clock()
            _LOG.info("%s", line(now, what))

    return show


def line(now: Progress, what: str = "") -> str:
    """Progress as a line of a log."""
    left = now.seconds_left
    parts = [f"{now.done} of {now.total} {_details(now)}"]
    if left is not None:
        parts.append(f"{_duration(left)} left")
    name = now.what or what
    return (f"{name}: " if name else "") + ", ".join(parts)


def _details(now: Progress) -> str:
    known = [value for value in now.fidelity if not math.isnan(value)]
    parts = [now.unit]
    if now.unit == "passes" and now.pace:
        parts.append(f"{now.pace:z.1f}/s")
    if known:
        parts.append(f"fidelity {min(known):z.2f}")
    parts += [f"{name} {value:z.3f}" for name, value in now.values.items()]
    if now.within is not None:
        parts.append(f"({now.within.done} {now.within.unit})")
    return " ".join(parts)


def _duration(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"

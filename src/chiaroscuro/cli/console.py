"""What every command shares: notes on stderr, results on stdout, errors as exit status."""

import io
import json
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

import typer
from rich.console import Console

from chiaroscuro.core.errors import ChiaroscuroError, TargetError, UnknownNameError
from chiaroscuro.core.log import LOG

NOTES_SHOWN = 5
_OUR_FOLDER = str(Path(__file__).parents[1])


class _Stderr(io.TextIOBase):
    """stderr as it is at the moment; what it does not take is lost, for the results matter more."""

    def write(self, text: str) -> int:
        with suppress(OSError, AttributeError):  # full, or None where it is closed
            self._given.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, AttributeError):
            self._given.flush()

    def isatty(self) -> bool:
        return self._given is not None and bool(self._given.isatty())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._given, "encoding", None) or "utf-8"

    @property
    def _given(self) -> Any:
        """The stream itself, not what a progress bar of Rich puts before it meanwhile."""
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)


notes = Console(file=cast("IO[str]", _Stderr()), highlight=False, soft_wrap=True)


class _OnStderr(logging.Handler):
    """What the package logs, as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        notes.print(record.getMessage(), markup=False)


def note(text: str) -> None:
    """A sentence for the user, on stderr, by way of the log."""
    LOG.info("%s", text)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Print what the package logs, from a level up."""
    LOG.setLevel(level)
    if not any(isinstance(one, _OnStderr) for one in LOG.handlers):
        LOG.addHandler(_OnStderr())


def print_json(value: Any) -> None:
    """The result as JSON, on stdout."""
    from chiaroscuro.core.text import printable

    print(printable(json.dumps(value, indent=2, ensure_ascii=False)))


@contextmanager
def errors_as_exit_status() -> Iterator[None]:
    """Turn our errors into one line on stderr and exit status 1, or 2 for wrong use.

    Ctrl-C and SIGTERM stop a command alike, with status 1. Our warnings become notes.
    """
    log_to_stderr()
    try:
        with _warnings_as_notes(), _sigterm_as_ctrl_c():
            yield
    except ChiaroscuroError as error:
        report(error)
        wrong_use = isinstance(error, (UnknownNameError, TargetError))
        raise typer.Exit(2 if wrong_use else 1) from error
    except KeyboardInterrupt as stopped:
        note("stopped")
        raise typer.Exit(1) from stopped


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, which batch systems and containers send, save what Ctrl-C saves."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not on_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop the saving
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _warnings_as_notes() -> Iterator[None]:
    show = warnings.showwarning

    def show_note(message: Warning | str, category: type[Warning], *place: Any, **how: Any) -> None:
        if category is RuntimeWarning and str(place[0]).startswith(_OUR_FOLDER):
            note(str(message))
        else:
            show(message, category, *place, **how)

    warnings.showwarning = show_note
    try:
        yield
    finally:
        warnings.showwarning = show


def report(error: Exception) -> None:
    """An error as one line on stderr."""
    notes.print(f"[bold red]error[/] {escaped(str(error))}")


def note_all(texts: Sequence[str]) -> None:
    """The first few sentences on a data set, and how many more there are."""
    for text in texts[:NOTES_SHOWN]:
        note(text)
    if len(texts) > NOTES_SHOWN:
        note(f"and {len(texts) - NOTES_SHOWN} more notes on the annotations")


def escaped(text: str) -> str:
    """Text that Rich prints as it is."""
    return text.replace("[", r"\[")

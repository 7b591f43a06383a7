"""stdout, which may be full, closed, of another encoding, or a pipe whose reader has gone."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from chiaroscuro.cli.console import report


class StdoutError(Exception):
    """A result could not be printed.

    No ``OSError``: it must not be taken for one of the files that a command reads and writes.
    """


class _Checked(io.TextIOWrapper):
    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise StdoutError from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise StdoutError from error


class _Closed(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int:
        raise OSError(errno.EBADF, "it is closed")


@contextmanager
def checked_stdout() -> Iterator[None]:
    """End the process with status 1 where stdout cannot be written: in a sentence, or quietly."""
    if not isinstance(sys.stdout, (io.TextIOWrapper, type(None))):  # not the process's own
        yield
        return
    sys.stdout = checked = _checked(sys.stdout)
    try:
        try:
            yield
        finally:
            checked.flush()
    except StdoutError as error:
        cause = error.__cause__
        if not isinstance(cause, BrokenPipeError):
            why = cause.strerror if isinstance(cause, OSError) else cause
            report(OSError(f"stdout cannot be written ({why}); files written so far are kept"))
        _forget(checked)
        sys.exit(1)


def print_what_cannot_be_encoded() -> None:
    r"""Spell out on stdout, as ``\xe9``, what its encoding cannot say, such as odd file names."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _checked(given: io.TextIOWrapper | None) -> _Checked:
    if given is None:  # the process began without one: `>&-`
        return _Checked(_Closed(), encoding="utf-8", write_through=True)  # type: ignore[arg-type]
    lines, through = given.line_buffering, given.write_through
    encoding, errors = given.encoding, given.errors
    return _Checked(given.detach(), encoding, errors, line_buffering=lines, write_through=through)


def _forget(checked: _Checked) -> None:
    """What is still to be printed goes nowhere, so that Python's last flush does not fail too."""
    if isinstance(checked.buffer, _Closed):
        sys.stdout = None
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, checked.fileno())
    os.close(nowhere)

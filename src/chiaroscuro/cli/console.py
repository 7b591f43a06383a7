"""What every command shares: options, notes on stderr, progress, errors as exit status."""

import io
import json
import math
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chiaroscuro.core.errors import ChiaroscuroError, TargetError, UnknownNameError

if TYPE_CHECKING:
    from chiaroscuro.detectors import Detector
    from chiaroscuro.evidence import evidence
    from chiaroscuro.training import loop

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

PICTURES = Annotated[
    list[str],
    typer.Argument(
        metavar="PICTURE...",
        help="Pictures to read, by path or http:// or https:// address: any format, any mode.",
    ),
]
DETECTOR = Annotated[
    str,
    typer.Option(
        "--detector",
        "-d",
        help="A name ([bold]chiaroscuro detectors[/] lists them), an ONNX file, a checkpoint, "
        "or module:function.",
    ),
]
DETECTOR_OPTIONS = Annotated[
    list[str] | None,
    typer.Option(
        "--detector-option",
        "-O",
        metavar="KEY=VALUE",
        help="An option of the detector, such as layout=yolov8 or form=torch; may be repeated.",
    ),
]
DEVICE = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
MIN_SCORE = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Lowest score of a detection that counts as found.")
]
MAX_SIDE = Annotated[
    int,
    typer.Option(
        min=0,
        help="Larger pictures are reduced so that their longer side has this many pixels; "
        "0 keeps them. Boxes are always in the file's pixels.",
    ),
]
MAX_PIXELS = Annotated[
    int,
    typer.Option(min=1, help="Pictures with more pixels are refused: a guard against bombs."),
]
IMAGES = Annotated[
    Path | None,
    typer.Option(help="Folder that the data set's file names are relative to."),
]
CLASS_MAP = Annotated[
    list[str] | None,
    typer.Option(
        "--class-map",
        metavar="NAME=NAME",
        help="A class of the data set and the detector's class that it is, such as visage=face, "
        "where the two have different names; may be repeated.",
    ),
]
FRAME = Annotated[
    str | None,
    typer.Option(
        metavar="upright|stored",
        help="Whether boxes are drawn on pictures as they are read, or as they are stored, before "
        "their EXIF orientation is applied. [dim]default: found out from the sizes[/]",
    ),
]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def note(text: str) -> None:
    """A sentence for the person, on stderr."""
    notes.print(text, markup=False)


def print_json(value: Any) -> None:
    """The result as JSON, on stdout."""
    from chiaroscuro.store.bundle import printable

    print(printable(json.dumps(value, indent=2, ensure_ascii=False)))


@contextmanager
def errors_as_exit_status() -> Iterator[None]:
    """Turn our errors into one line on stderr and exit status 1, or 2 for wrong use.

    Ctrl-C and SIGTERM stop a command alike, with status 1. Our warnings become notes.
    """
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

    def tell(message: Warning | str, category: type[Warning], *place: Any, **how: Any) -> None:
        if category is RuntimeWarning and str(place[0]).startswith(_OUR_FOLDER):
            note(str(message))
        else:
            show(message, category, *place, **how)

    warnings.showwarning = tell
    try:
        yield
    finally:
        warnings.showwarning = show


def report(error: Exception) -> None:
    """An error as one line on stderr."""
    notes.print(f"[bold red]error[/] {_escaped(str(error))}")


def open_detector(name: str, options: Mapping[str, Any], device: str) -> "Detector":
    """The detector of that name, said on stderr while it loads."""
    from chiaroscuro.detectors import load_detector

    with notes.status(f"loading {name}"):
        return load_detector(name, device=device, **options)


def parse_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """``KEY=VALUE`` as keyword arguments; values are JSON where they can be."""
    return dict(_option(text) for text in texts or ())


def parse_class_map(texts: Sequence[str] | None) -> dict[str, str]:
    """``NAME=NAME`` as the detector's class by the data set's."""
    mapped: dict[str, str] = {}
    for text in texts or ():
        mine, _, theirs = (part.strip() for part in text.rpartition("="))
        if not mine or not theirs:
            raise typer.BadParameter(
                f"wanted NAME=NAME, such as visage=face, got {text!r}", param_hint="--class-map"
            )
        if mapped.setdefault(mine, theirs) != theirs:
            raise typer.BadParameter(
                f"{mine} is to be {mapped[mine]} and {theirs}; wanted one of them",
                param_hint="--class-map",
            )
    return mapped


def parse_frame(text: str | None) -> Any:
    """What ``--frame`` says: upright, stored, or None to find out."""
    if text not in (None, "upright", "stored"):
        raise typer.BadParameter(f"wanted upright or stored, got {text!r}", param_hint="--frame")
    return text


def tell_notes(texts: Sequence[str], tell: Callable[[str], None] | None = None) -> None:
    """The first few sentences on a data set, and how many more there are."""
    tell = tell or note
    for text in texts[:NOTES_SHOWN]:
        tell(text)
    if len(texts) > NOTES_SHOWN:
        tell(f"and {len(texts) - NOTES_SHOWN} more notes on the annotations")


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"wanted KEY=VALUE, got {text!r}", param_hint="--detector-option")
    try:
        return key.replace("-", "_"), json.loads(value)
    except ValueError:
        return key.replace("-", "_"), value


def _bar(unit: str, *fields: str) -> Progress:
    """What is under way, how much is done, further fields, time left; gone when it is done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(unit),
        *(TextColumn(f"{{task.fields[{name}]}}") for name in fields),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=notes,
        transient=True,
        disable=not notes.is_terminal,
    )


@contextmanager
def mask_progress(what: str) -> Iterator[Callable[["evidence.Progress"], None]]:
    """A bar on stderr: passes done, passes a second, fidelity so far, time left."""
    with _bar("passes", "pace", "fidelity") as bar:
        task = bar.add_task(_escaped(what), total=None, pace="", fidelity="")

        def show(progress: "evidence.Progress") -> None:
            known = [value for value in progress.fidelity if not math.isnan(value)]
            lowest = f"fidelity {min(known):z.2f}" if known else ""
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                pace=f"{progress.passes_per_second:z.1f}/s",
                fidelity=lowest,
            )

        yield show


def n_masks_or_auto(text: str, option: str = "--n-masks") -> Any:
    """What ``--n-masks`` says: a number, or ``"auto"``."""
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(
            f"wanted a whole number of at least 1, or auto, got {text!r}", param_hint=option
        )
    return int(text)


@contextmanager
def step_progress(unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr for steps of known number: what is done now, done, to do, time left."""
    with _bar(unit) as bar:
        task = bar.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=_escaped(what), completed=done, total=total)

        yield show


@contextmanager
def picture_progress() -> Iterator[Callable[[str, int, int, "evidence.Progress | None"], None]]:
    """A bar on stderr for pictures of a run, with the masks of the one under way."""
    with _bar("pictures", "within") as bar:
        task = bar.add_task("", total=None, within="")

        def show(what: str, done: int, total: int, inner: "evidence.Progress | None") -> None:
            within = f"{inner.done} masks" if inner else ""
            bar.update(task, description=_escaped(what), completed=done, total=total, within=within)

        yield show


@contextmanager
def training_progress() -> Iterator[Callable[[str, "loop.Step"], None]]:
    """A bar on stderr for steps of training: losses, precision so far, time left."""
    with _bar("steps", "losses", "ap50") as bar:
        task = bar.add_task("", total=None, losses="", ap50="")

        def show(what: str, step: "loop.Step") -> None:
            losses = " ".join(f"{name} {value:z.2f}" for name, value in step.losses.items())
            measured: dict[str, Any] = {}
            if step.ap50 is not None:
                measured["ap50"] = f"AP50 {step.ap50:z.3f}"
            bar.update(
                task,
                description=_escaped(what),
                completed=step.step,
                total=step.steps,
                losses=losses,
                **measured,
            )

        yield show


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")

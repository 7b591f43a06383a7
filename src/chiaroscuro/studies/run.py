"""A study's run folder: append-only, resumable, one process at a time.

::

    run/
      run.json             what was asked: detector, data set, settings
      pictures/<name>/     one folder a picture; its manifest.json, written last, marks it complete
      pictures/<name>/failed.json   instead, where the picture could not be studied
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from chiaroscuro._version import __version__
from chiaroscuro.core.errors import BundleError, ImageError
from chiaroscuro.data.datasets import DataSet, Entry
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.evidence.evidence import Progress
from chiaroscuro.images.hashes import file_hash
from chiaroscuro.store import bundle, contents
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.examine import StudySettings, examine

UNREADABLE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder.

    Attributes:
        folder: where it is.
        asked: what ``run.json`` holds.
    """

    folder: AnyPath
    asked: Mapping[str, Any]

    @classmethod
    def load(cls, folder: str | AnyPath) -> "Run":
        """Open a run folder.

        Raises:
            BundleError: if it is none.
        """
        folder = bundle.as_path(folder)
        if not (folder / "run.json").is_file():
            raise BundleError(f"{folder} is no run folder: wanted the --out of chiaroscuro study")
        asked = bundle.read_json(
            folder / "run.json",
            contents.RUN,
            remedy="study again with another --out, or copy the run folder again",
        )
        return cls(folder=folder, asked=asked)

    @property
    def names(self) -> list[str]:
        """All pictures of the run, in the data set's order."""
        return list(self.asked["data"]["pictures"])

    def picture(self, name: str) -> AnyPath:
        """The folder of one picture."""
        return self.folder / "pictures" / name

    def done(self, name: str) -> bool:
        """Whether a picture's results are complete."""
        return (self.picture(name) / "manifest.json").is_file()

    def failed(self) -> dict[str, str]:
        """Pictures that could not be studied, with the reason."""
        reasons = {}
        for name in self.names:
            file = self.picture(name) / "failed.json"
            if file.is_file() and not self.done(name):
                failed = bundle.read_json(file, contents.FAILED, remedy=contents.STUDY_AGAIN)
                reasons[name] = failed["reason"]
        return reasons

    def manifest(self, name: str) -> dict[str, Any]:
        """What is known of one complete picture.

        Raises:
            BundleError: if it is not complete, or damaged.
        """
        file = self.picture(name) / "manifest.json"
        return bundle.read_json(file, contents.STUDIED_PICTURE, remedy=contents.STUDY_AGAIN)

    def manifests(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and manifests of the complete pictures, in the data set's order."""
        for name in self.names:
            if self.done(name):
                yield name, self.manifest(name)


def study(
    data: DataSet,
    detector: Detector,
    folder: str | AnyPath,
    settings: StudySettings | None = None,
    *,
    progress: Callable[[str, int, int, Progress | None], None] | None = None,
) -> Run:
    """Study every picture of a data set that the run folder does not have yet.

    The maps do not depend on the order of pictures, nor on interruptions.

    Args:
        data: what is studied.
        detector: which detector.
        folder: of the run; made if absent.
        settings: how.
        progress: called with the picture's name, pictures done, pictures in all, and the progress
            within the picture, None before its first batch.

    Raises:
        BundleError: if the folder holds a run that asked something else, or another process works
            in it.
        AnnotationError: if data set and detector have no class in common.
    """
    folder, settings = bundle.as_path(folder), settings or StudySettings()
    labels = labels_of(data, detector)
    with only_one(folder):
        run = begin(folder, ask(data, detector, settings))
        total = len(data.entries)
        for done, entry in enumerate(data.entries):
            if run.done(entry.name):
                continue
            if progress is not None:
                progress(entry.name, done, total, None)
            examine(
                entry,
                detector,
                run.picture(entry.name),
                settings,
                labels,
                _within(progress, entry, done, total),
            )
        if progress is not None:
            progress("", total, total, None)
    return run


def labels_of(data: DataSet, detector: Detector) -> dict[int, int]:
    """The detector's label of every class of the data set."""
    if data.annotations is None:
        return {}
    return data.annotations.labels_for(detector.info.class_names)


def notes_on(data: DataSet, detector: Detector) -> list[str]:
    """What the data set says of itself, and what becomes of its classes, in sentences."""
    if data.annotations is None:
        return list(data.notes)
    labels = labels_of(data, detector)
    return [*data.notes, *data.annotations.notes_on(labels, detector.info.class_names)]


def ask(data: DataSet, detector: Detector, settings: StudySettings) -> dict[str, Any]:
    """What a run is asked, as plain JSON values."""
    return {
        "version": __version__,
        "detector": {"name": detector.info.name, **settings.explain.asked(detector)},
        "data": {
            "source": data.source,
            "marked": data.annotations is not None,
            "classes": _classes(data, detector),
            "class_map": {} if data.annotations is None else dict(data.annotations.class_map),
            "pictures": {entry.name: _fingerprint(entry) for entry in data.entries},
            "missing": list(data.missing),
            "notes": notes_on(data, detector),
        },
        "settings": settings.describe(),
    }


def begin(folder: AnyPath, asked: Mapping[str, Any]) -> Run:
    """Start a run in a folder, or resume the one there.

    Files that could not be read when the run began may be readable now; the run then keeps what
    they hold.

    Raises:
        BundleError: if it asked something else.
    """
    file = folder / "run.json"
    if not file.is_file():
        bundle.write_json(file, asked)
        return Run(folder=folder, asked=asked)
    run = Run.load(folder)
    differ = list(_differences(run.asked, asked))
    if differ:
        shown = "; ".join(differ[:5]) + (f"; and {len(differ) - 5} more" if differ[5:] else "")
        raise BundleError(
            f"{folder} holds a run that asked something else: {shown}. Choose another --out"
        )
    before, now = run.asked["data"]["pictures"], asked["data"]["pictures"]
    known = {name: before[name] or now[name] for name in before}
    if known != before:
        data = {**run.asked["data"], "pictures": known}
        run = Run(folder=folder, asked={**run.asked, "data": data})
        bundle.write_json(file, run.asked)
    return run


@contextmanager
def only_one(folder: AnyPath) -> Iterator[None]:
    """Hold a folder for this process alone.

    Object stores know no locks: there, keeping other processes away is yours.

    Raises:
        BundleError: if another holds it, or it cannot be written.
    """
    if not isinstance(folder, Path):
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise BundleError(
            f"another process is working in {folder}; wait for it, or choose another --out"
        ) from error
    except OSError as error:
        raise BundleError(f"{folder} cannot be written: {error}") from error
    try:
        yield
    finally:
        lock.release()


def _classes(data: DataSet, detector: Detector) -> list[dict[str, Any]]:
    """The detector's classes, with the data set's id for each; its own ids for those it lacks.

    They follow the data set's highest, so that no detection is taken for another class's.
    """
    if data.annotations is None:
        ids: dict[int, int | str | None] = {}
    else:
        given = data.annotations.class_ids
        ids = {theirs: given[mine] for mine, theirs in reversed(labels_of(data, detector).items())}
        highest = max((number for number in given if isinstance(number, int)), default=0)
        foreign = [label for label in range(len(detector.info.class_names)) if label not in ids]
        ids |= {label: highest + place for place, label in enumerate(foreign, start=1)}
    return [
        {"label": label, "name": name, "id": ids.get(label)}
        for label, name in enumerate(detector.info.class_names)
    ]


def _fingerprint(entry: Entry) -> str:
    """Changes when the file's content or the marks do; ``UNREADABLE`` where it cannot be read."""
    try:
        told = hashlib.sha256(file_hash(entry.path).encode())
    except ImageError:  # which is told when the picture's turn comes
        return UNREADABLE
    if entry.truth is not None:
        truth = entry.truth
        for values in (truth.boxes, truth.labels, truth.ignore, truth.crowd):
            told.update(values.numpy().tobytes())
    return told.hexdigest()[:16]


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """What differs between two runs' questions, in words; the version and notes may."""
    if path in ("version", "data.notes", "data.missing", "data.source"):
        return
    if path == "data.class_map":
        before, now = before or {}, now or {}  # runs of earlier versions have none
    if path == "data.pictures":
        yield from _picture_differences(before, now)
    elif isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield f"{path} was {before}, is {now}"


def _picture_differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    gone, new = before.keys() - now.keys(), now.keys() - before.keys()
    changed = [
        name
        for name in before.keys() & now.keys()
        if UNREADABLE not in (before[name], now[name]) and before[name] != now[name]
    ]
    for names, what in ((gone, "gone"), (new, "new"), (changed, "changed, or its marks are")):
        if names:
            few = ", ".join(sorted(names)[:3])
            yield f"{len(names)} picture{'s' * (len(names) > 1)} {what} ({few})"


def _within(
    progress: Callable[[str, int, int, Progress | None], None] | None,
    entry: Entry,
    done: int,
    total: int,
) -> Callable[[Progress], None] | None:
    if progress is None:
        return None
    return lambda inner: progress(entry.name, done, total, inner)

"""A study's run folder: append-only, resumable, one process at a time.

::

    run/
      run.json             what is studied, and how: detector, data set, settings
      pictures/<name>/     one folder per picture; its manifest.json, written last, completes it
      pictures/<name>/failed.json   instead, where the picture could not be studied
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attrs
from filelock import FileLock, Timeout

from chiaroscuro._version import __version__
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import BundleError, ImageError
from chiaroscuro.core.plan import StudySettings
from chiaroscuro.core.progress import Report, Steps
from chiaroscuro.core.text import plural
from chiaroscuro.data.datasets import DataSet, Entry
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.images.hashes import file_hash
from chiaroscuro.results.folder import ResultFolder
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import STUDY_AGAIN, ClassRecord, Failed, RunData, RunRecord
from chiaroscuro.studies.examine import examine

UNREADABLE = ""
_FREE = (  # what two runs of one folder may differ in
    "version",
    "data.notes",
    "data.missing",
    "data.source",
    "settings.plan.batch_size",
    "settings.reading.max_pixels",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder.

    Attributes:
        folder: where it is.
        record: what ``run.json`` holds.
    """

    folder: AnyPath
    record: RunRecord

    @classmethod
    def load(cls, folder: str | AnyPath) -> "Run":
        """Open a run folder.

        Raises:
            BundleError: if it is none.
        """
        folder = bundle.as_path(folder)
        file = folder / "run.json"
        if not file.is_file():
            raise BundleError(f"{folder} is no run folder: wanted the --out of chiaroscuro study")
        remedy = "study again with another --out, or copy the run folder again"
        return cls(folder=folder, record=bundle.read_record(file, RunRecord, remedy=remedy))

    @property
    def names(self) -> list[str]:
        """All pictures of the run, in the data set's order."""
        return list(self.record.data.pictures)

    def path(self, name: str) -> AnyPath:
        """The folder of one picture."""
        return self.folder / "pictures" / name

    def done(self, name: str) -> bool:
        """Whether a picture's results are complete."""
        return (self.path(name) / "manifest.json").is_file()

    def failed(self) -> dict[str, str]:
        """Pictures that could not be studied, with the reason."""
        reasons = {}
        for name in self.names:
            file = self.path(name) / "failed.json"
            if file.is_file() and not self.done(name):
                reasons[name] = bundle.read_record(file, Failed, remedy=STUDY_AGAIN).reason
        return reasons

    def picture(self, name: str) -> ResultFolder:
        """The results of one complete picture.

        Raises:
            BundleError: if it is not complete, or damaged.
        """
        found = ResultFolder(self.path(name))
        _ = found.study  # of a study, or an error
        return found

    def pictures(self) -> Iterator[ResultFolder]:
        """The complete pictures, in the data set's order."""
        return (self.picture(name) for name in self.names if self.done(name))


def study(
    data: DataSet,
    detector: Detector,
    folder: str | AnyPath,
    settings: StudySettings | None = None,
    *,
    progress: Report | None = None,
) -> Run:
    """Study every picture of a data set that the run folder does not have yet.

    The maps do not depend on the order of pictures, nor on interruptions.

    Args:
        data: what is studied.
        detector: which detector.
        folder: of the run; made if absent.
        settings: how.
        progress: called with pictures done, and the progress within the picture.

    Raises:
        BundleError: if the folder holds a run of something else, or another process works in it.
        AnnotationError: if data set and detector have no class in common.
    """
    folder, settings = bundle.as_path(folder), settings or StudySettings()
    labels = labels_of(data, detector)
    with only_one(folder):
        run = begin(folder, run_record(data, detector, settings))
        to_do = [entry for entry in data.entries if not run.done(entry.name)]
        n = len(data.entries)
        steps = Steps(progress, n, "pictures", done=n - len(to_do))
        for entry in to_do:
            steps.at(entry.name)
            examine(entry, detector, run.path(entry.name), settings, labels, steps.within)
            steps.advance()
    return run


def labels_of(data: DataSet, detector: Detector) -> dict[int, int]:
    """The detector's label of every class of the data set."""
    if data.annotations is None:
        return {}
    return data.annotations.labels_for(detector.info.class_names)


def notes_on(data: DataSet, detector: Detector) -> list[str]:
    """What the data set reports, and what becomes of its classes, in sentences."""
    if data.annotations is None:
        return list(data.notes)
    labels = labels_of(data, detector)
    return [*data.notes, *data.annotations.notes_on(labels, detector.info.class_names)]


def run_record(data: DataSet, detector: Detector, settings: StudySettings) -> RunRecord:
    """What a run studies, and how."""
    return RunRecord(
        version=__version__,
        detector=detector.info.name,
        data=RunData(
            source=data.source,
            annotated=data.annotations is not None,
            classes=_classes(data, detector),  # type: ignore[arg-type]
            class_map={} if data.annotations is None else dict(data.annotations.class_map),
            pictures={entry.name: _fingerprint(entry) for entry in data.entries},
            missing=data.missing,
            notes=tuple(notes_on(data, detector)),
        ),
        settings=settings,
    )


def begin(folder: AnyPath, record: RunRecord) -> Run:
    """Start a run in a folder, or resume the one there.

    Files that could not be read when the run began may be readable now; the run then keeps what
    they hold.

    Raises:
        BundleError: if it is a run of something else.
    """
    file = folder / "run.json"
    if not file.is_file():
        bundle.write_record(file, record)
        return Run(folder=folder, record=record)
    run = Run.load(folder)
    differ = list(_differences(plain(run.record), plain(record)))
    if differ:
        shown = "; ".join(differ[:5]) + (f"; and {len(differ) - 5} more" if differ[5:] else "")
        raise BundleError(f"{folder} holds a run of something else: {shown}. Choose another --out")
    before, now = run.record.data.pictures, record.data.pictures
    known = {name: before[name] or now[name] for name in before}
    if known != before:
        data = attrs.evolve(run.record.data, pictures=known)
        run = Run(folder=folder, record=attrs.evolve(run.record, data=data))
        bundle.write_record(file, run.record)
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


def _classes(data: DataSet, detector: Detector) -> list[ClassRecord]:
    """The detector's classes with the data set's ids; those it lacks follow its highest id."""
    if data.annotations is None:
        ids: dict[int, int | str | None] = {}
    else:
        given = data.annotations.class_ids
        ids = {theirs: given[mine] for mine, theirs in reversed(labels_of(data, detector).items())}
        highest = max((number for number in given if isinstance(number, int)), default=0)
        foreign = [label for label in range(len(detector.info.class_names)) if label not in ids]
        ids |= {label: highest + place for place, label in enumerate(foreign, start=1)}
    return [
        ClassRecord(label=label, name=name, id=ids.get(label))
        for label, name in enumerate(detector.info.class_names)
    ]


def _fingerprint(entry: Entry) -> str:
    """Changes when the file or the annotations do; ``UNREADABLE`` where it cannot be read."""
    try:
        digest = hashlib.sha256(file_hash(entry.path).encode())
    except ImageError:  # reported when the picture's turn comes
        return UNREADABLE
    if entry.truth is not None:
        truth = entry.truth
        for values in (truth.boxes, truth.labels, truth.ignore, truth.crowd):
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()[:16]


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """What differs between two runs, in words."""
    if path in _FREE:
        return
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
    for names, what in (
        (gone, "gone"),
        (new, "new"),
        (changed, "changed, or its annotations have"),
    ):
        if names:
            few = ", ".join(sorted(names)[:3])
            yield f"{plural(len(names), 'picture')} {what} ({few})"

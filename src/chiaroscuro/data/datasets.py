"""A data set: pictures on this machine, with the marks that go with them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chiaroscuro.data import formats
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.samples import met_faces_annotations, met_faces_folder
from chiaroscuro.errors import AnnotationError
from chiaroscuro.records import Truth

MET_FACES = "met-faces"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A picture of a data set.

    Attributes:
        name: unlike any other's in the set, fit for a folder's name.
        path: the file.
        truth: what is marked in it, in the file's pixels; None in a set without marks.
        width: of the file in pixels, as the marks have it; None in a set without marks.
        about: what else the data set says of it, such as ``title`` and ``painter``.
    """

    name: str
    path: Path
    truth: Truth | None = None
    width: int | None = None
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataSet:
    """Pictures in a stated order.

    Attributes:
        source: what it was opened from.
        class_names: by label; empty in a set without marks.
        entries: the pictures.
        missing: file names that the marks have and this machine does not.
        notes: marks that were left out, in sentences.
        annotations: the marks; None in a set without.
    """

    source: str
    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    annotations: Annotations | None = None


def open_data_set(spec: str | Path, images: str | Path | None = None) -> DataSet:
    """Open a data set by what it is.

    Args:
        spec: ``"met-faces"``; a COCO JSON file; a folder of Pascal VOC's (``Annotations/*.xml`` and
            ``JPEGImages/``); a folder of YOLO's (``images/``, ``labels/`` and ``data.yaml``); or a
            folder of pictures without marks.
        images: the folder that file names are relative to, where it is not the usual one.

    Raises:
        AnnotationError: if it is none of these, cannot be read, or has no picture.
    """
    path = Path(spec)
    if str(spec) == MET_FACES and not path.exists():
        return _with_marks(met_faces_annotations(), Path(images or met_faces_folder()), MET_FACES)
    if path.suffix.lower() == ".json":
        return _with_marks(formats.read_coco(path), Path(images or path.parent), str(spec))
    if not path.is_dir():
        raise AnnotationError(
            f"{spec}: wanted met-faces, a COCO .json file, a folder in the layout of Pascal VOC or "
            "YOLO, or a folder of pictures"
        )
    if (path / "labels").is_dir() and (path / "images").is_dir():
        return _with_marks(formats.read_yolo(path), Path(images or path / "images"), str(spec))
    if (path / "Annotations").is_dir() or any(path.glob("*.xml")):
        usual = path / "JPEGImages"
        folder = Path(images or (usual if usual.is_dir() else path))
        return _with_marks(formats.read_voc(path), folder, str(spec))
    return _without_marks(path)


def _with_marks(annotations: Annotations, folder: Path, source: str) -> DataSet:
    there, missing = [], []
    for picture in annotations.pictures:
        if (folder / picture.file_name).is_file():
            there.append(picture)
        else:
            missing.append(picture.file_name)
    if not there:
        raise AnnotationError(
            f"{source}: none of its {len(annotations.pictures)} pictures is in {folder}"
            + (f", such as {missing[0]}" if missing else "")
            + "; --images DIR says where they are"
        )
    names = _names([p.file_name for p in there])
    entries = tuple(
        Entry(
            name=name,
            path=folder / picture.file_name,
            truth=picture.truth,
            width=picture.width,
            about=dict(picture.about),
        )
        for name, picture in zip(names, there, strict=True)
    )
    return DataSet(
        source=source,
        class_names=annotations.class_names,
        entries=entries,
        missing=tuple(missing),
        notes=annotations.notes,
        annotations=annotations,
    )


def _without_marks(folder: Path) -> DataSet:
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in formats.PICTURE_SUFFIXES and path.is_file()
    )
    if not paths:
        raise AnnotationError(f"{folder} holds no pictures")
    names = _names([path.relative_to(folder).as_posix() for path in paths])
    return DataSet(
        source=str(folder),
        class_names=(),
        entries=tuple(Entry(name=name, path=path) for name, path in zip(names, paths, strict=True)),
    )


def _names(file_names: Iterable[str]) -> list[str]:
    """Stems where they are all different; else whole relative paths with ``__`` for ``/``.

    Raises:
        AnnotationError: if a file name appears twice, or leads out of the folder.
    """
    file_names = list(file_names)
    name, times = Counter(file_names).most_common(1)[0]
    if times > 1:
        raise AnnotationError(f"the data set has the picture {name} {times} times")
    for name in file_names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise AnnotationError(f"the data set's file name {name!r} leads out of its folder")
    stems = [Path(name).stem for name in file_names]
    if len(set(stems)) == len(stems):
        return stems
    return [name.replace("/", "__") for name in file_names]

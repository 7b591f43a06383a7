"""A data set: pictures on this machine, with the marks that go with them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chiaroscuro.data import formats
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.images import is_address
from chiaroscuro.data.paths import find_pictures, folder_names, picture_suffixes, resolve
from chiaroscuro.data.samples import met_faces_annotations, met_faces_folder
from chiaroscuro.errors import AnnotationError
from chiaroscuro.records import Truth

MET_FACES = "met-faces"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A picture of a data set.

    Attributes:
        name: unlike any other's in the set, fit for a folder's name.
        path: the file, or its address.
        truth: what is marked in it, in the file's pixels; None in a set without marks.
        width: of the file in pixels, as the marks have it; None in a set without marks.
        about: what else the data set says of it, such as ``title`` and ``painter``.
    """

    name: str
    path: Path | str
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
            ``JPEGImages/``); a folder of YOLO's (``images/``, ``labels/`` and ``data.yaml``); or,
            without annotations, a folder of pictures, a single picture's path or address, or a text
            file with a path or address per line.
        images: the folder that file names are relative to, where it is not the usual one.

    Raises:
        AnnotationError: if it is none of these, cannot be read, or has no picture.
    """
    if is_address(spec):
        return _listed(str(spec), [str(spec)])
    path = Path(spec)
    if str(spec) == MET_FACES and not path.exists():
        return _with_marks(met_faces_annotations(), Path(images or met_faces_folder()), MET_FACES)
    if path.suffix.lower() == ".json":
        return _with_marks(formats.read_coco(path), Path(images or path.parent), str(spec))
    if path.suffix.lower() == ".txt" and path.is_file():
        return _listed(str(spec), _lines(path))
    if path.suffix.lower() in picture_suffixes() and path.is_file():
        return _listed(str(spec), [path])
    if not path.is_dir():
        raise AnnotationError(
            f"{spec}: wanted met-faces, a COCO .json file, a folder in the layout of Pascal VOC or "
            "YOLO, a folder of pictures, a picture or its address, or a .txt file with one per line"
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
        path = resolve(folder, picture.file_name)
        if path is None:
            missing.append(picture.file_name)
        else:
            there.append((picture, path))
    if not there:
        raise AnnotationError(
            f"{source}: none of its {len(annotations.pictures)} pictures is in {folder}"
            + (f", such as {missing[0]}" if missing else "")
            + "; --images DIR says where they are"
        )
    names = _names([path.relative_to(folder) for _, path in there])
    entries = tuple(
        Entry(
            name=name,
            path=path,
            truth=picture.truth,
            width=picture.width,
            about=dict(picture.about),
        )
        for name, (picture, path) in zip(names, there, strict=True)
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
    paths = find_pictures(folder)
    if not paths:
        raise AnnotationError(
            f"{folder} holds no pictures; wanted files that end in one of "
            + ", ".join(sorted(picture_suffixes()))
        )
    names = _names([path.relative_to(folder) for path in paths])
    return DataSet(
        source=str(folder),
        class_names=(),
        entries=tuple(Entry(name=name, path=path) for name, path in zip(names, paths, strict=True)),
    )


def _listed(source: str, pictures: Sequence[Path | str]) -> DataSet:
    """Pictures by their paths and addresses; one that is not there fails when it is read."""
    return DataSet(
        source=source,
        class_names=(),
        entries=tuple(
            Entry(name=name, path=picture)
            for name, picture in zip(_names(pictures), pictures, strict=True)
        ),
    )


def _lines(file: Path) -> list[Path | str]:
    """What a text file lists, one picture per line; paths are relative to the file's folder."""
    try:
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise AnnotationError(f"{file} cannot be read: {error}") from error
    lines = [line.strip() for line in text.split("\n")]
    listed = [line for line in lines if line and not line.startswith("#")]
    if not listed:
        raise AnnotationError(f"{file} lists no pictures; wanted a path or an address per line")
    return [line if is_address(line) else file.parent / line for line in listed]


def _names(pictures: Sequence[Path | str]) -> list[str]:
    """Names for the folders of the pictures' results, no two alike.

    Raises:
        AnnotationError: if a picture is there twice.
    """
    sources = [str(picture) for picture in pictures]
    source, times = Counter(sources).most_common(1)[0]
    if times > 1:
        raise AnnotationError(
            f"the data set has the picture {source} {times} times; wanted each once"
        )
    return folder_names(sources)

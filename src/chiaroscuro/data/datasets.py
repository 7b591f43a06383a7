"""A data set: pictures on this machine, with the annotations that belong to them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chiaroscuro.core.errors import AnnotationError, ImageError
from chiaroscuro.core.records import Truth
from chiaroscuro.core.text import plural
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.formats import is_list, is_picture, read_annotations
from chiaroscuro.data.frame import Frame
from chiaroscuro.data.paths import folder_names, picture_suffixes
from chiaroscuro.data.pictures import find_pictures, resolve
from chiaroscuro.data.placing import Placed, place_all
from chiaroscuro.data.reading import storable
from chiaroscuro.data.samples import met_faces_folder
from chiaroscuro.data.yolo import labels_beside
from chiaroscuro.images.header import PictureSize, picture_size
from chiaroscuro.images.sources import is_address


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A picture of a data set.

    Attributes:
        name: unique in the set, valid as a folder's name.
        path: the file, or its address.
        truth: what is annotated in it, in pixels of the picture as ``read_image`` returns it; None
            in a set without annotations.
        size: width and height that ``truth`` was converted to; None where nothing was.
        refused: why its annotations cannot be used with it, or ``""``.
        about: what else the data set states about it, such as ``title`` and ``painter``.
    """

    name: str
    path: Path | str
    truth: Truth | None = None
    size: tuple[int, int] | None = None
    refused: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    def check(self, width: int, height: int) -> None:
        """Refuse a picture that was read, where its annotations are not in its pixels.

        Raises:
            AnnotationError: if they cannot be used with it, or the file was changed meanwhile.
        """
        if self.refused:
            raise AnnotationError(self.refused)
        if self.size not in (None, (width, height)):
            raise AnnotationError(
                f"{self.path} was {self.size} pixels (width, height) when the data set was opened "
                f"and is {(width, height)} now; open it again"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataSet:
    """Pictures in a stated order.

    Attributes:
        source: what it was opened from.
        class_names: by label; empty in a set without annotations.
        entries: the pictures.
        missing: file names that the annotations have and this machine does not.
        notes: what was left out or decided, in sentences.
        annotations: as the data set has them; None in a set without.
    """

    source: str
    class_names: tuple[str, ...]
    entries: tuple[Entry, ...]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    annotations: Annotations | None = None


def open_data_set(
    spec: str | Path,
    images: str | Path | None = None,
    *,
    class_map: Mapping[str, str] | None = None,
    frame: Frame | None = None,
) -> DataSet:
    """Open a data set of any kind.

    Args:
        spec: ``"met-faces"`` or ``"met-training"``; a COCO JSON file; a folder of Pascal VOC's XML
            files; a folder of YOLO's, or its ``data.yaml``; or, without annotations, a folder of
            pictures, a single picture's path or address, or a text file with a path or address per
            line.
        images: the folder that file names are relative to, where it is not the usual one.
        class_map: names of the detector's classes by the data set's, where they differ.
        frame: whether boxes refer to the picture as it is read (``"upright"``) or as it is
            stored, before its EXIF orientation (``"stored"``); by default it is detected, picture
            by picture.

    Raises:
        AnnotationError: if it is none of these, cannot be read, has no picture, has labels that no
            reader understands, or none of its pictures is of the size that its annotations are for.
    """
    annotations = read_annotations(spec, images)
    if annotations is None:
        return _without_annotations(spec)
    annotations = replace(annotations, class_map=dict(class_map or {}))
    folder = annotations.folder or met_faces_folder() if images is None else Path(images)
    return _with_annotations(annotations, str(spec), folder, frame)


def _with_annotations(
    annotations: Annotations, source: str, folder: Path, frame: Frame | None
) -> DataSet:
    found = [(picture, resolve(folder, picture.file_name)) for picture in annotations.pictures]
    missing = [picture.file_name for picture, path in found if path is None]
    paths = [path for _, path in found if path]
    if not paths:
        raise AnnotationError(
            f"{source}: not found in {folder}: {plural(len(missing), 'picture')}"
            + (f", such as {missing[0]}" if missing else "")
            + "; set their folder with --images"
        )
    sized = [(picture, _size_of(path)) for picture, path in found if path]
    placed, decisions = place_all(sized, frame)
    # boxes of pictures that cannot be read are not lost: reading those pictures reports why
    _check_placed(source, placed, [size for picture, size in sized if picture.boxes])
    notes = (*annotations.notes, *decisions, *(note for one in placed for note in one.notes))
    entries = [
        Entry(
            name=name,
            path=path,
            truth=one.truth,
            size=None if size is None else (size.width, size.height),
            refused=one.refused,
            about=dict(picture.about),
        )
        for name, path, (picture, size), one in zip(
            _names(paths, folder), paths, sized, placed, strict=True
        )
    ]
    return DataSet(
        source=source,
        class_names=annotations.class_names,
        entries=tuple(entries),
        missing=tuple(map(storable, missing)),
        notes=tuple(map(storable, notes)),
        annotations=annotations,
    )


def _size_of(path: Path) -> PictureSize | None:
    """None for a picture that cannot be read; reading it reports why."""
    try:
        return picture_size(path)
    except ImageError:
        return None


def _check_placed(source: str, placed: Sequence[Placed], sizes: Sequence[object]) -> None:
    """Refuse a data set of which every picture is refused, or every box left out."""
    if all(one.refused for one in placed):
        n = plural(len(placed), "picture")
        raise AnnotationError(f"{source}: {placed[0].refused} (refused: {n})")
    lost = [note for one in placed for note in one.notes]
    if lost and None not in sizes and not any(len(one.truth) for one in placed):
        raise AnnotationError(
            f"{source}: wanted boxes, got {plural(len(lost), 'box', 'boxes')} that cannot be used; "
            f"{lost[0]}"
        )


def _without_annotations(spec: str | Path) -> DataSet:
    path = Path(spec)
    pictures: Sequence[Path | str]
    if is_address(spec):
        pictures = [str(spec)]
    elif is_list(path):
        pictures = _listed(path)
    else:
        pictures = [path] if is_picture(path) else find_pictures(path)
    if not pictures:
        raise AnnotationError(
            f"{path} has no pictures; wanted files that end in one of "
            + ", ".join(sorted(picture_suffixes()))
        )
    names, beside = _names(pictures, path), labels_beside(path)
    notes = []
    if beside is not None:
        notes.append(
            f"{path}: opened without annotations; to use the label files in {beside}, give "
            f"{beside.parent} or its data.yaml as the data set"
        )
    return DataSet(
        source=str(spec),
        class_names=(),
        entries=tuple(
            Entry(name=name, path=one) for name, one in zip(names, pictures, strict=True)
        ),
        notes=tuple(notes),
    )


def _listed(file: Path) -> list[Path | str]:
    """The pictures in a text file, one per line; paths are relative to the file's folder.

    A picture that does not exist fails when it is read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise AnnotationError(f"{file} cannot be read: {error}") from error
    lines = [line.strip() for line in text.split("\n")]
    listed = [line for line in lines if line and not line.startswith("#")]
    if not listed:
        raise AnnotationError(f"{file} lists no pictures; wanted a path or an address per line")
    return [line if is_address(line) else file.parent / line for line in listed]


def _names(pictures: Sequence[Path | str], folder: Path) -> list[str]:
    """Unique names for the folders of the pictures' results; refuses a picture listed twice."""
    sources = [
        str(one.relative_to(folder) if isinstance(one, Path) and folder in one.parents else one)
        for one in pictures
    ]
    source, times = Counter(sources).most_common(1)[0]
    if times > 1:
        raise AnnotationError(f"the picture {source} is listed {times} times; wanted each once")
    return folder_names(sources)

"""A data set: pictures on this machine, with the annotations that go with them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chiaroscuro.core.errors import AnnotationError, ImageError
from chiaroscuro.core.records import Truth
from chiaroscuro.data import yolo
from chiaroscuro.data.annotations import AnnotatedPicture, Annotations
from chiaroscuro.data.coco import read_coco
from chiaroscuro.data.frame import Frame, Placed, place_all
from chiaroscuro.data.paths import find_pictures, folder_names, picture_suffixes, resolve
from chiaroscuro.data.reading import storable
from chiaroscuro.data.samples import met_faces_annotations, met_faces_folder
from chiaroscuro.data.unread import unread_labels
from chiaroscuro.data.voc import is_voc, read_voc
from chiaroscuro.images.header import PictureSize, picture_size
from chiaroscuro.images.sources import is_address

MET_FACES = "met-faces"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A picture of a data set.

    Attributes:
        name: unlike any other's in the set, fit for a folder's name.
        path: the file, or its address.
        truth: what is annotated in it, in pixels of the picture as ``read_image`` gives it; None in
            a set without annotations.
        size: width and height that ``truth`` was brought to; None where nothing was.
        refused: why its annotations cannot be used with it, or ``""``.
        about: what else the data set says of it, such as ``title`` and ``painter``.
    """

    name: str
    path: Path | str
    truth: Truth | None = None
    size: tuple[int, int] | None = None
    refused: str = ""
    about: dict[str, Any] = field(default_factory=dict)

    def check(self, width: int, height: int) -> None:
        """Refuse a picture that was read, where its annotations are not in its pixels.

        Args:
            width: of the picture that was read.
            height: likewise.

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
        notes: what was left out or had to be decided, in sentences.
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
    """Open a data set by what it is.

    Args:
        spec: ``"met-faces"``; a COCO JSON file; a folder of Pascal VOC's XML files; a folder of
            YOLO's, or its ``data.yaml``; or, without annotations, a folder of pictures, a single
            picture's path or address, or a text file with a path or address per line.
        images: the folder that file names are relative to, where it is not the usual one.
        class_map: names of the detector's classes by the data set's, where they differ.
        frame: whether boxes are drawn on the picture as it is read (``"upright"``) or as it is
            stored, before its EXIF orientation (``"stored"``); by default it is found out, picture
            by picture.

    Raises:
        AnnotationError: if it is none of these, cannot be read, has no picture, has labels that no
            reader understands, or none of its pictures is of the size that its annotations are for.
    """
    annotations = read_annotations(spec, images)
    if annotations is None:
        return _without_annotations(spec)
    return _with_annotations(
        replace(annotations, class_map=dict(class_map or {})), str(spec), images, frame
    )


def read_annotations(spec: str | Path, images: str | Path | None = None) -> Annotations | None:
    """The annotations alone, as the data set has them; None for pictures without any.

    Raises:
        AnnotationError: as ``open_data_set`` does.
    """
    path = Path(spec)
    if str(spec) == MET_FACES and not path.exists():
        return met_faces_annotations()
    if is_address(spec) or _is_list(path) or _is_picture(path):
        return None
    if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
        return yolo.read_yolo(path, images)
    if path.is_file() or (path.suffix.lower() == ".json" and not path.is_dir()):
        return read_coco(path)
    if not path.is_dir():
        raise AnnotationError(
            f"{spec}: wanted met-faces, a COCO .json file, YOLO's data.yaml, a folder in the "
            "layout of Pascal VOC or YOLO, a folder of pictures, a picture or its address, or a "
            ".txt file with one per line"
        )
    if _is_yolo(path):
        return yolo.read_yolo(path, images)
    splits = yolo.splits_file(path)
    if splits is not None and images is None and not find_pictures(path):
        return yolo.read_yolo(splits)  # it names pictures elsewhere
    if is_voc(path):
        return read_voc(path, images)
    unread = unread_labels(path)
    if unread:
        raise AnnotationError(
            f"{spec}: label files seen, not read: {unread}. Wanted a COCO .json file (give the "
            "file itself), Pascal VOC's .xml, or YOLO's .txt with data.yaml or classes.txt; to "
            "study the pictures without annotations, move the label files away"
        )
    return None


def _is_yolo(folder: Path) -> bool:
    if yolo.label_files(folder):
        return True
    if yolo.label_folders(folder):  # of another format, or empty
        return not is_voc(folder) and not unread_labels(folder)
    if yolo.names_file(folder) is None:
        return False
    return any(path.with_suffix(".txt").is_file() for path in find_pictures(folder))


def _with_annotations(
    annotations: Annotations, source: str, images: str | Path | None, frame: Frame | None
) -> DataSet:
    folder = _folder_of(annotations, images)
    there: list[tuple[AnnotatedPicture, Path]] = []
    missing = []
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
    sized = [(picture, _size_of(path)) for picture, path in there]
    placed, decisions = place_all(sized, frame)
    refused = [one.refused for one in placed if one.refused]
    if len(refused) == len(placed):
        raise AnnotationError(f"{source}: {refused[0]} (all {len(refused)} pictures are refused)")
    names = _names([_within(folder, path) for _, path in there])
    _check_any_box(source, sized, placed)
    notes = (*annotations.notes, *decisions, *(note for one in placed for note in one.notes))
    return DataSet(
        source=source,
        class_names=annotations.class_names,
        entries=tuple(
            _entry(name, path, picture, size, one)
            for name, (picture, path), (_, size), one in zip(
                names, there, sized, placed, strict=True
            )
        ),
        missing=tuple(map(storable, missing)),
        notes=tuple(map(storable, notes)),
        annotations=annotations,
    )


def _check_any_box(
    source: str,
    sized: Sequence[tuple[AnnotatedPicture, PictureSize | None]],
    placed: Sequence[Placed],
) -> None:
    """Refuse a data set of which every box had to be left out."""
    lost = [note for one in placed for note in one.notes]
    unreadable = any(size is None and picture.boxes for picture, size in sized)
    if lost and not unreadable and not any(len(one.truth) for one in placed):
        raise AnnotationError(f"{source}: none of its {len(lost)} boxes can be used; {lost[0]}")


def _folder_of(annotations: Annotations, images: str | Path | None) -> Path:
    if images is not None:
        return Path(images)
    return annotations.folder or met_faces_folder()


def _size_of(path: Path) -> PictureSize | None:
    """None for a picture that cannot be read: whoever reads it will say why."""
    try:
        return picture_size(path)
    except ImageError:
        return None


def _entry(
    name: str, path: Path, picture: AnnotatedPicture, size: PictureSize | None, placed: Placed
) -> Entry:
    return Entry(
        name=name,
        path=path,
        truth=placed.truth,
        size=None if size is None else (size.width, size.height),
        refused=placed.refused,
        about=dict(picture.about),
    )


def _without_annotations(spec: str | Path) -> DataSet:
    path = Path(spec)
    pictures: Sequence[Path | str]
    if is_address(spec):
        pictures = [str(spec)]
    elif _is_list(path):
        pictures = _listed(path)
    elif _is_picture(path):
        pictures = [path]
    else:
        pictures = find_pictures(path)
        if not pictures:
            raise AnnotationError(
                f"{path} holds no pictures; wanted files that end in one of "
                + ", ".join(sorted(picture_suffixes()))
            )
    names = _names([_within(path, picture) for picture in pictures])
    beside = yolo.labels_beside(path)
    notes = []
    if beside is not None:
        notes.append(
            f"{path}: studied without annotations; the label files in {beside} are read where the "
            f"data set is given as {beside.parent} or its data.yaml"
        )
    return DataSet(
        source=str(spec),
        notes=tuple(notes),
        class_names=(),
        entries=tuple(
            Entry(name=name, path=picture) for name, picture in zip(names, pictures, strict=True)
        ),
    )


def _within(folder: Path, picture: Path | str) -> Path | str:
    """A picture relative to the folder that was searched; others as they are."""
    if isinstance(picture, Path) and folder in picture.parents:
        return picture.relative_to(folder)
    return picture


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and path.is_file()


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in picture_suffixes() and path.is_file()


def _listed(file: Path) -> list[Path | str]:
    """What a text file lists, one picture per line; paths are relative to the file's folder.

    A picture that is not there fails when it is read.
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

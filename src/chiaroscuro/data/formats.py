"""Which reader a data set needs; label files that none understands are refused, never ignored."""

import re
from pathlib import Path

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.coco import read_coco
from chiaroscuro.data.paths import picture_suffixes
from chiaroscuro.data.pictures import find_pictures
from chiaroscuro.data.samples import SAMPLE_SETS, sample_annotations
from chiaroscuro.data.voc import is_voc, read_voc
from chiaroscuro.data.yolo import label_files, label_folders, read_yolo
from chiaroscuro.data.yolo_config import names_file, splits_file
from chiaroscuro.images.sources import is_address

_WORDS = re.compile(
    r"""["'<,;\s_](bbox|bboxes|boxes|bndbox|xmin|x_min|x1|xtl|polygon|polygons|shapes|regions|"""
    r"""region_shape_attributes|annotations|annotation|rectanglelabels|segmentation|keypoints)"""
    r"""["'>,;:\s=_]""",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"(?:[-+]?\d+(?:\.\d+)?[\s,;]+){3}[-+]?\d")  # four in a row
_SUFFIXES = frozenset((".json", ".jsonl", ".ndjson", ".xml", ".txt", ".csv", ".tsv"))
_READ_BYTES = 65536
_SHOWN = 3


def read_annotations(spec: str | Path, images: str | Path | None = None) -> Annotations | None:
    """The annotations of a data set alone, unchanged; None for pictures without any.

    Arguments and errors are those of :func:`~chiaroscuro.data.datasets.open_data_set`.
    """
    path = Path(spec)
    if str(spec) in SAMPLE_SETS and not path.exists():
        return sample_annotations(str(spec))
    if is_address(spec) or is_list(path) or is_picture(path):
        return None
    if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
        return read_yolo(path, images)
    if path.is_file() or (path.suffix.lower() == ".json" and not path.is_dir()):
        return read_coco(path)
    if not path.is_dir():
        raise AnnotationError(
            f"{spec}: wanted {', '.join(SAMPLE_SETS)}, a COCO .json file, YOLO's data.yaml, a "
            "folder in the layout of Pascal VOC or YOLO, a folder of pictures, a picture or its "
            "address, or a .txt file with one per line"
        )
    if _is_yolo(path):
        return read_yolo(path, images)
    splits = splits_file(path)
    if splits is not None and images is None and not find_pictures(path):
        return read_yolo(splits)  # it names pictures elsewhere
    if is_voc(path):
        return read_voc(path, images)
    unread = _unread_labels(path)
    if unread:
        raise AnnotationError(
            f"{spec}: label files seen, not read: {unread}. Wanted a COCO .json file (give the "
            "file itself), Pascal VOC's .xml, or YOLO's .txt with data.yaml or classes.txt; to "
            "study the pictures without annotations, move the label files away"
        )
    return None


def is_list(path: Path) -> bool:
    """Whether it is a text file that lists pictures."""
    return path.suffix.lower() == ".txt" and path.is_file()


def is_picture(path: Path) -> bool:
    """Whether it is a picture file, by its suffix."""
    return path.suffix.lower() in picture_suffixes() and path.is_file()


def _is_yolo(folder: Path) -> bool:
    if label_files(folder):
        return True
    if label_folders(folder):  # of another format, or empty
        return not is_voc(folder) and not _unread_labels(folder)
    if names_file(folder) is None:
        return False
    return any(path.with_suffix(".txt").is_file() for path in find_pictures(folder))


def _unread_labels(folder: Path) -> str:
    """Files in a folder, at any depth, that hold labels of its pictures; ``""`` without any.

    A file counts as one if it has the name of a picture, or mentions boxes. Text beside a picture,
    such as its caption, counts only with four numbers in a row.
    """
    pictures = find_pictures(folder)
    stems, names = {path.stem for path in pictures}, {path.name for path in pictures}
    found = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.name.endswith(".aux.xml")  # a map's coordinates, by GDAL
        and path.is_file()
        and _holds_labels(path, stems, names)
    ]
    more = f" and {len(found) - _SHOWN} more" if found[_SHOWN:] else ""
    return ", ".join(found[:_SHOWN]) + more


def _holds_labels(path: Path, stems: set[str], names: set[str]) -> bool:
    kind = path.suffix.lower()
    own = path.stem in stems or path.stem in names  # a.json or a.png.json, for a.png
    if own and kind not in (".txt", ".csv", ".tsv"):
        return True
    try:
        with path.open("rb") as stream:
            data = stream.read(_READ_BYTES)
    except OSError:
        return False
    utf_16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16" if utf_16 else "utf-8", "replace")
    four_numbers = _NUMBERS.search(text) is not None
    if kind == ".txt":
        listed = own or not names.isdisjoint(re.split(r"[\s,;/\\]+", text))
        return listed and four_numbers
    return (own and four_numbers) or _WORDS.search(f" {text} ") is not None

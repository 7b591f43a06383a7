"""Which reader a data set needs."""

from pathlib import Path

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.annotations import Annotations
from chiaroscuro.data.coco import read_coco
from chiaroscuro.data.paths import picture_suffixes
from chiaroscuro.data.pictures import find_pictures
from chiaroscuro.data.samples import MET_FACES, met_faces_annotations
from chiaroscuro.data.unread import unread_labels
from chiaroscuro.data.voc import is_voc, read_voc
from chiaroscuro.data.yolo import label_files, label_folders, read_yolo
from chiaroscuro.data.yolo_config import names_file, splits_file
from chiaroscuro.images.sources import is_address


def read_annotations(spec: str | Path, images: str | Path | None = None) -> Annotations | None:
    """The annotations of a data set alone, unchanged; None for pictures without any.

    Arguments and errors are those of :func:`~chiaroscuro.data.datasets.open_data_set`.
    """
    path = Path(spec)
    if str(spec) == MET_FACES and not path.exists():
        return met_faces_annotations()
    if is_address(spec) or is_list(path) or is_picture(path):
        return None
    if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
        return read_yolo(path, images)
    if path.is_file() or (path.suffix.lower() == ".json" and not path.is_dir()):
        return read_coco(path)
    if not path.is_dir():
        raise AnnotationError(
            f"{spec}: wanted met-faces, a COCO .json file, YOLO's data.yaml, a folder in the "
            "layout of Pascal VOC or YOLO, a folder of pictures, a picture or its address, or a "
            ".txt file with one per line"
        )
    if _is_yolo(path):
        return read_yolo(path, images)
    splits = splits_file(path)
    if splits is not None and images is None and not find_pictures(path):
        return read_yolo(splits)  # it names pictures elsewhere
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
        return not is_voc(folder) and not unread_labels(folder)
    if names_file(folder) is None:
        return False
    return any(path.with_suffix(".txt").is_file() for path in find_pictures(folder))

"""YOLO's label files: one box per line, in shares of the picture's width and height.

Labels are found by Ultralytics' rule, ``images`` in a picture's path replaced by ``labels``, or
beside the picture, as in Darknet and CVAT. Class names are those of ``data.yaml``, ``classes.txt``
or ``obj.names``.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.core.text import plural
from chiaroscuro.data.annotations import AnnotatedPicture, Annotations
from chiaroscuro.data.pictures import find_pictures
from chiaroscuro.data.yolo_config import Config, config_of, pictures_of_splits
from chiaroscuro.data.yolo_lines import read_boxes

_LABEL_FOLDERS = {"images": "labels", "Images": "Labels", "JPEGImages": "labels"}  # by pictures'
_NO_LABELS = frozenset(("classes.txt", "predefined_classes.txt"))


def read_yolo(source: str | Path, images: str | Path | None = None) -> Annotations:
    """Read a YOLO data set: boxes, boxes of poses, and boxes around oriented boxes and polygons.

    A picture without a label file, or with an empty one, has no boxes.

    Args:
        source: its folder, one split's folder, or its ``data.yaml``, of which all splits are read.
        images: where the pictures are, if not where the layout has them.

    Raises:
        AnnotationError: if there are no labels or class names, or one cannot be read; says in which
            file and line.
    """
    source = Path(source)
    folder = (source if source.is_dir() else source.parent).absolute()
    images = None if images is None else Path(images).absolute()
    config = config_of(source)
    notes: list[str] = []
    pictures = _pictures(source, folder, config, images, notes)
    folders = [] if images is None else [*label_folders(folder), folder]
    labels = {path: _label_file(path, images, folders) for path in pictures}
    _check_labels(source, labels, notes)
    numbers = sorted(config.names)
    root = _root(folder, pictures, images)
    return Annotations(
        source=str(source),
        class_names=tuple(config.names[number] for number in numbers),
        class_ids=tuple(numbers),
        pictures=tuple(
            AnnotatedPicture(
                path.relative_to(root).as_posix(),
                boxes=tuple(read_boxes(file, config)) if file else (),
                unit=True,
            )
            for path, file in labels.items()
        ),
        folder=root,
        notes=tuple(notes),
    )


def label_folders(folder: Path) -> list[Path]:
    """The folders of a data set that hold label files and nothing else, as exports name them."""
    return _folders(folder, ("labels", "Labels"))


def labels_beside(images: Path) -> Path | None:
    """The folder of label files beside a folder of pictures, None where there is none."""
    labels = _LABEL_FOLDERS.get(images.absolute().name)
    folder = None if labels is None else images.absolute().parent / labels
    return folder if folder is not None and folder.is_dir() else None


def label_files(folder: Path) -> list[Path]:
    """The text files in such folders, in the order of their paths."""
    return sorted(
        path
        for place in label_folders(folder)
        for path in place.rglob("*.txt")
        if path.name.lower() not in _NO_LABELS and not path.name.startswith("._")
    )


def _pictures(
    source: Path, folder: Path, config: Config, images: Path | None, notes: list[str]
) -> list[Path]:
    """The pictures of the set, each once."""
    if images is not None:
        return find_pictures(images)
    found = [] if source.is_dir() else pictures_of_splits(config, notes)
    if not found:
        places = _folders(folder, _LABEL_FOLDERS) or [folder]
        found = sorted(path for place in places for path in find_pictures(place))
    if not found:
        raise AnnotationError(
            f"{source}: its pictures are not found; set their folder with --images"
        )
    return list({path.resolve(): path for path in found}.values())


def _folders(folder: Path, names: Iterable[str]) -> list[Path]:
    """The folders of these names at any depth, then CVAT's."""
    found = [sorted(folder.rglob(name)) for name in names] + [sorted(folder.glob("obj_*_data"))]
    return [place for places in found for place in places if place.is_dir()]


def _label_file(picture: Path, images: Path | None, folders: Sequence[Path]) -> Path | None:
    beside = picture.with_suffix(".txt")
    candidates = [folder / beside.relative_to(images) for folder in folders] if images else []
    parts = beside.parts
    for place in reversed(range(len(parts) - 1)):
        if parts[place] in _LABEL_FOLDERS:
            labels = _LABEL_FOLDERS[parts[place]]
            candidates.append(Path(*parts[:place], labels, *parts[place + 1 :]))
            break
    return next((path for path in (*candidates, beside) if path.is_file()), None)


def _check_labels(source: Path, labels: Mapping[Path, Path | None], notes: list[str]) -> None:
    used = {path.resolve() for path in labels.values() if path is not None}
    known = label_files(source.absolute()) if source.is_dir() else []
    alone = [path for path in known if path.resolve() not in used]
    if not used:
        found = f"found {alone[0]}" if alone else "no label file was found"
        raise AnnotationError(
            f"{source}: wanted labels/NAME.txt for images/NAME.jpg, or both side by side; "
            f"{plural(len(labels), 'picture')} without a label file, {found}"
        )
    if alone:
        count = plural(len(alone), "label file")
        notes.append(f"{source}: left out: {count} without a picture, such as {alone[0]}")


def _root(folder: Path, pictures: Sequence[Path], images: Path | None) -> Path:
    """A folder that holds all pictures."""
    for place in (images or folder / "images", folder):
        if all(place in path.parents for path in pictures):
            return place
    return Path(os.path.commonpath([path.parent for path in pictures]))

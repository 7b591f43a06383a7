"""Readers of data-set formats: COCO JSON, Pascal VOC, YOLO. Each gives ``Annotations``.

Boxes without area, or outside their picture, are left out and told; ``ignore``, ``iscrowd`` and
``difficult`` become boxes to ignore. Boxes are brought to ``x1 y1 x2 y2`` in continuous pixels.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
import yaml
from PIL import Image, UnidentifiedImageError

from chiaroscuro.data.annotations import AnnotatedPicture, Annotations
from chiaroscuro.data.paths import find_pictures
from chiaroscuro.errors import AnnotationError
from chiaroscuro.records import Truth


def read_coco(path: str | Path) -> Annotations:
    """Read a COCO JSON file of boxes.

    Raises:
        AnnotationError: if the file is no COCO JSON, or it contradicts itself.
    """
    path = Path(path)
    try:
        content: Any = json.loads(_text(path))
    except ValueError as error:
        raise AnnotationError(f"{path} is no readable JSON: {error}") from error
    return parse_coco(content, str(path))


def parse_coco(content: Any, source: str) -> Annotations:
    """The same from what a COCO JSON file holds.

    Raises:
        AnnotationError: as ``read_coco`` does.
    """
    notes: list[str] = []
    try:
        classes = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        label_of = {number: label for label, number in enumerate(sorted(classes))}
        rows: dict[Any, list[tuple[Any, int, bool]]] = {}
        for entry in content["images"]:
            if entry["id"] in rows:
                raise AnnotationError(f"{source}: two images have the id {entry['id']}")
            rows[entry["id"]] = []
        for row in content["annotations"]:
            if row["image_id"] not in rows:
                raise AnnotationError(
                    f"{source}: annotation {row.get('id', '?')} belongs to image "
                    f"{row['image_id']}, which is not among the images"
                )
            if row["category_id"] not in label_of:
                raise AnnotationError(
                    f"{source}: annotation {row.get('id', '?')} has category "
                    f"{row['category_id']}, which is not among the categories"
                )
            x, y, width, height = (float(value) for value in row["bbox"])
            ignore = bool(row.get("ignore") or row.get("iscrowd"))
            rows[row["image_id"]].append(
                ((x, y, x + width, y + height), label_of[row["category_id"]], ignore)
            )
        pictures = tuple(
            AnnotatedPicture(
                file_name=str(entry["file_name"]),
                width=int(entry["width"]),
                height=int(entry["height"]),
                truth=_truth(
                    rows[entry["id"]],
                    str(entry["file_name"]),
                    (int(entry["width"]), int(entry["height"])),
                    notes,
                ),
                about={k: v for k, v in entry.items() if k not in ("file_name", "width", "height")},
            )
            for entry in content["images"]
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(
            f"{source} is no COCO data set: {type(error).__name__} {error}; wanted images, "
            "annotations with image_id, category_id and bbox (x y width height), and categories"
        ) from error
    return Annotations(
        source=source,
        class_names=tuple(classes[number] for number in sorted(classes)),
        class_ids=tuple(sorted(classes)),
        pictures=pictures,
        notes=tuple(notes),
    )


def read_voc(folder: str | Path) -> Annotations:
    """Read a folder of Pascal VOC's XML files, or a data set with a folder ``Annotations`` of them.

    Pixels are counted from 1 there, and the last one belongs to the box: ``xmin ymin xmax ymax``
    becomes ``xmin - 1, ymin - 1, xmax, ymax``.

    Raises:
        AnnotationError: if there are none, or one cannot be read.
    """
    folder = Path(folder)
    inner = folder / "Annotations"
    files = sorted((inner if inner.is_dir() else folder).glob("*.xml"))
    if not files:
        raise AnnotationError(f"{folder} holds no Pascal VOC annotations: no .xml files")
    notes: list[str] = []
    parsed = [_voc(file) for file in files]
    names = tuple(sorted({name for _, rows in parsed for _, name, _ in rows})) or ("face",)
    label_of = {name: label for label, name in enumerate(names)}
    pictures = tuple(
        AnnotatedPicture(
            file_name=head[0],
            width=head[1],
            height=head[2],
            truth=_truth(
                [(box, label_of[name], ignore) for box, name, ignore in rows],
                head[0],
                head[1:],
                notes,
            ),
        )
        for head, rows in parsed
    )
    return Annotations(
        source=str(folder),
        class_names=names,
        class_ids=tuple(range(len(names))),
        pictures=pictures,
        notes=tuple(notes),
    )


def read_yolo(folder: str | Path) -> Annotations:
    """Read a YOLO data set: ``images/`` and ``labels/`` side by side, names in ``data.yaml``.

    Names may also stand in ``classes.txt``, a line each. A picture without a label file, or with an
    empty one, has no boxes.

    Raises:
        AnnotationError: if there are no labels, or one cannot be read.
    """
    folder = Path(folder)
    images, labels = folder / "images", folder / "labels"
    if not images.is_dir() or not labels.is_dir():
        raise AnnotationError(f"{folder} is no YOLO data set: wanted images/ and labels/ in it")
    names = _yolo_names(folder)
    notes: list[str] = []
    pictures = []
    for path in find_pictures(images):
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            notes.append(f"{path} cannot be read and is left out: {error}")
            continue
        file = labels / path.relative_to(images).with_suffix(".txt")
        rows = _yolo_rows(file, width, height, len(names)) if file.is_file() else []
        name = path.relative_to(images).as_posix()
        pictures.append(
            AnnotatedPicture(
                file_name=name,
                width=width,
                height=height,
                truth=_truth(rows, name, (width, height), notes),
            )
        )
    return Annotations(
        source=str(folder),
        class_names=names,
        class_ids=tuple(range(len(names))),
        pictures=tuple(pictures),
        notes=tuple(notes),
    )


def _voc(
    file: Path,
) -> tuple[tuple[str, int, int], list[tuple[tuple[float, float, float, float], str, bool]]]:
    try:
        # no external entities are fetched, and expat limits the growth of internal ones
        root = ElementTree.fromstring(_text(file))  # noqa: S314
        size = (_number(root, "size/width"), _number(root, "size/height"))
        rows = []
        for node in root.iter("object"):
            x1, y1, x2, y2 = (
                _number(node, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")
            )
            ignore = (node.findtext("difficult") or "0").strip() == "1"
            rows.append(((x1 - 1, y1 - 1, x2, y2), (node.findtext("name") or "").strip(), ignore))
        file_name = (root.findtext("filename") or "").strip() or f"{file.stem}.jpg"
    except (ElementTree.ParseError, ValueError) as error:
        raise AnnotationError(f"{file} is no Pascal VOC annotation: {error}") from error
    return (file_name, int(size[0]), int(size[1])), rows


def _number(node: ElementTree.Element, path: str) -> float:
    text = node.findtext(path)
    if text is None:
        raise ValueError(f"it has no {path}")
    return float(text)


def _yolo_names(folder: Path) -> tuple[str, ...]:
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (folder / name).is_file():
            try:
                content = yaml.safe_load(_text(folder / name))
                names = content["names"]
                if isinstance(names, Mapping):
                    names = [names[number] for number in sorted(names)]
                return tuple(str(name) for name in names)
            except (yaml.YAMLError, KeyError, TypeError) as error:
                raise AnnotationError(f"{folder / name} has no readable names: {error}") from error
    if (folder / "classes.txt").is_file():
        return tuple(line.strip() for line in _text(folder / "classes.txt").splitlines() if line)
    raise AnnotationError(f"{folder} names no classes: wanted data.yaml or classes.txt in it")


def _yolo_rows(
    file: Path, width: int, height: int, n_classes: int
) -> list[tuple[tuple[float, float, float, float], int, bool]]:
    rows = []
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            label, x, y, w, h = (float(word) for word in line.split()[:5])
        except ValueError as error:
            raise AnnotationError(
                f"{file}, line {number}: wanted class x y width height, got {line!r}"
            ) from error
        if not 0 <= label < n_classes:
            raise AnnotationError(f"{file}, line {number}: class {label:g} of {n_classes}")
        box = (
            (x - w / 2) * width,
            (y - h / 2) * height,
            (x + w / 2) * width,
            (y + h / 2) * height,
        )
        rows.append((box, int(label), False))
    return rows


def _truth(
    rows: Iterable[tuple[Sequence[float], int, bool]],
    name: str,
    size: tuple[int, int],
    notes: list[str],
) -> Truth:
    """Boxes of one picture of that width and height; what is left out goes to the notes."""
    kept = []
    for box, label, ignore in rows:
        x1, y1, x2, y2 = box
        numbers = ",".join(f"{value:g}" for value in box)
        if not all(map(math.isfinite, box)) or x1 >= x2 or y1 >= y2:
            notes.append(f"{name}: the box {numbers} has no area and is left out")
        elif x1 >= size[0] or y1 >= size[1] or x2 <= 0 or y2 <= 0:
            notes.append(f"{name}: the box {numbers} lies outside the picture and is left out")
        else:
            kept.append((box, label, ignore))
    return Truth(
        boxes=torch.tensor([list(box) for box, _, _ in kept], dtype=torch.float64).reshape(-1, 4),
        labels=[label for _, label, _ in kept],
        ignore=[ignore for _, _, ignore in kept],
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise AnnotationError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path} cannot be read: {error}") from error

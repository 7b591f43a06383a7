"""Marked boxes of a data set: COCO JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from chiaroscuro.errors import AnnotationError
from chiaroscuro.records import Truth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnotatedPicture:
    """A picture of a data set and what a person marked in it.

    Attributes:
        file_name: as the data set has it, often with folders.
        width: of the file, in pixels.
        height: likewise.
        truth: the marked boxes in the file's pixels; labels are indices into the data set's
            ``class_names``.
        about: what else the data set says of the picture.
    """

    file_name: str
    width: int
    height: int
    truth: Truth
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotations:
    """A data set's marks.

    Attributes:
        source: the file they came from.
        class_names: by label.
        pictures: in the file's order.
        notes: boxes that were left out, in sentences.
    """

    source: str
    class_names: tuple[str, ...]
    pictures: tuple[AnnotatedPicture, ...]
    notes: tuple[str, ...] = ()

    def named(self) -> dict[str, AnnotatedPicture]:
        """Pictures by the last part of their file name.

        Raises:
            AnnotationError: if two share it.
        """
        named: dict[str, AnnotatedPicture] = {}
        for picture in self.pictures:
            name = Path(picture.file_name).name
            if name in named:
                raise AnnotationError(
                    f"{self.source}: two pictures are called {name}, {named[name].file_name} and "
                    f"{picture.file_name}"
                )
            named[name] = picture
        return named

    def labels_for(self, class_names: Sequence[str]) -> dict[int, int]:
        """The detector's label of every class here, matched by name.

        Where each has a single class, they are the same whatever they are called. Classes that the
        detector does not have are absent.

        Raises:
            AnnotationError: if the two have no class in common.
        """
        if len(self.class_names) == 1 and len(class_names) == 1:
            return {0: 0}
        known = {name.casefold(): label for label, name in enumerate(class_names)}
        labels = {
            mine: known[name.casefold()]
            for mine, name in enumerate(self.class_names)
            if name.casefold() in known
        }
        if not labels:
            raise AnnotationError(
                f"{self.source}: its classes ({_some(self.class_names)}) are none of the "
                f"detector's ({_some(class_names)})"
            )
        return labels


def read_coco(path: str | Path) -> Annotations:
    """Read a COCO JSON file of boxes.

    Boxes with ``ignore`` or ``iscrowd`` are kept as boxes to ignore. Boxes without area or outside
    their picture are left out and told.

    Raises:
        AnnotationError: if the file is no COCO JSON, or boxes refer to pictures it does not have.
    """
    path = Path(path)
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AnnotationError(f"{path} does not exist") from error
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path} is no readable JSON: {error}") from error
    return parse_coco(content, str(path))


def parse_coco(content: Any, source: str) -> Annotations:
    """The same from what a COCO JSON file holds.

    Raises:
        AnnotationError: as ``read_coco`` does.
    """
    try:
        classes = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        label_of = {number: label for label, number in enumerate(sorted(classes))}
        rows: dict[Any, list[Mapping[str, Any]]] = {entry["id"]: [] for entry in content["images"]}
        notes = []
        for row in content["annotations"]:
            entry = rows[row["image_id"]]
            if _usable(row["bbox"]):
                entry.append(row)
            else:
                notes.append(f"box {row.get('id', '?')} {row['bbox']} has no area and is left out")
        pictures = tuple(
            _picture(entry, rows[entry["id"]], label_of) for entry in content["images"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{source} is no COCO data set: {type(error).__name__} {error}; wanted images, "
            "annotations with image_id, category_id and bbox (x y width height), and categories"
        ) from error
    return Annotations(
        source=source,
        class_names=tuple(classes[number] for number in sorted(classes)),
        pictures=pictures,
        notes=tuple(notes),
    )


def _usable(box: Any) -> bool:
    x, y, width, height = (float(value) for value in box)
    return all(map(math.isfinite, (x, y, width, height))) and width > 0 and height > 0


def _picture(
    entry: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], label_of: Mapping[int, int]
) -> AnnotatedPicture:
    boxes = torch.tensor([row["bbox"] for row in rows], dtype=torch.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return AnnotatedPicture(
        file_name=str(entry["file_name"]),
        width=int(entry["width"]),
        height=int(entry["height"]),
        truth=Truth(
            boxes=boxes,
            labels=[label_of[row["category_id"]] for row in rows],
            ignore=[bool(row.get("ignore") or row.get("iscrowd")) for row in rows],
        ),
        about={k: v for k, v in entry.items() if k not in ("file_name", "width", "height")},
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")

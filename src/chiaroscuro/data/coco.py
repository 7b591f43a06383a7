"""COCO's JSON: images, annotations and categories."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.annotations import AnnotatedBox, AnnotatedPicture, Annotations
from chiaroscuro.data.reading import (
    as_float,
    check_pixels,
    corners,
    read_bytes,
    stated_side,
    storable,
)

SECTIONS = ("images", "annotations", "categories")
_DEEPEST = 20  # levels of what is kept of an image
_LARGEST_MASK = 2**31 - 1  # pixels of an RLE


def read_coco(path: str | Path) -> Annotations:
    """Read a COCO JSON file of boxes, in UTF-8, UTF-16 or UTF-32.

    Raises:
        AnnotationError: if the file is no COCO JSON, or it contradicts itself.
    """
    path = Path(path)
    data = read_bytes(path)
    try:
        content: Any = json.loads(data)
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path} is neither UTF-8 nor UTF-16 ({error}); save it as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path} is no readable JSON: {error}") from error
    return parse_coco(content, str(path), path.parent)


def parse_coco(content: Any, source: str, folder: Path | None = None) -> Annotations:
    """Read what a COCO JSON file holds.

    Ids may be numbers or text, also the one here and the other there. A ``bbox`` that is missing or
    empty is taken from the polygon or RLE; an annotation without either is left out with a note.
    ``ignore`` and ``iscrowd`` become boxes to ignore, the latter as COCO's crowds.

    Args:
        content: the parsed JSON.
        source: what to call it in messages.
        folder: what its file names are relative to.

    Raises:
        AnnotationError: if it is no COCO data set or contradicts itself; says in which entry.
    """
    images, annotations, categories = _sections(content, source)
    classes = _classes(categories, source)
    label_of = {key: label for label, key in enumerate(classes)}
    boxes = _boxes_by_image(images, source)
    notes: list[str] = []
    enveloped: list[str] = []
    for number, row in enumerate(annotations, start=1):
        where = _where(row, number)
        image, label = _places(row, where, boxes, label_of, source)
        box = _bbox(row, f"{source}, {where}")
        if box is None:
            box = _envelope(row.get("segmentation"))
            if box is None:
                notes.append(f"{source}, {where}: it has no bbox and no outline, and is left out")
                continue
            enveloped.append(where)
        crowd = _flag(row, "iscrowd", f"{source}, {where}")
        ignore = _flag(row, "ignore", f"{source}, {where}") or crowd
        boxes[image].append(
            AnnotatedBox(box=box, label=label, where=where, ignore=ignore, crowd=crowd)
        )
    if enveloped:
        notes.append(
            f"{source}: {len(enveloped)} annotations without a bbox get that of their outline, "
            f"such as {enveloped[0]}"
        )
    if annotations and not any(boxes.values()):
        raise AnnotationError(
            f"{source}: none of its {len(annotations)} annotations has a box; {notes[0]}"
        )
    check_pixels([box.box for rows in boxes.values() for box in rows], source)
    pictures = tuple(
        _picture(entry, boxes[key], source) for entry, key in zip(images, boxes, strict=True)
    )
    return Annotations(
        source=source,
        class_names=tuple(name for _, name in classes.values()),
        class_ids=tuple(number for number, _ in classes.values()),
        pictures=pictures,
        folder=folder,
        notes=tuple(notes),
    )


def _sections(content: Any, source: str) -> list[Sequence[Mapping[str, Any]]]:
    if not isinstance(content, Mapping):
        raise AnnotationError(
            f"{source} is no COCO data set: wanted an object with {', '.join(SECTIONS)}, got "
            f"{'a list' if isinstance(content, list) else repr(content)[:40]}"
        )
    found: list[Sequence[Mapping[str, Any]]] = []
    for name in SECTIONS:
        rows = content.get(name)
        if not isinstance(rows, list):
            has = ", ".join(map(str, list(content)[:8])) or "nothing"
            has = f"that is {_shown(rows)}" if name in content else f"it has {has}"
            raise AnnotationError(
                f"{source} is no COCO data set: wanted a list called {name} in it; {has}"
            )
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, Mapping):
                raise AnnotationError(
                    f"{source} is no COCO data set: wanted an object as number {number} of "
                    f"{name}, got {repr(row)[:40]}"
                )
        found.append(rows)
    return found


def _key(value: Any) -> str | None:
    """An id as text, the same for 1, 1.0 and "1"; None for what is no id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value).strip()


def _classes(
    categories: Sequence[Mapping[str, Any]], source: str
) -> dict[str, tuple[int | str, str]]:
    """Id and name of every category by its id as text, in the order of ids."""
    classes: dict[str, tuple[int | str, str]] = {}
    for number, entry in enumerate(categories, start=1):
        key, name = _key(entry.get("id")), entry.get("name")
        if key is None or name is None:
            raise AnnotationError(
                f"{source}, number {number} of categories: wanted an id and a name, got "
                f"{_shown(entry)}"
            )
        if key in classes:
            raise AnnotationError(
                f"{source}: two categories have the id {key}, {classes[key][1]} and {name}; give "
                "each its own"
            )
        given = entry["id"]
        number_or_text = storable(given) if isinstance(given, str) else int(given)
        classes[key] = (number_or_text, storable(str(name)).strip())
    return dict(sorted(classes.items(), key=lambda item: _in_order(item[0])))


def _in_order(key: str) -> tuple[int, int, str]:
    try:
        return 0, int(key), key
    except ValueError:
        return 1, 0, key


def _boxes_by_image(
    images: Sequence[Mapping[str, Any]], source: str
) -> dict[str, list[AnnotatedBox]]:
    boxes: dict[str, list[AnnotatedBox]] = {}
    for number, entry in enumerate(images, start=1):
        key = _key(entry.get("id"))
        file_name = entry.get("file_name")
        if key is None or not isinstance(file_name, str) or not file_name:
            raise AnnotationError(
                f"{source}, number {number} of images: wanted an id and a file_name, got "
                f"{_shown(entry)}"
            )
        if key in boxes:
            raise AnnotationError(f"{source}: two images have the id {key}; give each its own")
        boxes[key] = []
    return boxes


def _where(row: Mapping[str, Any], number: int) -> str:
    key = _key(row.get("id"))
    return f"annotation {key}" if key else f"annotation number {number}"


def _places(
    row: Mapping[str, Any],
    where: str,
    images: Mapping[str, Any],
    labels: Mapping[str, int],
    source: str,
) -> tuple[str, int]:
    """The image and the label of an annotation."""
    image, category = _key(row.get("image_id")), _key(row.get("category_id"))
    if image is None or image not in images:
        raise AnnotationError(
            f"{source}: {where} belongs to image {_shown(row.get('image_id'))}, which is not among "
            "the images"
        )
    if category is None or category not in labels:
        raise AnnotationError(
            f"{source}: {where} has category {_shown(row.get('category_id'))}, which is not among "
            "the categories"
        )
    return image, labels[category]


def _bbox(row: Mapping[str, Any], where: str) -> tuple[float, float, float, float] | None:
    """Corners of the bbox; None where it is missing, empty or, beside an outline, without area."""
    given = row.get("bbox")
    if given is None or given == []:
        return None
    values = [as_float(value) for value in given] if isinstance(given, list) else []
    if len(values) != 4 or None in values:
        raise AnnotationError(
            f"{where}: wanted a bbox of four numbers, x y width height, got {_shown(given)}"
        )
    x, y, width, height = (value for value in values if value is not None)
    if (width == 0 or height == 0) and _envelope(row.get("segmentation")) is not None:
        return None
    return x, y, x + width, y + height


def _flag(row: Mapping[str, Any], name: str, where: str) -> bool:
    value = row.get(name)
    if value in (None, 0, "", "0"):
        return False
    if value in (1, "1"):
        return True
    raise AnnotationError(f"{where}: wanted 0 or 1 as {name}, got {_shown(value)}")


def _envelope(outline: Any) -> tuple[float, float, float, float] | None:
    """The box around polygons or an RLE; None where there is no outline that can be read."""
    if isinstance(outline, Mapping):
        return _rle_envelope(outline)
    if not isinstance(outline, list) or not outline:
        return None
    rings = outline if all(isinstance(ring, list) for ring in outline) else [outline]
    values: list[float] = []
    for ring in rings:
        points = [as_float(value) for value in ring]
        if len(points) < 6 or len(points) % 2 or None in points:
            return None
        values += [value for value in points if value is not None]
    return corners(values)


def _rle_envelope(outline: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """The box around an RLE, checked before pycocotools' C code sees it."""
    size, counts = outline.get("size"), outline.get("counts")
    if not isinstance(size, list) or len(size) != 2:
        return None
    if not all(type(side) is int and 0 < side <= _LARGEST_MASK for side in size):
        return None
    height, width = size
    if height * width > _LARGEST_MASK:
        return None
    if isinstance(counts, str):
        codes = [ord(letter) - 48 for letter in counts]
        if not codes or not all(0 <= code < 64 for code in codes) or codes[-1] & 0x20:
            return None
        rle = {"size": size, "counts": counts.encode()}
    elif isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts):
        if sum(counts) != height * width:
            return None
        rle = mask.frPyObjects({"size": size, "counts": counts}, height, width)
    else:
        return None
    x, y, w, h = (float(value) for value in mask.toBbox(rle))
    inside = 0 <= x < x + w <= width and 0 <= y < y + h <= height
    return (x, y, x + w, y + h) if inside else None


def _picture(
    entry: Mapping[str, Any], boxes: Sequence[AnnotatedBox], source: str
) -> AnnotatedPicture:
    file_name = str(entry["file_name"])
    about = {
        storable(k): _kept(v) for k, v in entry.items() if k not in ("file_name", "width", "height")
    }
    if about.get("title") is not None:
        about["title"] = str(about["title"])
    return AnnotatedPicture(
        file_name=file_name,
        width=stated_side(entry.get("width"), f"{source}, width of {file_name}"),
        height=stated_side(entry.get("height"), f"{source}, height of {file_name}"),
        boxes=tuple(boxes),
        about=about,
    )


def _kept(value: Any, depth: int = 0) -> Any:
    """A JSON value that can be written again: no infinity, no half characters, not too deep."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, (list, Mapping)):
        return value
    if depth == _DEEPEST:
        return "..."
    if isinstance(value, list):
        return [_kept(one, depth + 1) for one in value]
    return {storable(key): _kept(one, depth + 1) for key, one in value.items()}


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        value = dict(list(value.items())[:4])
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."

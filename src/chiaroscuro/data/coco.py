"""COCO's JSON: images, annotations and categories."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask

from chiaroscuro.core.checks import shown
from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.core.text import plural
from chiaroscuro.data import reading
from chiaroscuro.data.annotations import AnnotatedBox, AnnotatedPicture, Annotations
from chiaroscuro.data.reading import Box, corners, stated_side, storable

SECTIONS = ("images", "annotations", "categories")
_DEEPEST = 20  # levels of what is kept of an image
_LARGEST_MASK = 2**31 - 1  # pixels of an RLE
_Rows = Sequence[Mapping[str, Any]]
_Boxes = dict[str, list[AnnotatedBox]]


def read_coco(path: str | Path) -> Annotations:
    """Read a COCO JSON file of boxes, in UTF-8, UTF-16 or UTF-32.

    Raises:
        AnnotationError: if the file is not COCO JSON, or contradicts itself.
    """
    path = Path(path)
    return parse_coco(reading.read_json(path), str(path), path.parent)


def parse_coco(content: Any, source: str, folder: Path | None = None) -> Annotations:
    """Read the content of a COCO JSON file.

    Ids may be numbers or text, also one in one section and the other in another. A ``bbox`` that is
    missing or empty is replaced by the box around the polygon or RLE; an annotation without either
    is left out with a note. ``ignore`` and ``iscrowd`` become boxes to ignore, the latter as COCO's
    crowds.

    Args:
        content: the parsed JSON.
        source: its name in messages.
        folder: what its file names are relative to.

    Raises:
        AnnotationError: if it is not a COCO data set or contradicts itself; names the entry.
    """
    images, annotations, categories = (_rows(content, name, source) for name in SECTIONS)
    named = _by_id(categories, "categories", "name", source)
    label_of = {key: label for label, key in enumerate(sorted(named, key=_in_order))}
    boxes: _Boxes = {key: [] for key in _by_id(images, "images", "file_name", source)}
    notes = _add_boxes(annotations, boxes, label_of, source)
    if annotations and not any(boxes.values()):
        raise AnnotationError(
            f"{source}: wanted boxes, got {plural(len(annotations), 'annotation')} without any; "
            f"{notes[0]}"
        )
    reading.check_pixels([box.box for rows in boxes.values() for box in rows], source)
    return Annotations(
        source=source,
        class_names=tuple(storable(str(named[key]["name"])).strip() for key in label_of),
        class_ids=tuple(
            storable(given) if isinstance(given, str) else int(given)
            for given in (named[key]["id"] for key in label_of)
        ),
        pictures=tuple(
            _picture(entry, boxes[key], source) for entry, key in zip(images, boxes, strict=True)
        ),
        folder=folder,
        notes=tuple(notes),
    )


def _add_boxes(
    annotations: _Rows, boxes: _Boxes, label_of: Mapping[str, int], source: str
) -> list[str]:
    """Add every annotation to the boxes of its image; returns notes."""
    notes: list[str] = []
    outlined: list[str] = []
    for number, row in enumerate(annotations, start=1):
        key = _key(row.get("id"))
        name = f"annotation {key}" if key else f"annotation number {number}"
        where = f"{source}, {name}"
        image = _known(row, "image_id", boxes, f"{where} belongs to image", "images")
        category = _known(row, "category_id", label_of, f"{where} has category", "categories")
        box = _bbox(row, where)
        if box is None:
            box = _envelope(row.get("segmentation"))
            if box is None:
                notes.append(f"{where}: no bbox and no outline; it is left out")
                continue
            outlined.append(name)
        crowd = _flag(row, "iscrowd", where)
        ignore = _flag(row, "ignore", where) or crowd
        annotated = AnnotatedBox(box, label_of[category], name, ignore=ignore, crowd=crowd)
        boxes[image].append(annotated)
    if outlined:
        notes.append(
            f"{source}: {plural(len(outlined), 'annotation')} without a bbox, such as "
            f"{outlined[0]}: the box around the outline is used"
        )
    return notes


def _rows(content: Any, name: str, source: str) -> _Rows:
    """A section: a list of objects."""
    start = f"{source} is not a COCO data set: wanted"
    if not isinstance(content, Mapping):
        got = "a list" if isinstance(content, list) else shown(content)
        raise AnnotationError(f"{start} an object with {', '.join(SECTIONS)}, got {got}")
    rows = content.get(name)
    if not isinstance(rows, list):
        got = f"has {', '.join(map(str, list(content)[:8])) or 'nothing'}"
        if name in content:
            got = f"is {shown(rows)}"
        raise AnnotationError(f"{start} a list called {name} in it; it {got}")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise AnnotationError(
                f"{start} an object as number {number} of {name}, got {shown(row)}"
            )
    return rows


def _key(value: Any) -> str | None:
    """An id as text, the same for 1, 1.0 and "1"; None for what is not an id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return str(value).strip()


def _by_id(rows: _Rows, section: str, title: str, source: str) -> dict[str, Mapping[str, Any]]:
    """The entries of a section by their id as text."""
    entries: dict[str, Mapping[str, Any]] = {}
    for number, entry in enumerate(rows, start=1):
        key, name = _key(entry.get("id")), entry.get(title)
        no_file = title == "file_name" and (not isinstance(name, str) or not name)
        if key is None or name is None or no_file:
            raise AnnotationError(
                f"{source}, number {number} of {section}: wanted an id and a {title}, got "
                f"{shown(entry)}"
            )
        if key in entries:
            raise AnnotationError(
                f"{source}: two {section} have the id {key}, {entries[key][title]} and {name}; "
                "give each its own"
            )
        entries[key] = entry
    return entries


def _in_order(key: str) -> tuple[int, int, str]:
    try:
        return 0, int(key), key
    except ValueError:
        return 1, 0, key


def _known(
    row: Mapping[str, Any], field: str, known: Mapping[str, Any], start: str, section: str
) -> str:
    """The id that an annotation refers to."""
    key = _key(row.get(field))
    if key is None or key not in known:
        raise AnnotationError(
            f"{start} {shown(row.get(field))}, which is not among the {section}; correct the id"
        )
    return key


def _bbox(row: Mapping[str, Any], where: str) -> Box | None:
    """Corners of the bbox; None where it is missing, empty or, beside an outline, without area."""
    given = row.get("bbox")
    if given is None or given == []:
        return None
    values = _numbers(given)
    if values is None or len(values) != 4:
        raise AnnotationError(
            f"{where}: wanted a bbox of four numbers, x y width height, got {shown(given)}"
        )
    x, y, width, height = values
    if (width == 0 or height == 0) and _envelope(row.get("segmentation")) is not None:
        return None
    return x, y, x + width, y + height


def _numbers(given: Any) -> list[float] | None:
    values = [reading.as_float(value) for value in given] if isinstance(given, list) else [None]
    numbers = [value for value in values if value is not None]
    return numbers if len(numbers) == len(values) else None


def _flag(row: Mapping[str, Any], name: str, where: str) -> bool:
    value = row.get(name)
    if value in (None, 0, "", "0"):
        return False
    if value in (1, "1"):
        return True
    raise AnnotationError(f"{where}: wanted 0 or 1 as {name}, got {shown(value)}")


def _envelope(outline: Any) -> Box | None:
    """The box around polygons or an RLE; None where there is no outline that can be read."""
    if isinstance(outline, Mapping):
        return _rle_envelope(outline)
    if not isinstance(outline, list) or not outline:
        return None
    rings = outline if all(isinstance(ring, list) for ring in outline) else [outline]
    points: list[float] = []
    for ring in map(_numbers, rings):
        if ring is None or len(ring) < 6 or len(ring) % 2:
            return None
        points += ring
    return corners(points)


def _rle_envelope(outline: Mapping[str, Any]) -> Box | None:
    """The box around an RLE, checked before pycocotools' C code reads it."""
    size, counts = outline.get("size"), outline.get("counts")
    if not isinstance(size, list) or [type(side) for side in size] != [int, int]:
        return None
    height, width = size
    if min(size) < 1 or height * width > _LARGEST_MASK:
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
    file_name = entry["file_name"]
    width, height = (
        stated_side(entry.get(side), f"{source}, {side} of {file_name}")
        for side in ("width", "height")
    )
    apart = ("file_name", "width", "height")
    about = {key: value for key, value in _kept(entry).items() if key not in apart}
    if about.get("title") is not None:
        about["title"] = str(about["title"])
    return AnnotatedPicture(file_name, width, height, tuple(boxes), about=about)


def _kept(value: Any, depth: int = 0) -> Any:
    """A JSON value that can be written again: no infinity, no half characters, not too deep."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, (list, Mapping)):
        return value
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, list):
        return [_kept(one, depth + 1) for one in value]
    return {storable(key): _kept(one, depth + 1) for key, one in value.items()}

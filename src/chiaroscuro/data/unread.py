"""Label files that no reader understands: refused, never ignored."""

import re
from pathlib import Path

from chiaroscuro.data.pictures import find_pictures

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


def unread_labels(folder: Path) -> str:
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

"""What a YOLO data set states about itself: class names, keypoints and splits."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.core.text import plural
from chiaroscuro.data.pictures import find_pictures
from chiaroscuro.data.reading import read_text, read_yaml, storable

_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_LISTS = (
    *("classes.txt", "obj.names", "labels/classes.txt"),
    *("classes.names", "predefined_classes.txt"),
)
_SPLITS = ("train", "val", "valid", "validation", "test")


@dataclass(frozen=True, slots=True)
class Config:
    """What a data set states about itself.

    Attributes:
        file: where it states it.
        names: class names by the number that label files have.
        keypoints: number of keypoints and of values of each, where lines have them.
        content: of ``data.yaml``, with its splits.
    """

    file: Path
    names: Mapping[int, str]
    keypoints: tuple[int, int] | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


def names_file(folder: Path) -> Path | None:
    """The file in a folder that names classes: a YAML file with names, or a list of lines."""
    for name in (*_YAML, *_LISTS):
        if (folder / name).is_file():
            return folder / name
    others = [*sorted(folder.glob("*.y*ml")), *sorted(folder.glob("*.names"))]
    return next((path for path in others if path.suffix == ".names" or _has_names(path)), None)


def _has_names(file: Path) -> bool:
    try:
        content = read_yaml(file)
    except AnnotationError:
        return False
    return isinstance(content, Mapping) and "names" in content


def splits_file(folder: Path) -> Path | None:
    """The YAML file in a folder that states where a data set's splits are."""
    file = names_file(folder)
    if file is None or file.suffix not in (".yaml", ".yml"):
        return None
    content = read_yaml(file)
    has_splits = isinstance(content, Mapping) and any(content.get(split) for split in _SPLITS)
    return file if has_splits else None


def config_of(source: Path) -> Config:
    """The configuration of a data set: of its file, its folder, or the folder of a split."""
    file: Path | None = source
    if not source.is_file():
        places = (source, *source.absolute().parents[:2])  # a split's names are above it
        file = next(filter(None, map(names_file, places)), None)
    if file is None:
        wanted = "data.yaml with names, classes.txt or obj.names in it"
        raise AnnotationError(f"{source} names no classes: wanted {wanted}")
    if file.suffix.lower() not in (".yaml", ".yml"):
        lines = read_text(file).rstrip().splitlines()
        names = {number: line.strip() for number, line in enumerate(lines)}
        if not any(names.values()):
            raise AnnotationError(f"{file} names no classes; wanted a name on every line")
        return Config(file, names)
    content = read_yaml(file)
    if not isinstance(content, Mapping) or not ("names" in content or "nc" in content):
        raise _no_names(file)
    return Config(file, _names(content, file), _keypoints(content.get("kpt_shape"), file), content)


def _no_names(file: Path) -> AnnotationError:
    return AnnotationError(f"{file} has no readable names: wanted names: [face, ...] in it")


def _names(content: Mapping[str, Any], file: Path) -> dict[int, str]:
    """Class names by number, checked against ``nc`` where it is stated."""
    given, count = content.get("names"), content.get("nc")
    if count is not None and (type(count) is not int or not 0 < count < 100_000):
        raise AnnotationError(f"{file}: wanted a number of classes as nc, got {str(count)[:40]!r}")
    if given is None and count is not None:
        return {number: f"class_{number}" for number in range(count)}
    if isinstance(given, (str, list)):
        given = dict(enumerate([given] if isinstance(given, str) else given))
    names: dict[int, str] = {}
    for key, name in given.items() if isinstance(given, Mapping) else ():
        number = whole(key)
        scalar = name is None or isinstance(name, (str, int, float))
        if number is None or number in names or not scalar:
            raise AnnotationError(
                f"{file}: wanted names as a list or as number: name, got {str(key)[:40]!r}: "
                f"{str(name)[:40] if scalar else type(name).__name__}"
            )
        names[number] = "" if name is None else storable(str(name)).strip()
    if not any(names.values()):
        raise _no_names(file)
    if count is not None and count not in (len(names), max(names) + 1):
        raise AnnotationError(
            f"{file}: nc is {count}, but names has {plural(len(names), 'class', 'classes')}; "
            "correct one of them"
        )
    return names


def whole(value: Any) -> int | None:
    """A class number, from 3, "3" or 3.0; None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    is_whole = not isinstance(value, bool) and 0 <= number < 1e9 and number.is_integer()
    return int(number) if is_whole else None


def _keypoints(shape: Any, file: Path) -> tuple[int, int] | None:
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int for n in shape):
        raise AnnotationError(f"{file}: wanted kpt_shape as two numbers, got {str(shape)[:40]!r}")
    return shape[0], shape[1]


def pictures_of_splits(config: Config, notes: list[str]) -> list[Path]:
    """The pictures that the splits of ``data.yaml`` name; what does not exist becomes a note."""
    home = config.file.absolute().parent
    bases = [home]
    stated = config.content.get("path")
    if isinstance(stated, str) and stated:
        bases = [base for base in (home / stated, Path(stated).absolute()) if base.is_dir()] + bases
    found: list[Path] = []
    for split in _SPLITS:
        entries = config.content.get(split)
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, str) or not entry:
                continue
            place = _there(entry, bases, home)
            if place is None:
                notes.append(f"{config.file}: {split} is {entry}, which does not exist")
            elif place.is_dir():
                found += find_pictures(place)
            else:
                found += _listed(place, bases, notes)
    return found


def _listed(file: Path, bases: Sequence[Path], notes: list[str]) -> list[Path]:
    """The pictures that a text file names, one path per line."""
    lines = [line.strip() for line in read_text(file).splitlines()]
    places = {line: _there(line, [file.parent, *bases], file.parent) for line in lines if line}
    missing = [line for line, place in places.items() if place is None]
    if missing:
        notes.append(f"{file}: not found: {plural(len(missing), 'picture')}, such as {missing[0]}")
    return [place for place in places.values() if place is not None and place.is_file()]


def _there(entry: str, bases: Sequence[Path], home: Path) -> Path | None:
    """What a path of ``data.yaml`` means: as it is written, else as much of its end as exists.

    The second is for exports that were moved: ``../train/images``, or another machine's folders.
    """
    stated = Path(entry.replace("\\", "/"))
    ends = [Path(*stated.parts[start:]) for start in range(1, len(stated.parts))]
    for path in (*(base / stated for base in bases), *(home / end for end in ends)):
        try:
            if path.exists():
                return Path(os.path.normpath(path))
        except (OSError, ValueError):  # not a valid name on this disk
            return None
    return None

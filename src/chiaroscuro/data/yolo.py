"""YOLO's label files: a line a box, in shares of the picture's width and height.

Labels are found by Ultralytics' rule, ``images`` in a picture's path replaced by ``labels``, or
beside the picture, as Darknet and CVAT have them. Class names are those of ``data.yaml``,
``classes.txt`` or ``obj.names``.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.annotations import AnnotatedBox, AnnotatedPicture, Annotations
from chiaroscuro.data.paths import find_pictures
from chiaroscuro.data.reading import corners, read_text, storable

_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAMES = (
    "classes.txt",
    "obj.names",
    "labels/classes.txt",
    "classes.names",
    "predefined_classes.txt",
)
_SPLITS = ("train", "val", "valid", "validation", "test")
_PICTURES_TO_LABELS = {"images": "labels", "Images": "Labels", "JPEGImages": "labels"}
_NO_LABELS = frozenset(("classes.txt", "predefined_classes.txt"))
_SLACK = 0.01  # by which a share may leave [0, 1]: it was rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class _Config:
    """What a data set says of itself.

    Attributes:
        file: where it says it.
        names: class names by the number that label files have.
        keypoints: number of keypoints and of values of each, where lines have them.
        content: of ``data.yaml``, with its splits.
    """

    file: Path
    names: Mapping[int, str]
    keypoints: tuple[int, int] | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


def read_yolo(source: str | Path, images: str | Path | None = None) -> Annotations:
    """Read a YOLO data set: boxes, the envelopes of oriented boxes and polygons, boxes of poses.

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
    config = _config(source)
    notes: list[str] = []
    pictures = _pictures(source, folder, config, images, notes)
    labels = {path: _label_file(path, folder, images) for path in pictures}
    _check_labels(source, folder, labels, notes)
    numbers = sorted(config.names)
    root = _root(folder, list(pictures), images)
    return Annotations(
        source=str(source),
        class_names=tuple(config.names[number] for number in numbers),
        class_ids=tuple(numbers),
        pictures=tuple(
            AnnotatedPicture(
                file_name=path.relative_to(root).as_posix(),
                boxes=tuple(_boxes(file, config, numbers)) if file else (),
                unit=True,
            )
            for path, file in labels.items()
        ),
        folder=root,
        notes=tuple(notes),
    )


def label_folders(folder: Path) -> list[Path]:
    """The folders of a data set that hold label files and nothing else, as exports name them."""
    return [*_called(folder, "labels"), *_called(folder, "Labels"), *_of_cvat(folder)]


def labels_beside(images: Path) -> Path | None:
    """The folder of label files beside a folder of pictures, None where there is none."""
    labels = _PICTURES_TO_LABELS.get(images.absolute().name)
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


def splits_file(folder: Path) -> Path | None:
    """The YAML file in a folder that says where a data set's splits are."""
    file = names_file(folder)
    if file is None or file.suffix not in (".yaml", ".yml"):
        return None
    content = _yaml(file)
    return file if isinstance(content, Mapping) and any(content.get(s) for s in _SPLITS) else None


def names_file(folder: Path) -> Path | None:
    """The file in a folder that names classes: a YAML file with names, or a list of lines."""
    for name in (*_YAML, *_NAMES):
        if (folder / name).is_file():
            return folder / name
    others = [*sorted(folder.glob("*.y*ml")), *sorted(folder.glob("*.names"))]
    return next((path for path in others if path.suffix == ".names" or _has_names(path)), None)


# Class names and splits


def _config(source: Path) -> _Config:
    if source.is_file():
        return _configured(source)
    for folder in (source, *source.absolute().parents[:2]):  # a split's names are beside it
        file = names_file(folder)
        if file is not None:
            return _configured(file)
    raise AnnotationError(
        f"{source} names no classes: wanted data.yaml with names, classes.txt or obj.names in it"
    )


def _configured(file: Path) -> _Config:
    if file.suffix.lower() not in (".yaml", ".yml"):
        lines = [line.strip() for line in read_text(file).splitlines()]
        while lines and not lines[-1]:
            lines.pop()
        if not any(lines):
            raise AnnotationError(f"{file} names no classes; wanted a name on every line")
        return _Config(file=file, names=dict(enumerate(lines)))
    content = _yaml(file)
    if not isinstance(content, Mapping) or not ("names" in content or "nc" in content):
        raise AnnotationError(f"{file} has no readable names: wanted names: [face, ...] in it")
    return _Config(
        file=file,
        names=_names(content, file),
        keypoints=_keypoints(content.get("kpt_shape"), file),
        content=content,
    )


def _yaml(file: Path) -> Any:
    try:
        return yaml.safe_load(read_text(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(f"{file} is no readable YAML: {error}") from error


def _has_names(file: Path) -> bool:
    try:
        content = _yaml(file)
    except AnnotationError:
        return False
    return isinstance(content, Mapping) and "names" in content


def _names(content: Mapping[str, Any], file: Path) -> dict[int, str]:
    """Class names by number, checked against ``nc`` where it is stated."""
    given, count = content.get("names"), content.get("nc")
    if count is not None and (type(count) is not int or not 0 < count < 100_000):
        raise AnnotationError(f"{file}: wanted a number of classes as nc, got {str(count)[:40]!r}")
    if given is None and count is not None:
        return {number: f"class_{number}" for number in range(count)}
    if isinstance(given, str):
        given = [given]
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(given, Mapping):
        items = list(given.items())
    elif isinstance(given, list):
        items = list(enumerate(given))
    names: dict[int, str] = {}
    for key, name in items:
        number = _whole(key)
        scalar = name is None or isinstance(name, (str, int, float))
        if number is None or number in names or not scalar:
            raise AnnotationError(
                f"{file}: wanted names as a list or as number: name, got {str(key)[:40]!r}: "
                f"{str(name)[:40] if scalar else type(name).__name__}"
            )
        names[number] = "" if name is None else storable(str(name)).strip()
    if not any(names.values()):
        raise AnnotationError(f"{file} has no readable names: wanted names: [face, ...] in it")
    if count is not None and count not in (len(names), max(names) + 1):
        raise AnnotationError(
            f"{file}: nc says {count} classes and names has {len(names)}; correct one of them"
        )
    return names


def _whole(value: Any) -> int | None:
    """A class number, from 3, "3" or 3.0."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    whole = not isinstance(value, bool) and 0 <= number < 1e9 and number.is_integer()
    return int(number) if whole else None


def _keypoints(shape: Any, file: Path) -> tuple[int, int] | None:
    if shape is None:
        return None
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(n) is int for n in shape):
        raise AnnotationError(f"{file}: wanted kpt_shape as two numbers, got {str(shape)[:40]!r}")
    return shape[0], shape[1]


# Pictures and their label files


def _pictures(
    source: Path, folder: Path, config: _Config, images: Path | None, notes: list[str]
) -> list[Path]:
    """The pictures of the set, each once."""
    if images is not None:
        return find_pictures(images)
    found = [] if source.is_dir() else _of_splits(config, notes)
    if not found:
        places = [place for name in _PICTURES_TO_LABELS for place in _called(folder, name)]
        places = [*places, *_of_cvat(folder)] or [folder]
        found = sorted(path for place in places for path in find_pictures(place))
    if not found:
        raise AnnotationError(
            f"{source}: none of its pictures is there; --images DIR says where they are"
        )
    return list({path.resolve(): path for path in found}.values())


def _called(folder: Path, name: str) -> list[Path]:
    return sorted(place for place in folder.rglob(name) if place.is_dir())


def _of_cvat(folder: Path) -> list[Path]:
    return sorted(place for place in folder.glob("obj_*_data") if place.is_dir())


def _of_splits(config: _Config, notes: list[str]) -> list[Path]:
    """The pictures that ``train``, ``val`` and ``test`` of ``data.yaml`` name."""
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
                notes.append(f"{config.file}: {split} is to be in {entry}, which is not there")
            elif place.is_dir():
                found += find_pictures(place)
            else:
                found += _listed(place, bases, notes)
    return found


def _listed(file: Path, bases: Sequence[Path], notes: list[str]) -> list[Path]:
    """The pictures that a text file names, a path a line."""
    lines = [line.strip() for line in read_text(file).splitlines()]
    places = {line: _there(line, [file.parent, *bases], file.parent) for line in lines if line}
    missing = [line for line, place in places.items() if place is None]
    if missing:
        notes.append(f"{file}: {len(missing)} of its pictures are not there, such as {missing[0]}")
    return [place for place in places.values() if place is not None and place.is_file()]


def _there(entry: str, bases: Sequence[Path], home: Path) -> Path | None:
    """What a path of ``data.yaml`` means: as it stands, else as much of its end as is there.

    The second is for exports that were moved: ``../train/images``, or another machine's folders.
    """
    stated = Path(entry.replace("\\", "/"))
    ends = [Path(*stated.parts[start:]) for start in range(1, len(stated.parts))]
    for path in (*(base / stated for base in bases), *(home / end for end in ends)):
        try:
            if path.exists():
                return Path(os.path.normpath(path))
        except (OSError, ValueError):  # no name on this disk
            return None
    return None


def _label_file(picture: Path, folder: Path, images: Path | None) -> Path | None:
    candidates = [*_label_candidates(picture)]
    if images is not None:
        relative = picture.relative_to(images).with_suffix(".txt")
        candidates = [place / relative for place in (*label_folders(folder), folder)] + candidates
    return next((path for path in candidates if path.is_file()), None)


def _label_candidates(picture: Path) -> Iterator[Path]:
    *parents, _ = picture.parts
    for place in range(len(parents) - 1, -1, -1):
        if parents[place] in _PICTURES_TO_LABELS:
            labels = _PICTURES_TO_LABELS[parents[place]]
            changed = (*parents[:place], labels, *picture.parts[place + 1 :])
            yield Path(*changed).with_suffix(".txt")
            break
    yield picture.with_suffix(".txt")


def _check_labels(
    source: Path, folder: Path, labels: Mapping[Path, Path | None], notes: list[str]
) -> None:
    used = {path.resolve() for path in labels.values() if path is not None}
    alone = []
    if source.is_dir():
        alone = [path for path in label_files(folder) if path.resolve() not in used]
    if not used:
        what = f"such as {alone[0]}" if alone else "no label file was found"
        raise AnnotationError(
            f"{source}: none of its {len(labels)} pictures has a label file; {what}. Wanted "
            "labels/NAME.txt for images/NAME.jpg, or both side by side"
        )
    if alone:
        notes.append(f"{source}: {len(alone)} label files have no picture, such as {alone[0]}")


def _root(folder: Path, pictures: Sequence[Path], images: Path | None) -> Path:
    """A folder that holds all pictures."""
    for place in (images or folder / "images", folder):
        if all(place in path.parents for path in pictures):
            return place
    return Path(os.path.commonpath([path.parent for path in pictures]))


# Lines


def _boxes(file: Path, config: _Config, numbers: Sequence[int]) -> Iterator[AnnotatedBox]:
    label_of = {number: label for label, number in enumerate(numbers)}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{file}, line {number}"
        label = _whole(words[0])
        if label is None or label not in label_of:
            raise AnnotationError(
                f"{where}: class {words[0][:40]} is none of those that {config.file.name} names "
                f"({_some(numbers)})"
            )
        box = _box(words[1:], config, where)
        yield AnnotatedBox(box=box, label=label_of[label], where=f"line {number} of {file.name}")


def _box(words: Sequence[str], config: _Config, where: str) -> tuple[float, float, float, float]:
    """The box of a line's values after the class: x y width height, a polygon's, or a pose's."""
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise AnnotationError(
            f"{where}: wanted numbers after the class, got {' '.join(words)[:80]!r}"
        ) from error
    pose = 4 + config.keypoints[0] * config.keypoints[1] if config.keypoints else None
    if pose is not None and len(values) in (4, pose):
        return _centred(values[:4], where)
    if pose is not None or not (len(values) == 4 or (len(values) >= 6 and len(values) % 2 == 0)):
        wanted = "4 values (x y width height), or an even number from 6 on (x y of a polygon)"
        if pose is not None:
            wanted = f"4 values (x y width height), or {pose} with the keypoints of kpt_shape"
        raise AnnotationError(
            f"{where}: wanted class x y width height: {wanted} after the class, got {len(values)}"
            + ("; a fifth value, such as a score, must go" if len(values) == 5 else "")
        )
    if len(values) == 4:
        return _centred(values, where)
    if _looks_like_pose(values):
        raise AnnotationError(
            f"{where}: its {len(values)} values look like a box with keypoints, and would be read "
            f"as a polygon; {config.file.name} lacks kpt_shape: [{(len(values) - 4) // 3}, 3]"
        )
    return corners(_shares(values, where))


def _centred(values: Sequence[float], where: str) -> tuple[float, float, float, float]:
    x, y, width, height = _shares(values, where)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _shares(values: Sequence[float], where: str) -> list[float]:
    for value in values:
        if not -_SLACK <= value <= 1 + _SLACK:
            hint = "; these look like pixels" if value > 2 else ""
            raise AnnotationError(
                f"{where}: wanted shares of the picture's width and height, 0 to 1, got {value:g}"
                f"{hint}"
            )
    return list(values)


def _looks_like_pose(values: Sequence[float]) -> bool:
    """Whether values are a box and keypoints in it, each with a visibility of 0, 1 or 2."""
    x, y, width, height = values[:4]
    points = [values[start : start + 3] for start in range(4, len(values), 3)]
    if width <= 0 or height <= 0 or any(len(point) != 3 for point in points):
        return False
    return all(
        (
            visible in (1, 2)
            and abs(px - x) <= width / 2 + _SLACK
            and abs(py - y) <= height / 2 + _SLACK
        )
        or (visible == px == py == 0)
        for px, py, visible in points
    )


def _some(numbers: Sequence[int]) -> str:
    if list(numbers) == list(range(len(numbers))):
        return f"0 to {len(numbers) - 1}"
    return ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")

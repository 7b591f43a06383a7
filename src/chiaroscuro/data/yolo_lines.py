"""Lines of YOLO's label files: a class, and a box, polygon or pose in shares of the picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.data.annotations import AnnotatedBox
from chiaroscuro.data.reading import Box, corners, first_few, read_text
from chiaroscuro.data.yolo_config import Config, whole

_SLACK = 0.01  # by which a share may leave [0, 1]: it was rounded


def read_boxes(file: Path, config: Config) -> Iterator[AnnotatedBox]:
    """The boxes of a label file."""
    label_of = {number: label for label, number in enumerate(sorted(config.names))}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{file}, line {number}"
        given = whole(words[0])
        if given is None or given not in label_of:
            raise AnnotationError(
                f"{where}: class {words[0][:40]} is none of those that {config.file.name} names "
                f"({_listed(list(label_of))})"
            )
        place = f"line {number} of {file.name}"
        yield AnnotatedBox(_box(words[1:], config, where), label_of[given], place)


def _box(words: Sequence[str], config: Config, where: str) -> Box:
    """The box of a line's values after the class: x y width height, a polygon's, or a pose's."""
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise AnnotationError(
            f"{where}: wanted numbers after the class, got {' '.join(words)[:80]!r}"
        ) from error
    n = len(values)
    if config.keypoints:
        pose = 4 + config.keypoints[0] * config.keypoints[1]
        is_box, is_polygon = n in (4, pose), False
        other = f"{pose} with the keypoints of kpt_shape"
    else:
        is_box, is_polygon = n == 4, n >= 6 and n % 2 == 0
        other = "an even number from 6 on (x y of a polygon)"
    if not is_box and not is_polygon:
        raise AnnotationError(
            f"{where}: wanted class x y width height: 4 values (x y width height), or {other} "
            f"after the class, got {n}" + "; remove the fifth value, such as a score" * (n == 5)
        )
    if is_polygon:
        if _looks_like_pose(values):
            raise AnnotationError(
                f"{where}: its {n} values look like a box with keypoints, and would be read as a "
                f"polygon; {config.file.name} lacks kpt_shape: [{(n - 4) // 3}, 3]"
            )
        return corners(_shares(values, where))
    x, y, width, height = _shares(values[:4], where)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _shares(values: Sequence[float], where: str) -> Sequence[float]:
    for value in values:
        if not -_SLACK <= value <= 1 + _SLACK:
            hint = "; these look like pixels" if value > 2 else ""
            raise AnnotationError(
                f"{where}: wanted shares of the picture's width and height, 0 to 1, got {value:g}"
                f"{hint}"
            )
    return values


def _looks_like_pose(values: Sequence[float]) -> bool:
    """Whether values are a box and keypoints in it, each with a visibility of 0, 1 or 2."""
    x, y, width, height = values[:4]
    points = [values[start : start + 3] for start in range(4, len(values), 3)]
    if width <= 0 or height <= 0 or any(len(point) != 3 for point in points):
        return False
    far_x, far_y = width / 2 + _SLACK, height / 2 + _SLACK
    return all(
        visible == px == py == 0
        or (visible in (1, 2) and abs(px - x) <= far_x and abs(py - y) <= far_y)
        for px, py, visible in points
    )


def _listed(numbers: Sequence[int]) -> str:
    n = len(numbers)
    return f"0 to {n - 1}" if numbers == list(range(n)) else first_few(numbers)

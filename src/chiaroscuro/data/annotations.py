"""Annotated boxes of a data set, whatever its format, and its classes as a detector's."""

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chiaroscuro.core.errors import AnnotationError
from chiaroscuro.core.records import Truth
from chiaroscuro.core.text import plural
from chiaroscuro.data.paths import file_name
from chiaroscuro.data.reading import Box, first_few


@dataclass(frozen=True, slots=True)
class AnnotatedBox:
    """A box as a data set has it, not yet checked against the picture.

    Attributes:
        box: x1 y1 x2 y2, in the frame that its picture states.
        label: index into the data set's ``class_names``.
        where: its place in the data set, for messages, such as ``"annotation 3"``.
        ignore: whether it is left out of scores.
        crowd: whether it is a region of many objects, COCO's ``iscrowd``.
    """

    box: Box
    label: int
    where: str
    ignore: bool = False
    crowd: bool = False

    @property
    def usable(self) -> bool:
        """Whether it has an area that 32-bit floats can hold."""
        with np.errstate(over="ignore"):
            x1, y1, x2, y2 = np.asarray(self.box, dtype=np.float32).tolist()
        return all(map(math.isfinite, (x1, y1, x2, y2))) and x1 < x2 and y1 < y2


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedPicture:
    """A picture of a data set and what is annotated in it.

    Attributes:
        file_name: as the data set has it, often with folders.
        width: of the picture in pixels as the data set states it; 0 where it does not.
        height: likewise.
        boxes: what is annotated, in the frame that ``width`` and ``height`` span.
        unit: whether boxes are in shares of the picture's width and height instead, as in YOLO.
        about: what else the data set states about the picture.
    """

    file_name: str
    width: int = 0
    height: int = 0
    boxes: tuple[AnnotatedBox, ...] = ()
    unit: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def truth(self) -> Truth:
        """The boxes that have an area, as the data set has them.

        Those in the pixels of the picture as it is read come from
        :func:`~chiaroscuro.data.placing.place_all`.
        """
        return truth_of([box for box in self.boxes if box.usable])


def truth_of(boxes: Sequence[AnnotatedBox]) -> Truth:
    """Usable boxes as arrays."""
    return Truth(
        boxes=np.array([box.box for box in boxes], dtype=np.float32).reshape(-1, 4),
        labels=[box.label for box in boxes],
        ignore=[box.ignore for box in boxes],
        crowd=[box.crowd for box in boxes],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotations:
    """A data set's annotations.

    Attributes:
        source: the file or folder they came from.
        class_names: by label.
        class_ids: by label, the data set's own ids of its classes: numbers, or text.
        pictures: in the data set's order.
        folder: what file names are relative to by default.
        notes: what was left out or decided, in sentences.
        class_map: the detector's class by the data set's name for it, where the names differ.
    """

    source: str
    class_names: tuple[str, ...]
    class_ids: tuple[int | str, ...]
    pictures: tuple[AnnotatedPicture, ...]
    folder: Path | None = None
    notes: tuple[str, ...] = ()
    class_map: Mapping[str, str] = field(default_factory=dict)

    def named(self) -> dict[str, AnnotatedPicture]:
        """Pictures by the last part of their file name.

        Raises:
            AnnotationError: if two share it.
        """
        named: dict[str, AnnotatedPicture] = {}
        for picture in self.pictures:
            name = file_name(picture.file_name.replace("\\", "/"))
            if name in named:
                raise AnnotationError(
                    f"{self.source}: two pictures are called {name}, {named[name].file_name} and "
                    f"{picture.file_name}; give each its own name"
                )
            named[name] = picture
        return named

    def count_boxes(self) -> Counter[int]:
        """How many boxes each label has."""
        return Counter(box.label for picture in self.pictures for box in picture.boxes)

    def labels_for(self, class_names: Sequence[str]) -> dict[int, int]:
        """The detector's label of every class here that the detector has.

        Classes are matched by ``class_map``, then by name; case, the encoding of accents and spaces
        around a name make no difference. Where no name matches, the only class in use is taken for
        the detector's only class, if the data set has at most one more, such as a root category.

        Raises:
            AnnotationError: if boxes are annotated and none is of a class that the detector has, or
                ``class_map`` names a class that either of them does not have.
        """
        theirs = _first_places(class_names)
        known = {**theirs, **self._mapped(class_names, theirs)}
        plain = map(_plain, self.class_names)
        labels = {label: known[name] for label, name in enumerate(plain) if name in known}
        used = sorted(self.count_boxes())
        if labels and (not used or not labels.keys().isdisjoint(used)):
            return labels
        if not labels and len(class_names) == 1 and len(self.class_names) <= 2:
            candidates = used or range(len(self.class_names))
            if len(candidates) == 1:
                return {candidates[0]: 0}
        if not used:
            return labels
        in_use = [self.class_names[label] for label in used]
        raise AnnotationError(
            f"{self.source}: its classes ({first_few(in_use)}) are none of the detector's "
            f"({first_few(class_names)}); where they mean the same, add "
            f"--class-map {_quoted(in_use[0])}={_quoted(class_names[0] if class_names else 'face')}"
        )

    def notes_on(self, labels: Mapping[int, int], class_names: Sequence[str]) -> list[str]:
        """Classes that ``labels_for`` matched under another name or left out, in sentences."""
        mapped = set(map(_plain, self.class_map))
        pairs = [(self.class_names[mine], class_names[theirs]) for mine, theirs in labels.items()]
        notes = [
            f"the class {mine} of {self.source} is taken for the detector's {theirs}"
            for mine, theirs in pairs
            if _plain(mine) not in {_plain(theirs), *mapped}
        ]
        left_out = {label: n for label, n in self.count_boxes().items() if label not in labels}
        if left_out:
            listed = ", ".join(f"{self.class_names[label]} ({n})" for label, n in left_out.items())
            notes.append(
                f"left out: {plural(sum(left_out.values()), 'box', 'boxes')} of classes that the "
                f"detector does not have: {listed}; --class-map NAME=NAME matches them"
            )
        return notes

    def _mapped(self, class_names: Sequence[str], theirs: Mapping[str, int]) -> dict[str, int]:
        ours = _first_places(self.class_names)
        for mine, name in self.class_map.items():
            for owner, wanted, places, names in (
                (self.source, mine, ours, self.class_names),
                ("the detector", name, theirs, class_names),
            ):
                if _plain(wanted) not in places:
                    raise AnnotationError(
                        f"--class-map {mine}={name}: {owner} has no class {wanted!r}; it has "
                        f"{first_few(names)}"
                    )
        return {_plain(mine): theirs[_plain(name)] for mine, name in self.class_map.items()}


def _first_places(names: Iterable[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if name.strip():  # a class without a name matches none
            places.setdefault(_plain(name), place)
    return places


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name

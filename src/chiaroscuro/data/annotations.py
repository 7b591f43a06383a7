"""Annotated boxes of a data set, whatever format they were read from."""

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
from chiaroscuro.data import paths


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedBox:
    """A box as a data set has it, not yet checked against the picture.

    Attributes:
        box: x1 y1 x2 y2, in the frame that its picture states.
        label: index into the data set's ``class_names``.
        where: its place in the data set, for messages, such as ``"annotation 3"``.
        ignore: whether it is not to be scored.
        crowd: whether it is a region of many objects, COCO's ``iscrowd``.
    """

    box: tuple[float, float, float, float]
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnotatedPicture:
    """A picture of a data set and what is annotated in it.

    Attributes:
        file_name: as the data set has it, often with folders.
        width: of the picture in pixels as the data set states it; 0 where it does not.
        height: likewise.
        boxes: what is annotated, in the frame that ``width`` and ``height`` span.
        unit: whether boxes are in shares of the picture's width and height instead, as YOLO's are.
        about: what else the data set says of the picture.
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
        :func:`~chiaroscuro.data.frame.place_all`.
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
        class_ids: by label, what the data set itself calls its classes: numbers, or text.
        pictures: in the data set's order.
        folder: what file names are relative to, where nobody says otherwise.
        notes: what was left out or had to be decided, in sentences.
        class_map: classes of the detector by the name that the data set has for them, where the
            two have different names.
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
            name = paths.file_name(picture.file_name.replace("\\", "/"))
            if name in named:
                raise AnnotationError(
                    f"{self.source}: two pictures are called {name}, {named[name].file_name} and "
                    f"{picture.file_name}"
                )
            named[name] = picture
        return named

    def count_boxes(self) -> Counter[int]:
        """How many boxes each label has."""
        return Counter(box.label for picture in self.pictures for box in picture.boxes)

    def labels_for(self, class_names: Sequence[str]) -> dict[int, int]:
        """The detector's label of every class here that the detector has.

        Classes go by ``class_map``, then by name: case, accents' encoding and spaces around it make
        no difference. Where no name fits, and one class is in use beside no more than one that is
        not, such as a root category, and the detector has one, they are the same whatever they are
        called.

        Raises:
            AnnotationError: if boxes are annotated and none is of a class that the detector has, or
                ``class_map`` names a class that either of them does not have.
        """
        theirs = _first_places(class_names)
        mapped = self._mapped(class_names, theirs)
        labels = {
            label: mapped.get(_plain(name), theirs.get(_plain(name)))
            for label, name in enumerate(self.class_names)
        }
        known = {mine: label for mine, label in labels.items() if label is not None}
        used = sorted(self.count_boxes())
        if not used or any(label in known for label in used):
            if not known and len(self.class_names) == len(class_names) == 1:
                return {0: 0}
            return known
        alone = len(used) == len(class_names) == 1 and len(self.class_names) <= 2
        if alone and not known:
            return {used[0]: 0}
        in_use = [self.class_names[label] for label in used]
        raise AnnotationError(
            f"{self.source}: its classes ({_some(in_use)}) are none of the detector's "
            f"({_some(class_names)}); where they mean the same, say so with "
            f"--class-map {_quoted(in_use[0])}={_quoted(class_names[0] if class_names else 'face')}"
        )

    def notes_on(self, labels: Mapping[int, int], class_names: Sequence[str]) -> list[str]:
        """What becomes of the classes under ``labels_for``, in sentences.

        Args:
            labels: what ``labels_for`` gave.
            class_names: the detector's.
        """
        notes = []
        for mine, theirs in labels.items():
            name, other = self.class_names[mine], class_names[theirs]
            if _plain(name) != _plain(other) and _plain(name) not in map(_plain, self.class_map):
                notes.append(
                    f"the class {name} of {self.source} is taken for the detector's {other}"
                )
        counts = self.count_boxes()
        left_out = {label: n for label, n in counts.items() if label not in labels}
        if left_out:
            names = ", ".join(f"{self.class_names[label]} ({n})" for label, n in left_out.items())
            notes.append(
                f"{sum(left_out.values())} boxes of classes that the detector does not have are "
                f"left out: {names}; --class-map NAME=NAME says which of its classes they are"
            )
        return notes

    def _mapped(self, class_names: Sequence[str], theirs: Mapping[str, int]) -> dict[str, int]:
        ours = _first_places(self.class_names)
        mapped: dict[str, int] = {}
        for mine, name in self.class_map.items():
            if _plain(mine) not in ours:
                raise AnnotationError(
                    f"--class-map {mine}={name}: {self.source} has no class {mine!r}; it has "
                    f"{_some(self.class_names)}"
                )
            if _plain(name) not in theirs:
                raise AnnotationError(
                    f"--class-map {mine}={name}: the detector has no class {name!r}; it has "
                    f"{_some(class_names)}"
                )
            mapped[_plain(mine)] = theirs[_plain(name)]
        return mapped


def _first_places(names: Iterable[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if name.strip():  # a class without a name is nobody's
            places.setdefault(_plain(name), place)
    return places


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")

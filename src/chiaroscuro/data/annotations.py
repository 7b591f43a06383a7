"""Marked boxes of a data set, whatever format they were read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chiaroscuro.data import paths
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
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotations:
    """A data set's marks.

    Attributes:
        source: the file they came from.
        class_names: by label.
        class_ids: by label, the numbers that the data set itself gives its classes.
        pictures: in the file's order.
        notes: boxes that were left out, in sentences.
    """

    source: str
    class_names: tuple[str, ...]
    class_ids: tuple[int, ...]
    pictures: tuple[AnnotatedPicture, ...]
    notes: tuple[str, ...] = ()

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


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")

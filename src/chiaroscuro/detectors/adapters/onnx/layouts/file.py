"""The outputs of an ONNX file, and what else is known about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Output(NamedTuple):
    """One output of a file; a side of 0 may be any."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float(self) -> bool:
        """Whether it holds floats of any width."""
        return "float" in self.dtype or "double" in self.dtype

    @property
    def key(self) -> str:
        """Its name in lower case, without the suffix that TensorFlow adds."""
        return self.name.lower().removesuffix(":0")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What is known about a file before its outputs are understood.

    Attributes:
        outputs: as declared, or as measured.
        size: height and width of the input that the shapes belong to; 0 where unknown.
        n_classes: number of classes, where it is known.
        hint: any text that may name the architecture, such as the file's name.
        inputs: names of the other inputs than the picture.
        on_blank: values of an output for a blank picture, or None where the file does not run.
    """

    outputs: Sequence[Output]
    size: tuple[int, int] = (0, 0)
    n_classes: int | None = None
    hint: str = ""
    inputs: frozenset[str] = frozenset()
    on_blank: Callable[[str], Any] = lambda _: None

    @property
    def words(self) -> str:
        """The hint in lower case, with hyphens."""
        return self.hint.lower().replace("_", "-")


Roles = dict[str, Output]
"""Outputs by the part that they play in a layout."""


def only(outputs: Sequence[Output], wanted: Callable[[Output], bool]) -> Output | None:
    """The one output that is wanted; None if there are none or several."""
    found = [output for output in outputs if wanted(output)]
    return found[0] if len(found) == 1 else None

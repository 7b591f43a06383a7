"""An ONNX file in a session: its declared outputs, their measured shapes, its results."""

import ast
import functools
import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from chiaroscuro.core.errors import InputError
from chiaroscuro.detectors.adapters.onnx.layouts.file import File, Output
from chiaroscuro.detectors.adapters.onnx.options import input_size
from chiaroscuro.detectors.adapters.onnx.picture_input import PictureInput, sides
from chiaroscuro.detectors.commons.placement import Placement

_BLANK = (256, 384)  # height, width of the picture that outputs are measured with

if TYPE_CHECKING:
    import onnxruntime


class OnnxNetwork:
    """An ONNX file in a session.

    Attributes:
        input: the input that takes pictures.
        facts: the file's metadata.
        hint: text that may name the architecture.
    """

    def __init__(
        self, session: "onnxruntime.InferenceSession", channels_last: bool | None = None
    ) -> None:
        self._session = session
        self.input = PictureInput.of(session.get_inputs(), channels_last)
        metadata = session.get_modelmeta()
        self.facts: dict[str, str] = metadata.custom_metadata_map
        self.hint = f"{metadata.graph_name} {metadata.description}"
        refuse_task(self.facts)

    def size(self, wanted: Any) -> tuple[int, int]:
        """Height and width of the input, by the user, the metadata or the file; 0 where free."""
        fixed = self.input.size
        return input_size(stated_size(self.facts, fixed) if wanted is None else wanted, fixed)

    def run(self, outputs: Sequence[str], pixels: Tensor, placement: Placement) -> list[Any]:
        """Values of the outputs for pixels ``n 3 height width`` that are scaled already."""
        results: list[Any] = self._session.run(outputs, self.input.feed(pixels, placement))
        return results

    def declared(self, size: tuple[int, int], n_classes: int | None, hint: str) -> File:
        """What the file declares for an input of that size; the hint may name its family."""

        @functools.cache
        def values() -> dict[str, Any]:
            found = self._on_blank(size)[1]
            return {} if isinstance(found, Exception) else found

        declared = self._session.get_outputs()
        return File(
            outputs=[Output(o.name, sides(o.shape), o.type) for o in declared],
            size=size,
            n_classes=n_classes,
            hint=f"{hint} {self.hint}",
            inputs=frozenset(self.input.extras),
            on_blank=lambda name: values().get(name),
        )

    def measured(self, file: File) -> File:
        """The file with the shapes of its outputs for a blank picture, where they are open.

        Exporters often name sides that never change, the number of classes among them.
        """
        size, values = self._on_blank(file.size)
        if isinstance(values, Exception):
            raise InputError(
                f"ONNX detector: the file does not run on a picture of {size} (height, width), "
                f"so the sizes of its outputs are unknown: {values}; give the input_size that it "
                "was made for"
            )
        outputs = [
            o._replace(shape=_measured_shape(o.shape, np.shape(values[o.name])))
            for o in file.outputs
            if o.dtype.startswith("tensor")
        ]
        return replace(file, outputs=outputs, size=size, on_blank=values.get)

    def _on_blank(
        self, size: tuple[int, int]
    ) -> tuple[tuple[int, int], dict[str, Any] | Exception]:
        """Height and width of a blank picture, and the outputs for it, or why there are none."""
        height, width = size
        placement = Placement.stretch(_BLANK, (height or _BLANK[0], width or _BLANK[1]))
        blank = torch.zeros(self.input.batch_size or 1, 3, *placement.size)
        names = [output.name for output in self._session.get_outputs()]
        try:
            results = self.run(names, blank, placement)
        except Exception as error:  # ONNX Runtime's errors share no base class
            return placement.size, error
        return placement.size, dict(zip(names, results, strict=True))


def refuse_task(facts: dict[str, str]) -> None:
    """Refuse a file whose task is not the detection of upright boxes."""
    task = facts.get("task", "detect")
    if task in ("obb", "classify"):
        what = {"obb": "turned boxes (obb)", "classify": "classes of whole pictures (classify)"}
        raise InputError(
            f"ONNX detector: wanted upright boxes, but this file finds {what[task]}; "
            "write a function that returns boxes"
        )


def stated_size(facts: dict[str, str], fixed: tuple[int, int]) -> Any:
    """Size of the pictures in training, where the file leaves a side open; else 0."""
    return (_literal(facts.get("imgsz", "")) or 0) if 0 in fixed else 0


def class_names(facts: dict[str, str], name: str) -> list[str] | None:
    """Class names by label, read as a literal, never as code; None where there are none."""
    if "names" not in facts:
        return None
    names = _literal(facts["names"])
    if isinstance(names, list | tuple):
        names = dict(enumerate(names))
    if isinstance(names, dict):
        by_number = {str(label): str(value) for label, value in names.items()}
        if set(by_number) == {str(label) for label in range(len(names))}:
            return [by_number[str(label)] for label in range(len(names))]
    warnings.warn(
        f"detector {name}: the class names in the file cannot be read; classes are numbered",
        RuntimeWarning,
        stacklevel=3,
    )
    return None


def _literal(text: str) -> Any:
    """A value written in Python or JSON; None if it is neither."""
    for read in (ast.literal_eval, json.loads):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _measured_shape(declared: tuple[int, ...], measured: tuple[int, ...]) -> tuple[int, ...]:
    """An open batch axis stays open."""
    return (declared[0] if declared else 0, *measured[1:]) if measured else ()

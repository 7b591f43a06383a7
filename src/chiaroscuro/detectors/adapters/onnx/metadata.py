"""What Ultralytics writes into an ONNX file: the task, the class names, the picture size."""

import ast
import json
import warnings
from typing import Any

from chiaroscuro.core.errors import InputError


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

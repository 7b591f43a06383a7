"""What a function reports for one picture, read as tensors."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.core.records import Proposals, plain_array


class Reported(NamedTuple):
    """What a function reports for one picture, read as tensors; only shapes are checked."""

    boxes: Float32[Tensor, "n 4"]
    scores: Float32[Tensor, " n"]
    labels: Tensor | None  # ``n``, int64 or floats
    proposals: Proposals | None = None  # the same, where the function returned them


def read_detections(result: Any) -> Reported:
    """One image's detections, in any of the forms that ``FunctionDetector`` accepts."""
    if isinstance(result, Mapping):
        if not {"boxes", "scores"} <= set(result):
            raise DetectorOutputError(
                f"wanted a dict with boxes, scores and labels, got {list(result)}"
            )
        return _columns(result["boxes"], result["scores"], result.get("labels"))
    if hasattr(result, "xyxy") and hasattr(result, "confidence"):  # supervision.Detections
        n = len(result.xyxy)
        scores = np.ones(n) if result.confidence is None else result.confidence
        return _columns(result.xyxy, scores, result.class_id)
    wanted = (
        "wanted for each image an array (n, 5) of x1 y1 x2 y2 score, or (n, 6) with a label, a "
        "dict with boxes, scores and labels, supervision.Detections or Proposals"
    )
    if result is None or isinstance(result, (str, bytes)):
        raise DetectorOutputError(f"{wanted}, got {type(result).__name__}")
    try:
        rows = plain_array(result)
    except ValueError as error:  # rows of several lengths, or boxes and scores side by side
        raise DetectorOutputError(f"{wanted}, got {type(result).__name__} of {error}") from error
    if rows.size == 0:
        return Reported(torch.zeros(0, 4), torch.zeros(0), None)
    if rows.dtype.kind not in "biuf":
        raise DetectorOutputError(
            f"{wanted}, got {type(result).__name__} of {rows.dtype.name}; rows are numbers, and "
            "so are labels: the index into class_names"
        )
    if rows.ndim != 2 or rows.shape[1] not in (5, 6):
        raise DetectorOutputError(f"{wanted}, got shape {rows.shape}")
    return _columns(rows[:, :4], rows[:, 4], rows[:, 5] if rows.shape[1] == 6 else None)


def _columns(boxes: Any, scores: Any, labels: Any) -> Reported:
    """Boxes, scores and labels as tensors of one length."""
    boxes = _numeric("boxes", boxes)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DetectorOutputError(f"boxes: wanted shape (n, 4) as x1 y1 x2 y2, got {boxes.shape}")
    n = len(boxes)
    scores = _one_per_box("scores", _numeric("scores", scores), n)
    label_values = None
    if labels is not None:
        label_values = torch.from_numpy(_one_per_box("labels", _label_numbers(labels), n))
    return Reported(
        torch.from_numpy(boxes.astype(np.float32)),
        torch.from_numpy(scores.astype(np.float32)),
        label_values,
    )


def _numeric(name: str, value: Any, wanted: str = "numbers", remedy: str = "") -> npt.NDArray[Any]:
    try:
        array = plain_array(value)
    except ValueError as error:
        raise DetectorOutputError(f"{name}: wanted {wanted}, got {error}") from error
    if array.size and array.dtype.kind not in "biuf":
        got = f"{str(array.flat[0])!r}{remedy}" if remedy else array.dtype.name
        raise DetectorOutputError(f"{name}: wanted {wanted}, got {got}")
    return array


def _label_numbers(labels: Any) -> npt.NDArray[Any]:
    array = _numeric(
        "labels",
        labels,
        "whole numbers",
        "; labels are numbers, the index into class_names (class_names=['face', 'hand'] makes "
        "face 0 and hand 1)",
    )
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    odd = array[np.isfinite(array) & (array != np.round(array))]
    if odd.size:
        raise DetectorOutputError(
            f"labels: wanted whole numbers, the index into class_names, got {odd[0]:g}"
        )
    return array.astype(np.float64)


def _one_per_box(name: str, values: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """One value per box, as ``n``; ``n 1`` is accepted."""
    if values.size == 0 and n == 0:
        return values.reshape(0)
    if values.shape == (n, 1):
        return values[:, 0]
    if values.ndim == 1 and len(values) != n:
        raise DetectorOutputError(
            f"wanted one {name.removesuffix('s')} per box, got {n} boxes and {len(values)} {name}"
        )
    if values.ndim != 1:
        raise DetectorOutputError(
            f"{name}: wanted shape ({n},), one per box, got {values.shape}; class vectors go into "
            "Proposals(class_probabilities=...)"
        )
    return values

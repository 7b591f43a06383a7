"""A plain function as a detector."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats
from chiaroscuro.errors import DetectorOutputError
from chiaroscuro.records import Proposals


class FunctionDetector:
    """Makes a detector of a function.

    The function gets a float32 CPU tensor ``n 3 height width``, RGB in [0, 1], and returns one
    result an image, each of them one of

    - an array ``n 5`` (x1 y1 x2 y2 score) or ``n 6`` (and label); an empty array or list for
      nothing found;
    - a dict of torchvision's form: ``boxes``, ``scores``, ``labels``;
    - a ``supervision.Detections``;
    - :class:`~chiaroscuro.Proposals`.

    Rows with NaN or infinity, and inverted boxes, are dropped with a warning that counts them.

    Args:
        function: as above.
        name: what results call it; the function's own name by default.
        class_names: by label.
        min_score: proposals below it are dropped.
        device: accepted for uniformity; the function minds its own device.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        *,
        name: str | None = None,
        class_names: Sequence[str] = ("face",),
        min_score: float | None = None,
        device: str = "auto",
    ) -> None:
        self._function = function
        module = getattr(function, "__module__", "")
        default = f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"
        self.info = DetectorInfo(
            name=name or default, class_names=tuple(class_names), min_score=min_score or 0.0
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """Call the function and read what it returned; see the class.

        Raises:
            DetectorOutputError: if that cannot be read as detections.
        """
        batch = as_unit_floats(images.detach()).cpu()
        if batch is images:  # a function may write to its input
            batch = batch.clone()
        results = self._function(batch)
        n = len(images)
        if isinstance(results, (Mapping, Proposals)) and n == 1:
            results = [results]
        try:
            count = len(results)
        except TypeError:
            count = None
        if count != n or isinstance(results, (Mapping, Proposals)):
            got = type(results).__name__ if count is None else f"{count} ({type(results).__name__})"
            raise DetectorOutputError(
                f"detector {self.info.name}: wanted {n} results, one an image, got {got}"
            )
        return [self._read(result) for result in results]

    def _read(self, result: Any) -> Proposals:
        if isinstance(result, Proposals):
            proposals = result
        else:
            try:
                proposals = read_detections(result, self.info.name)
            except DetectorOutputError:
                raise
            except ValueError as error:
                raise DetectorOutputError(f"detector {self.info.name}: {error}") from error
        if self.info.min_score > 0 and len(proposals):
            proposals = proposals[proposals.scores >= self.info.min_score]
        return proposals


def read_detections(result: Any, name: str = "detector") -> Proposals:
    """One image's detections, in any of the forms that :class:`FunctionDetector` names.

    Raises:
        DetectorOutputError: if it is none of them.
        ProposalsError: if its numbers cannot be boxes and scores.
    """
    if isinstance(result, Mapping):
        missing = {"boxes", "scores"} - set(result)
        if missing:
            raise DetectorOutputError(
                f"detector {name}: wanted a dict with boxes, scores and labels, got {list(result)}"
            )
        return drop_unusable(name, result["boxes"], result["scores"], result.get("labels"))
    if hasattr(result, "xyxy") and hasattr(result, "confidence"):  # supervision.Detections
        n = len(result.xyxy)
        scores = np.ones(n) if result.confidence is None else result.confidence
        return drop_unusable(name, result.xyxy, scores, result.class_id)
    try:
        if result is None:
            raise TypeError
        rows = result.detach().cpu().numpy() if isinstance(result, Tensor) else np.asarray(result)
        rows = rows.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DetectorOutputError(
            f"detector {name}: wanted for each image an array (n, 5) or (n, 6), a dict, "
            f"supervision.Detections or Proposals, got {type(result).__name__}"
        ) from error
    if rows.size == 0:
        return Proposals.empty()
    if rows.ndim != 2 or rows.shape[1] not in (5, 6):
        raise DetectorOutputError(
            f"detector {name}: wanted for each image an array (n, 5) of x1 y1 x2 y2 score, or "
            f"(n, 6) with a label, got shape {rows.shape}"
        )
    return drop_unusable(name, rows[:, :4], rows[:, 4], rows[:, 5] if rows.shape[1] == 6 else None)


def drop_unusable(name: str, boxes: Any, scores: Any, labels: Any) -> Proposals:
    """Proposals of the rows with finite, upright boxes; a warning counts the others."""
    boxes = torch.as_tensor(_array(boxes), dtype=torch.float32).reshape(-1, 4)
    scores = torch.as_tensor(_array(scores), dtype=torch.float32)
    label_values = None if labels is None else torch.as_tensor(_array(labels))
    if len(scores) != len(boxes):
        raise DetectorOutputError(
            f"detector {name}: wanted one score a box, got {len(boxes)} boxes and "
            f"{len(scores)} scores"
        )
    usable = torch.isfinite(boxes).all(1) & torch.isfinite(scores)
    usable &= (boxes[:, 2:] >= boxes[:, :2]).all(1)
    if label_values is not None and label_values.is_floating_point():
        usable &= torch.isfinite(label_values)
    if not bool(usable.all()):
        warnings.warn(
            f"detector {name}: dropped {int((~usable).sum())} of {len(usable)} detections with "
            "NaN, infinite or inverted boxes or scores",
            RuntimeWarning,
            stacklevel=2,
        )
    return Proposals(
        boxes=boxes[usable],
        scores=scores[usable],
        labels=None if label_values is None else label_values[usable],
    )


def _array(value: Any) -> npt.NDArray[Any]:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)

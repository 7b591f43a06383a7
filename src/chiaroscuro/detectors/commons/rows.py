"""Rows: what a network reports for one picture, before it is checked and reduced to proposals."""

import copy
import warnings
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.commons.placement import Placement, inverted
from chiaroscuro.detectors.protocol import DetectorInfo, check_labels

T = TypeVar("T")

LOOSE_NMS_IOU = 0.9  # of ``without_nms``: only near copies of a better box are dropped


class Rows(NamedTuple):
    """What a network reports for one picture; nothing is checked yet."""

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]
    class_probabilities: Float[Tensor, "n classes"] | None = None
    objectness: Float[Tensor, " n"] | None = None

    @classmethod
    def of_one_class(cls, boxes: Tensor, scores: Tensor) -> "Rows":
        """Rows of a detector with a single class."""
        return cls(boxes, scores, torch.zeros_like(scores, dtype=torch.int64))

    @classmethod
    def of_vectors(
        cls, boxes: Tensor, class_probabilities: Tensor, objectness: Tensor | None = None
    ) -> "Rows":
        """One row per box, labelled by its best class; no vector is kept of a single class."""
        scores, labels = class_probabilities.max(dim=1)
        return cls(
            boxes,
            scores if objectness is None else scores * objectness,
            labels,
            class_probabilities if class_probabilities.shape[1] > 1 else None,
            objectness,
        )

    def pick(self, index: Tensor) -> "Rows":
        """Some of the rows, by boolean mask or by numbers."""
        boxes, scores, labels, vectors, objectness = self
        return Rows(
            boxes[index],
            scores[index],
            labels[index],
            None if vectors is None else vectors[index],
            None if objectness is None else objectness[index],
        )


def to_proposals(
    rows: Rows,
    info: DetectorInfo,
    *,
    nms_iou: float | None = None,
    placement: Placement | None = None,
) -> Proposals:
    """The rows of ``kept_rows`` on the CPU, with boxes in the picture's pixels.

    A placement is of the picture in the network's input, in whose pixels the boxes are then given.
    """
    rows = rows.pick(kept_rows(rows, info, nms_iou))
    vectors, objectness = rows.class_probabilities, rows.objectness
    return Proposals(
        boxes=rows.boxes if placement is None else placement.to_picture(rows.boxes),
        scores=rows.scores.clamp(0, 1),
        labels=rows.labels,
        class_probabilities=None if vectors is None else vectors.clamp(0, 1),
        objectness=None if objectness is None else objectness.clamp(0, 1),
    ).to("cpu")


def kept_rows(rows: Rows, info: DetectorInfo, nms_iou: float | None = None) -> Int[Tensor, " kept"]:
    """Numbers of the rows that become proposals: usable, not below the floor, best first.

    Of two boxes of one class the weaker is dropped above an IoU of ``nms_iou``, or of 0.9 where
    ``info.before_nms``; without ``nms_iou`` both are kept.
    """
    from torchvision.ops import batched_nms

    low = (rows.scores < info.min_score) | (rows.scores <= 0)  # a NaN is not low
    numbers = torch.nonzero(~low)[:, 0]
    rows = rows.pick(numbers)
    usable = usable_rows(info.name, rows.boxes, rows.scores)
    rows, numbers = rows.pick(usable), numbers[usable]
    if len(rows.scores):
        _refuse_scores(rows, info)
        check_labels(rows.labels, info)
    best = torch.argsort(rows.scores, descending=True, stable=True)
    if nms_iou is not None:
        rows = rows.pick(best)
        iou = LOOSE_NMS_IOU if info.before_nms else nms_iou
        best = best[batched_nms(rows.boxes, rows.scores, rows.labels, iou)]
    return numbers[best]


def unsuppressed_copy(detector: T) -> T:
    """The detector for ``without_nms``: on the same network, with ``info.before_nms``.

    Of boxes of one class that agree to an IoU of 0.9 it keeps only the best.
    """
    other: Any = copy.copy(detector)
    other.info = replace(other.info, before_nms=True)
    same: T = other
    return same


def usable_rows(
    name: str, boxes: Tensor, scores: Tensor, labels: Tensor | None = None
) -> Bool[Tensor, " n"]:
    """Which rows of a detector are finite with an upright box; a warning counts the others."""
    usable = torch.isfinite(boxes).all(dim=1) & torch.isfinite(scores) & ~inverted(boxes)
    if labels is not None:
        usable &= torch.isfinite(labels)
    if not bool(usable.all()):
        warnings.warn(
            f"detector {name}: dropped {int((~usable).sum())} of {len(usable)} detections with "
            "NaN, infinite or inverted boxes or scores",
            RuntimeWarning,
            stacklevel=3,
        )
    return usable


def _refuse_scores(rows: Rows, info: DetectorInfo) -> None:
    for part in (rows.scores, rows.class_probabilities, rows.objectness):
        if part is not None and not -0.001 <= float(part.min()) <= float(part.max()) <= 1.001:
            raise DetectorOutputError(
                f"detector {info.name}: wanted scores in [0, 1], got {float(part.min()):z.4g} to "
                f"{float(part.max()):z.4g}; its output has another layout, or no sigmoid"
            )

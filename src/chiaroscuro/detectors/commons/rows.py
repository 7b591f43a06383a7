"""Rows: what a network reports for one picture, before it is checked and reduced to proposals."""

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.commons.box_formats import inverted
from chiaroscuro.detectors.commons.placement import Placement
from chiaroscuro.detectors.protocol import DetectorInfo, check_labels

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
    """The rows that are kept, best first, in the picture's pixels, on the CPU.

    Args:
        rows: of one picture.
        info: name, class names and lowest score of the detector.
        nms_iou: as in ``kept_rows``.
        placement: of the picture in the network's input; without it, boxes are in its pixels.

    Raises:
        DetectorOutputError: on scores outside [0, 1], or labels without a class name.
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

    Args:
        rows: of one picture.
        info: name, class names and lowest score of the detector.
        nms_iou: IoU above which the weaker of two boxes of one class is dropped; None keeps all.

    Raises:
        DetectorOutputError: on scores outside [0, 1], or labels without a class name.
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
        best = best[batched_nms(rows.boxes, rows.scores, rows.labels, nms_iou)]
    return numbers[best]


def usable_rows(
    name: str, boxes: Tensor, scores: Tensor, labels: Tensor | None = None
) -> Bool[Tensor, " n"]:
    """Which rows are finite with an upright box; a warning counts the others.

    Args:
        name: of the detector.
        boxes: ``n 4``, x1 y1 x2 y2.
        scores: ``n``.
        labels: ``n``, where they may not be finite either.
    """
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

"""What a network reports, not yet checked, thinned to proposals."""

import warnings
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.frames import Frame
from chiaroscuro.detectors.protocol import DetectorInfo

NO_NMS_IOU = 0.9  # boxes closer than this are one, even without suppression


class Rows(NamedTuple):
    """What a network reports for one picture, in pixels of its input; nothing is checked yet."""

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]
    class_probabilities: Float[Tensor, "n classes"] | None = None
    objectness: Float[Tensor, " n"] | None = None

    @classmethod
    def of_vectors(
        cls, boxes: Tensor, class_probabilities: Tensor, objectness: Tensor | None = None
    ) -> "Rows":
        """One row a box, labelled by its best class; a single class leaves no vector."""
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


def to_proposals(rows: Rows, frame: Frame, info: DetectorInfo, nms_iou: float | None) -> Proposals:
    """What is left of the rows, best first, in the picture's pixels.

    Args:
        rows: of one picture.
        frame: how the picture lay in the network's input.
        info: name, class names and lowest score of the detector.
        nms_iou: as of ``kept_rows``.

    Raises:
        DetectorOutputError: on scores above 1, or labels that no class name belongs to.
    """
    rows = rows.pick(kept_rows(rows, info, nms_iou))
    vectors, objectness = rows.class_probabilities, rows.objectness
    return Proposals(
        boxes=frame.to_picture(rows.boxes),
        scores=rows.scores.clamp(0, 1),
        labels=rows.labels,
        class_probabilities=None if vectors is None else vectors.clamp(0, 1),
        objectness=None if objectness is None else objectness.clamp(0, 1),
    )


def kept_rows(rows: Rows, info: DetectorInfo, nms_iou: float | None) -> Int[Tensor, " kept"]:
    """Numbers of the rows that become proposals: usable, not below the floor, best first.

    Args:
        rows: of one picture.
        info: name, class names and lowest score of the detector.
        nms_iou: IoU above which the weaker of two boxes of one class goes; None keeps all.

    Raises:
        DetectorOutputError: on scores above 1, or labels that no class name belongs to.
    """
    from torchvision.ops import batched_nms

    low = (rows.scores < info.min_score) | (rows.scores <= 0)  # a NaN is not low
    numbers = torch.nonzero(~low)[:, 0]
    rows = rows.pick(numbers)
    usable = torch.isfinite(rows.boxes).all(1) & (rows.boxes[:, 2:] >= rows.boxes[:, :2]).all(1)
    usable &= torch.isfinite(rows.scores)
    if not bool(usable.all()):
        warnings.warn(
            f"detector {info.name}: dropped {int((~usable).sum())} of {len(usable)} detections "
            "with NaN, infinite or inverted boxes or scores",
            RuntimeWarning,
            stacklevel=3,
        )
        rows, numbers = rows.pick(usable), numbers[usable]
    if len(rows.scores):
        _refuse_impossible(rows, info)
    best = torch.argsort(rows.scores, descending=True, stable=True)
    if nms_iou is not None:
        rows = rows.pick(best)
        best = best[batched_nms(rows.boxes, rows.scores, rows.labels, nms_iou)]
    return numbers[best]


def _refuse_impossible(rows: Rows, info: DetectorInfo) -> None:
    for part in (rows.scores, rows.class_probabilities, rows.objectness):
        if part is not None and not -0.001 <= float(part.min()) <= float(part.max()) <= 1.001:
            raise DetectorOutputError(
                f"detector {info.name}: wanted scores in [0, 1], got {float(part.min()):z.4g} to "
                f"{float(part.max()):z.4g}; its output has another layout, or no sigmoid"
            )
    if not 0 <= int(rows.labels.min()) <= int(rows.labels.max()) < len(info.class_names):
        raise DetectorOutputError(
            f"detector {info.name}: wanted labels from 0 to {len(info.class_names) - 1}, got "
            f"{int(rows.labels.min())} to {int(rows.labels.max())}; give class_names, all of them"
        )

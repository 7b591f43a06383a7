"""A detection network of Ultralytics as a detector.

The network is called directly, not through ``YOLO.predict``: class vectors are kept, nothing is
fused, sent or written, and suppression has no time limit, so that a busy machine gives the same
boxes as an idle one. Pictures are prepared exactly as in ``predict``: RGB in [0, 1], the long side
resized to the training size, grey bars up to the next multiple of the stride.
"""

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError, InputError
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.commons.networks import device_of, evaluating, reads_all_places
from chiaroscuro.detectors.commons.options import score_floor
from chiaroscuro.detectors.commons.placement import Placement, corners, scaled_up
from chiaroscuro.detectors.commons.rows import Rows, to_proposals, unsuppressed_copy
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats


class UltralyticsDetector:
    """A detection network of Ultralytics as a detector.

    It has ``without_nms`` where the network does no suppression: not RT-DETR and end-to-end YOLO.

    Args:
        network: a ``DetectionModel`` or a subclass (segmentation and pose networks give their
            boxes). It stays on its device, and keeps its training or evaluation mode.
        input_size: long side of the picture in the network, in pixels; by default the size that it
            was trained with, or 640 where that is unknown.
        nms_iou: IoU above which the weaker of two boxes of one class is dropped.
        min_score: the lowest score that is reported; 0.01 by default.
        name: its name in results; the network's class by default.

    Raises:
        InputError: if the network does not report upright boxes.
    """

    def __init__(
        self,
        network: Any,
        *,
        input_size: int | None = None,
        nms_iou: float = 0.7,
        min_score: float | None = None,
        name: str | None = None,
    ) -> None:
        head = network.model[-1]
        heads = {kind.__name__ for kind in type(head).__mro__}
        if "OBB" in heads or not heads & {"Detect", "RTDETRDecoder"}:
            raise InputError(
                f"ultralytics: wanted a network that reports upright boxes, got the head "
                f"{type(head).__name__}; wanted one of the tasks detect, segment, pose"
            )
        self.network = network
        self._is_rtdetr = "RTDETRDecoder" in heads
        self._is_final = self._is_rtdetr or bool(getattr(head, "end2end", False))
        self._stride = int(max(network.stride))
        self._long_side = -(-_training_size(network, input_size) // self._stride) * self._stride
        self._nms_iou = None if self._is_final else nms_iou
        self._whole: Placement | None = None  # of the picture that parts are of
        any_size = None if reads_all_places(network) else True  # YOLO10 and later attend
        self.info = DetectorInfo(
            name=name or type(network).__name__,
            class_names=tuple(str(network.names[label]) for label in range(len(network.names))),
            min_score=score_floor(min_score, 0.01),
            device=str(device_of(network)),
            stride=float(self._stride),
            any_size=False if self._is_rtdetr else any_size,
        )
        if not self._is_final:
            self.without_nms = partial(unsuppressed_copy, self)

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in ``n 3 height width``; see :class:`~chiaroscuro.Detector`.

        RT-DETR reports one proposal per query; any other network every proposal above the floor.
        """
        parameter = next(self.network.parameters())
        pictures = as_unit_floats(images.detach()).to(parameter.device)
        if not len(pictures):
            return []
        height, width = pictures.shape[2:]
        placement = self._placement((height, width))
        with evaluating(self.network), self._uncapped():
            output = self.network(placement.fill(pictures).to(parameter.dtype))
        return [
            to_proposals(rows, self.info, nms_iou=self._nms_iou, placement=placement)
            for rows in self._read(output, placement)
        ]

    def for_parts_of(self, height: int, width: int) -> "UltralyticsDetector":
        """The same network for parts of pictures of that size; see ``Resizing``."""
        if self._is_rtdetr:
            return self
        other = copy.copy(self)
        other._whole = whole = self._of_whole((height, width))
        factors = [i / p for i, p in zip(whole.inner, whole.picture, strict=True)]
        other.info = replace(self.info, stride=self._stride * 2 / sum(factors))
        if not self._is_final:
            other.without_nms = partial(unsuppressed_copy, other)
        return other

    @contextmanager
    def _uncapped(self) -> Iterator[None]:
        """The head of an end-to-end network without its limit of detections per picture."""
        head = self.network.model[-1]
        if self._is_rtdetr or not hasattr(head, "max_det"):
            yield
            return
        own, head.max_det = head.max_det, sys.maxsize
        try:
            yield
        finally:
            head.max_det = own

    def _placement(self, picture: tuple[int, int]) -> Placement:
        if self._whole is not None:
            return self._whole.of_part(picture, self._stride)
        return self._of_whole(picture)

    def _of_whole(self, picture: tuple[int, int]) -> Placement:
        side = self._long_side
        if self._is_rtdetr:
            return Placement.stretch(picture, (side, side), antialias=False)
        height, width = picture
        size = (side, 0) if height >= width else (0, side)
        return Placement.letterbox(picture, size, self._stride)

    def _read(self, output: Any, placement: Placement) -> list[Rows]:
        n_classes = len(self.info.class_names)
        if self._is_rtdetr:  # (final table, (boxes, logits, ...)), one decoder layer in evaluation
            _, (boxes, logits, *_) = output
            boxes = scaled_up(corners(boxes[-1].float(), "cxcywh"), placement.size)
            probabilities = logits[-1].float().sigmoid()
            return [Rows.of_vectors(b, p) for b, p in zip(boxes, probabilities, strict=True)]
        while isinstance(output, tuple | list):  # (table, raw), or ((table, mask weights), raw)
            output = output[0]
        table = output.float()
        if self._is_final and table.shape[2] >= 6:
            return [Rows(t[:, :4], t[:, 4], t[:, 5].round().long()) for t in table]
        if self._is_final or table.shape[1] < 4 + n_classes:
            raise DetectorOutputError(
                f"detector {self.info.name}: wanted a box and {n_classes} classes per column, got "
                f"shape {tuple(table.shape)}"
            )
        return [
            Rows.of_vectors(corners(t[:, :4], "cxcywh"), t[:, 4 : 4 + n_classes])
            for t in table.transpose(1, 2)
        ]


def _training_size(network: Any, wanted: int | None) -> int:
    if wanted is None:
        arguments = getattr(network, "args", None) or {}
        if not isinstance(arguments, dict):
            arguments = vars(arguments)
        stated = arguments.get("imgsz") or 640
        wanted = max(stated) if isinstance(stated, list | tuple) else int(stated)
    if wanted < 1:
        raise InputError(f"input_size: wanted a number of pixels, got {wanted}")
    return wanted

"""An ONNX file as a detector."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiaroscuro.core.errors import DetectorOutputError, InputError
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.adapters.onnx.layouts.choosing import read_roles, understood
from chiaroscuro.detectors.adapters.onnx.layouts.classes import Overrides, read_classes
from chiaroscuro.detectors.adapters.onnx.layouts.layout import Scene
from chiaroscuro.detectors.adapters.onnx.network import OnnxNetwork
from chiaroscuro.detectors.adapters.onnx.network import class_names as stated_names
from chiaroscuro.detectors.adapters.onnx.plausibility import refuse_implausible, refuse_labels
from chiaroscuro.detectors.adapters.onnx.preparation import Preparation
from chiaroscuro.detectors.commons.onnx_session import make_session, session_device
from chiaroscuro.detectors.commons.options import flag, score_floor
from chiaroscuro.detectors.commons.placement import Placement, pair
from chiaroscuro.detectors.commons.rows import Rows, to_proposals, unsuppressed_copy
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats

_CERTAIN = 0.2  # score of a box whose plausibility settles the layout of the whole file


class OnnxDetector:
    """An ONNX detector. It has ``without_nms`` where the file does no suppression of its own.

    Its boxes are checked for plausibility until a picture has passed: a wrong layout gives boxes in
    [0, 1], of one pixel, or far outside.

    Args:
        model: path of the file, or its bytes.
        layout: a name of ``LAYOUTS``, where it is not recognised.
        outputs: names of the file's outputs by role: ``boxes`` and ``scores``, and maybe
            ``labels``, ``objectness`` and ``count``; also as ``"boxes:NAME,scores:NAME"``.
        box_format: ``"xyxy"``, ``"yxyx"``, ``"xywh"`` or ``"cxcywh"``; the layout's by default.
        normalised: whether boxes are in [0, 1] instead of in pixels of the network's input.
        scores: the activation that they still need: ``"sigmoid"``, ``"softmax"`` or ``"none"``.
        grid_offsets: whether boxes are offsets from cells of 8, 16 and 32 pixels (raw YOLOX).
        first_label: label, or column of the scores, of the first class: 1 where a background
            comes before it.
        class_names: by label; from the file's metadata ``names`` where it has them (Ultralytics
            writes them), else numbered as the file does.
        input_size: height and width of the network's input, or one number for both, where the file
            leaves them open. Without it: the size in the metadata, else the picture's own.
        normalise: ``"unit"`` for pixels in [0, 1], ``"255"``, ``"imagenet"`` (mean and standard
            deviation of ImageNet), ``"127"`` or ``"127.5"`` (less that, by 128); the layout's
            default otherwise.
        mean: in place of ``normalise``: one number or three, in the network's channel order, of
            pixels in [0, 255]; in [0, 1] where neither it nor ``std`` exceeds 1.
        std: standard deviation, likewise.
        channel_order: ``"rgb"`` or ``"bgr"``; the layout's default otherwise.
        channels_last: whether the input is ``n height width 3``, where the file leaves it open.
        letterbox: whether a picture keeps its aspect ratio, between bars, or is stretched; the
            layout's default otherwise.
        padding: where it lies between the bars: ``"centre"`` or ``"top-left"``.
        padding_colour: of the bars: a grey in [0, 255], or red, green and blue.
        nms_iou: IoU above which the weaker of two boxes of a class is dropped; by default
            0.7 in layouts before NMS, else none.
        min_score: the lowest score that is reported.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<n>"``.
        name: its name in results.

    Raises:
        CheckpointError: if the file is absent, damaged, or no detector.
        InputError: if its layout is not recognised, or an option does not fit the file.
    """

    def __init__(
        self,
        model: str | bytes,
        *,
        layout: str | None = None,
        outputs: Any = None,
        box_format: str | None = None,
        normalised: bool | str | None = None,
        scores: str | None = None,
        grid_offsets: bool | str | None = None,
        first_label: int | None = None,
        class_names: str | Sequence[str] | None = None,
        input_size: int | Sequence[int] | None = None,
        normalise: str | int | float | None = None,
        mean: Any = None,
        std: Any = None,
        channel_order: str | None = None,
        channels_last: bool | str | None = None,
        letterbox: bool | str | None = None,
        padding: str | None = None,
        padding_colour: Any = None,
        nms_iou: float | None = None,
        min_score: float | None = None,
        device: str = "auto",
        name: str = "onnx",
    ) -> None:
        session = make_session(model, device)
        self._network = network = OnnxNetwork(session, flag("channels_last", channels_last))
        size = network.size(input_size)
        given = stated_names(network.facts, name) if class_names is None else class_names
        names = [given] if isinstance(given, str) else given
        self._layout, self._roles = understood(
            network.declared(size, None if names is None else len(names), name),
            network.measured,
            layout,
            None if outputs is None else read_roles(outputs),
        )
        overrides = Overrides(box_format, normalised, scores, grid_offsets, first_label)
        names, self._reading = read_classes(names, self._layout, self._roles, overrides)
        self._batch_size = self._pictures_at_once()
        of_bytes = "255" if network.input.dtype == "tensor(uint8)" else None
        feeding = self._layout.feeding.with_options(
            normalise=of_bytes if normalise is None else str(normalise),
            channel_order=channel_order,
            letterbox=flag("letterbox", letterbox),
            padding=padding,
            padding_colour=padding_colour,
        )
        self._preparation = Preparation.of(feeding, size, mean, std)
        self._nms_iou = 0.7 if nms_iou is None and self._layout.before_nms else nms_iou
        self._is_plausible = False  # until a picture with a box of some certainty has passed
        self.info = DetectorInfo(
            name=name,
            class_names=tuple(names),
            min_score=score_floor(min_score, 0.01),
            device=session_device(session),
            stride=float(feeding.multiple),
            any_size=False if any(size) else None,  # a side of 0 is open
        )
        if self._layout.before_nms:  # only these files report suppressed boxes
            self.without_nms = partial(unsuppressed_copy, self)

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in ``n 3 height width``; see :class:`~chiaroscuro.Detector`."""
        pictures = as_unit_floats(images.detach()).cpu()
        if not len(pictures):
            return []
        placement = self._preparation.placement(pair(pictures.shape[2:]))
        batch = self._preparation.pixels(pictures, placement)
        scene = Scene(placement.size, len(self.info.class_names), self._reading)
        return [
            self._proposals(self._layout.decode(outputs, scene), placement)
            for chunk in torch.split(batch, self._batch_size or len(batch))
            for outputs in self._run(chunk, placement)
        ]

    def _proposals(self, rows: Rows, placement: Placement) -> Proposals:
        if not self._is_plausible:
            refuse_implausible(rows, placement, self.info)
        refuse_labels(rows, self.info, self._reading.first_label or 0)
        proposals = to_proposals(rows, self.info, nms_iou=self._nms_iou, placement=placement)
        self._is_plausible |= bool((proposals.scores >= _CERTAIN).any())
        return proposals

    def _pictures_at_once(self) -> int:
        """How many pictures the network takes at once; 0 for any number."""
        fixed = self._network.input.batch_size
        if not self._has_batch_axis():  # rows of several pictures are mixed
            if fixed > 1:
                raise InputError(
                    f"ONNX detector: wanted one result per picture, but the file takes {fixed} "
                    "pictures and its outputs do not say which rows belong to which; export it "
                    "with a batch size of 1"
                )
            return 1
        return fixed or max(output.shape[0] for output in self._roles.values())

    def _has_batch_axis(self) -> bool:
        boxes = next(iter(self._roles.values()))
        return len(boxes.shape) == 3 and not self._layout.one_by_one

    def _run(self, chunk: Tensor, placement: Placement) -> list[dict[str, Tensor]]:
        """Outputs by role, picture by picture, of as many pictures as the network takes at once."""
        n = len(chunk)
        if self._batch_size and n < self._batch_size:  # fill up with the last picture
            chunk = torch.cat([chunk, chunk[-1:].expand(self._batch_size - n, -1, -1, -1)])
        wanted = [output.name for output in self._roles.values()]
        try:
            results = self._network.run(wanted, chunk, placement)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise DetectorOutputError(
                f"detector {self.info.name}: the file does not run on {len(chunk)} pictures of "
                f"{placement.size} (height, width): {error}; give the input_size that it was made "
                "for, or export it with a batch size of 1"
            ) from error
        tensors = {
            role: torch.from_numpy(np.asarray(result)).float()
            for role, result in zip(self._roles, results, strict=True)
        }
        if not self._has_batch_axis():
            return [tensors]
        for role, tensor in tensors.items():
            if tensor.ndim == 0 or len(tensor) != len(chunk):
                raise DetectorOutputError(
                    f"detector {self.info.name}: wanted {len(chunk)} results, one per picture, got "
                    f"{role} of shape {tuple(tensor.shape)}; export it with a batch size of 1"
                )
        return [{role: tensor[i] for role, tensor in tensors.items()} for i in range(n)]

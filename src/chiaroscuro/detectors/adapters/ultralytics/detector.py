"""Detectors of Ultralytics: YOLO of all its versions, RT-DETR.

By a file of weights, the name of published weights, a model description (``.yaml``, random
weights), or a ``YOLO`` or ``DetectionModel`` that the caller already holds.

The network is called directly, not through ``YOLO.predict``: class vectors are kept, nothing is
fused, sent or written, and suppression has no time limit, so that a busy machine gives the same
boxes as an idle one. Preparing the picture follows ``predict`` to the pixel: RGB in [0, 1], the
long side resized to the training size, grey bars up to the next multiple of the stride.

Ultralytics is licensed under the AGPL-3.0.
"""

import copy
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    MissingDependencyError,
)
from chiaroscuro.core.records import Proposals
from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.detectors.checkpoint import named_by_content
from chiaroscuro.detectors.frames import Frame
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats
from chiaroscuro.detectors.registry import DetectorSource
from chiaroscuro.detectors.rows import NO_NMS_IOU, Rows, to_proposals
from chiaroscuro.detectors.torch_modules import evaluating, pick_device

_INSTALL = "pip install 'chiaroscuro[ultralytics]'"


class UltralyticsDetector:
    """A detection network of Ultralytics as a detector.

    It has ``without_nms`` where suppression is ours: not for RT-DETR and end-to-end YOLO.

    Args:
        network: a ``DetectionModel`` or a subclass (segmentation and pose networks give their
            boxes). It stays on its device, and is in its own mode again after every ``detect``.
        input_size: long side of the picture in the network, in pixels; the size it was trained
            with by default, 640 where it does not say.
        nms_iou: IoU above which the weaker of two boxes of one class goes.
        min_score: the lowest score that is reported; 0.01 by default.
        name: what results call it; the network's class by default.

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
        parameter = next(network.parameters())
        self.info = DetectorInfo(
            name=name or type(network).__name__,
            class_names=tuple(str(network.names[label]) for label in range(len(network.names))),
            min_score=0.01 if min_score is None else min_score,
            device=str(parameter.device),
        )
        if not self._is_final:
            self.without_nms = self._without_nms

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in ``n 3 height width``; see :class:`~chiaroscuro.Detector`.

        RT-DETR reports one proposal per query; any other network every proposal above the floor.

        Raises:
            DetectorOutputError: if the network's output is no table of boxes and classes.
        """
        parameter = next(self.network.parameters())
        pictures = as_unit_floats(images.detach()).to(parameter.device)
        if not len(pictures):
            return []
        height, width = pictures.shape[2:]
        frame = self._frame((height, width))
        with evaluating(self.network), self._uncapped():
            output = self.network(frame.fill(pictures).to(parameter.dtype))
        return [
            to_proposals(rows, frame, self.info, self._nms_iou).to("cpu")
            for rows in self._read(output, frame)
        ]

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

    def _frame(self, picture: tuple[int, int]) -> Frame:
        side = self._long_side
        if self._is_rtdetr:
            return replace(Frame.stretch(picture, (side, side)), antialias=False)
        height, width = picture
        size = (side, 0) if height >= width else (0, side)
        return Frame.letterbox(picture, size, self._stride)

    def _read(self, output: Any, frame: Frame) -> list[Rows]:
        n_classes = len(self.info.class_names)
        if self._is_rtdetr:  # (final table, (boxes, logits, ...)), one decoder layer in evaluation
            _, (boxes, logits, *_) = output
            height, width = frame.size
            sides = boxes.new_tensor([width, height, width, height])
            return [
                Rows.of_vectors(_corners(b.float() * sides), p.float().sigmoid())
                for b, p in zip(boxes[-1], logits[-1], strict=True)
            ]
        while isinstance(output, tuple | list):  # (table, raw), or ((table, mask weights), raw)
            output = output[0]
        table = output.float()
        if self._is_final and table.shape[2] >= 6:
            return [Rows(t[:, :4], t[:, 4], t[:, 5].round().long()) for t in table]
        if self._is_final or table.shape[1] < 4 + n_classes:
            raise DetectorOutputError(
                f"detector {self.info.name}: wanted a box and {n_classes} classes a column, got "
                f"shape {tuple(table.shape)}"
            )
        return [
            Rows.of_vectors(_corners(t[:, :4]), t[:, 4 : 4 + n_classes])
            for t in table.transpose(1, 2)
        ]

    def _without_nms(self) -> "UltralyticsDetector":
        """The same network, reporting also boxes that a stronger one covers.

        Of boxes that agree to an IoU of 0.9 only the best is kept.
        """
        other = copy.copy(self)
        other._nms_iou = NO_NMS_IOU
        other.info = replace(self.info, before_nms=True)
        return other


def _corners(boxes: Tensor) -> Tensor:
    """``cx cy w h`` as ``x1 y1 x2 y2``."""
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([middle - half, middle + half], dim=1)


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


def _load(
    rest: str | nn.Module, *, device: str = "auto", trust: bool = False, **options: Any
) -> UltralyticsDetector:
    """A detector from a name, a path or a module.

    Args:
        rest: a ``.pt`` or ``.yaml`` file, the name of published weights (downloaded to torch's
            cache), or a ``YOLO`` or ``DetectionModel``.
        device: where to put a network that is loaded.
        trust: a ``.pt`` file is a pickle. Without ``trust`` only the known classes of torch and
            Ultralytics are built from it. With it everything in the file is, and the file may run
            any code on this machine; the same holds for the layers named in a ``.yaml``.
        options: of :class:`UltralyticsDetector`.
    """
    if isinstance(rest, nn.Module):
        return _given(rest, device, options)
    suffix = Path(rest).suffix.lower()
    if suffix not in (".pt", ".yaml", ".yml") or "://" in rest:
        raise InputError(
            "ultralytics: wanted a file of weights, the name of published ones or a model "
            f"description, such as ultralytics/yolo11n.pt or ultralytics/yolo11n.yaml, got {rest!r}"
        )
    tasks = _import_tasks()
    with (
        PROCESS_WIDE,
        redirect_stdout(sys.stderr),
        nullcontext() if trust else _restricted(tasks, rest),
    ):
        network = _from_weights(tasks, rest, trust) if suffix == ".pt" else _new(tasks, rest)
    is_local = suffix == ".pt" and Path(rest).is_file()
    called = named_by_content(rest) if is_local else Path(rest).name
    options = {"name": f"ultralytics/{called}", **options}
    return UltralyticsDetector(network.float().to(pick_device(device)), **options)


def _given(module: nn.Module, device: str, options: dict[str, Any]) -> UltralyticsDetector:
    network = module.model if _is_a(module, "Model") else module  # a YOLO holds its network
    if not isinstance(network, nn.Module):
        raise InputError(
            f"ultralytics: wanted a YOLO with a torch network, got one with {network!r}; an "
            "exported model is loaded by its own path"
        )
    where = str(next(network.parameters()).device)
    if device not in ("auto", where):
        raise InputError(
            f"device: the given network is on {where}; wanted device='auto', got {device!r}; move "
            f"it first with .to({device!r})"
        )
    return UltralyticsDetector(network, **options)


@contextmanager
def _restricted(tasks: Any, rest: str) -> Iterator[None]:
    """Only known classes are built from files, and nothing in them is run as code."""
    if not hasattr(tasks, "SAFE_LOAD"):
        raise CheckpointError(
            f"{rest}: this Ultralytics cannot open models without running what they carry; "
            "wanted a newer one (pip install -U ultralytics), or trust=True if you trust the file"
        )
    own, known = tasks.SAFE_LOAD, torch.serialization.get_safe_globals()
    tasks.SAFE_LOAD = True
    try:
        yield
    finally:
        tasks.SAFE_LOAD = own
        torch.serialization.clear_safe_globals()  # it allows its classes in files of all others
        torch.serialization.add_safe_globals(known)


def _from_weights(tasks: Any, rest: str, trust: bool) -> Any:
    path = _find_weights(rest)
    try:
        if trust:
            content = torch.load(path, map_location="cpu", weights_only=False)
        else:
            content, _ = tasks.torch_safe_load(str(path), safe_only=True)
    except Exception as error:  # damage and refusals surface as almost any error
        raise CheckpointError(
            f"{rest} cannot be loaded: wanted weights that Ultralytics saved, holding nothing but "
            f"its own classes, got: {error}; if you trust the file, trust=True runs what it carries"
        ) from error
    network = None
    if isinstance(content, dict):
        network = content.get("ema") or content.get("model")
    if not isinstance(network, nn.Module) or not _is_a(network, "DetectionModel"):
        raise CheckpointError(
            f"{rest}: wanted a detection network of Ultralytics, got {type(network).__name__}"
        )
    if not getattr(network, "args", None):
        network.args = content.get("train_args")
    return network


def _find_weights(rest: str) -> Path:
    """The file, downloaded first where it is the name of published weights."""
    if Path(rest).is_file():
        return Path(rest)
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset

    if rest not in GITHUB_ASSETS_NAMES:
        raise CheckpointError(
            f"{rest} does not exist, nor do published weights of that name; wanted a path or a "
            "name such as yolo11n.pt"
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / rest
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Path(attempt_download_asset(path))
    except Exception as error:  # no network: any error of the download
        raise CheckpointError(
            f"{rest} could not be downloaded ({error}); wanted a network, or the file itself: copy "
            f"it here and give its path"
        ) from error


def _new(tasks: Any, rest: str) -> Any:
    """A network with random weights from its description."""
    try:
        description = tasks.yaml_model_load(rest)
        is_rtdetr = description["head"][-1][2] == "RTDETRDecoder"
        kind = tasks.RTDETRDetectionModel if is_rtdetr else tasks.DetectionModel
        return kind(description, verbose=False)
    except Exception as error:  # any error of any layer
        raise CheckpointError(
            f"{rest}: wanted the description of a detection network, with nothing but layers of "
            f"torch and Ultralytics, got: {type(error).__name__}: {error}"
        ) from error


def _import_tasks() -> Any:
    missing = _missing()
    if missing:
        raise MissingDependencyError(f"ultralytics: {missing}")
    threads = os.environ.get("OMP_NUM_THREADS")
    try:
        with PROCESS_WIDE, redirect_stdout(sys.stderr):  # where its notes belong
            from ultralytics.nn import tasks
    except ImportError as error:
        raise MissingDependencyError(
            f"Ultralytics is installed but cannot be imported: {error}. On a machine without a "
            "screen replace its OpenCV: pip uninstall opencv-python, then pip install "
            "opencv-python-headless"
        ) from error
    finally:
        if threads is None:  # it sets one thread for every process that we may start
            os.environ.pop("OMP_NUM_THREADS", None)
    return tasks


def _is_a(module: nn.Module, name: str) -> bool:
    return any(
        kind.__name__ == name and kind.__module__.startswith("ultralytics.")
        for kind in type(module).__mro__
    )


def _missing() -> str | None:
    if importlib.util.find_spec("ultralytics") is None:
        return f"needs Ultralytics (AGPL-3.0): {_INSTALL}"
    return None


source = DetectorSource(
    name="ultralytics",
    summary="detectors of Ultralytics: YOLO11, YOLO26, YOLOv8 and others, RT-DETR",
    load=_load,
    missing=_missing,
    examples=("ultralytics/yolo11n.pt", "ultralytics/best.pt"),
    wraps=lambda module: _is_a(module, "DetectionModel") or _is_a(module, "Model"),
)

"""Any ONNX detector, run by ONNX Runtime."""

import ast
import copy
import functools
import importlib.util
import inspect
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from chiaroscuro.core.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    MissingDependencyError,
    UnknownNameError,
)
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.adapters.onnx_inputs import PictureInput, Preparation, flag, sides
from chiaroscuro.detectors.adapters.onnx_inputs import input_size as read_size
from chiaroscuro.detectors.adapters.onnx_layouts.choosing import (
    Said,
    choose,
    is_settled,
    read_classes,
)
from chiaroscuro.detectors.adapters.onnx_layouts.layout import File, Layout, Output, Roles, Scene
from chiaroscuro.detectors.adapters.onnx_layouts.stated import read_roles
from chiaroscuro.detectors.checkpoint import named_by_content
from chiaroscuro.detectors.foreign import refusal
from chiaroscuro.detectors.frames import Frame, pair
from chiaroscuro.detectors.plausibility import refuse_implausible, refuse_labels
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats
from chiaroscuro.detectors.registry import DetectorSource
from chiaroscuro.detectors.rows import NO_NMS_IOU, Rows, to_proposals

if TYPE_CHECKING:
    import onnxruntime

_BLANK = (256, 384)  # height, width of the picture that outputs are measured with
_CERTAIN = 0.2  # score of a box whose plausibility speaks for the whole file


def make_session(model: str | bytes, device: str = "auto") -> "onnxruntime.InferenceSession":
    """An ONNX Runtime session with as many threads as torch uses.

    Args:
        model: path of an ONNX file, or the bytes of one.
        device: ``"auto"`` (CUDA where both torch and ONNX Runtime have it), ``"cpu"``, ``"cuda"``
            or ``"cuda:<n>"``.

    Raises:
        CheckpointError: if the file is absent, empty, damaged, or no ONNX model.
        MissingDependencyError: if CUDA is asked for and this ONNX Runtime cannot use it.
    """
    import onnxruntime

    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "auto":
        device = "cuda" if has_cuda and torch.cuda.is_available() else "cpu"
    wanted = torch.device(device)
    providers: list[Any] = ["CPUExecutionProvider"]
    if wanted.type == "cuda":
        if not has_cuda:
            raise MissingDependencyError(
                f"device {device}: this ONNX Runtime has no CUDA; "
                "wanted `pip install onnxruntime-gpu` in place of onnxruntime, or device='cpu'"
            )
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": wanted.index or 0}))
    what = "the ONNX model" if isinstance(model, bytes) else model
    if isinstance(model, str) and not Path(model).is_file():
        raise CheckpointError(f"{what} does not exist; wanted an ONNX file")
    if isinstance(model, str) and (problem := refusal(Path(model))):
        raise CheckpointError(problem)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    # Threads that wait in a busy loop would take the cores from mask making between two passes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise CheckpointError(
            f"{what} cannot be loaded; wanted an ONNX model that ONNX Runtime "
            f"{onnxruntime.__version__} can run, got: {error}; it may be damaged, or newer"
        ) from error


class OnnxDetector:
    """An ONNX detector. It has ``without_nms`` where the file leaves suppression to us.

    Its boxes are checked for plausibility until a picture has passed: a layout that was taken for
    another gives boxes in [0, 1], of one pixel, or far outside.

    Args:
        model: path of the file, or its bytes.
        layout: a name of ``LAYOUTS``, where it cannot be recognised.
        outputs: names of the file's outputs by role: ``boxes`` and ``scores``, and maybe
            ``labels``, ``objectness`` and ``count``; also as ``"boxes:NAME,scores:NAME"``.
        box_format: ``"xyxy"``, ``"yxyx"``, ``"xywh"`` or ``"cxcywh"``; the layout's by default.
        normalised: whether boxes are in [0, 1] instead of in pixels of the network's input.
        scores: what is still to be done to them: ``"sigmoid"``, ``"softmax"`` or ``"none"``.
        grid_offsets: whether boxes are offsets from cells of 8, 16 and 32 pixels (raw YOLOX).
        first_label: label, or column of the scores, of the first class: 1 where a background
            comes before it.
        class_names: by label; from the file's metadata ``names`` where it has them (Ultralytics
            writes them), else numbered as the file does.
        input_size: height and width of the network's input, or one number for both, where the file
            leaves them open. Without it: the size in the metadata, else the picture's own.
        normalise: ``"unit"`` for pixels in [0, 1], ``"255"``, ``"imagenet"`` (mean and standard
            deviation of ImageNet), ``"127"`` or ``"127.5"`` (less that, by 128); the layout's habit
            by default.
        mean: in place of ``normalise``: one number or three, in the network's channel order, of
            pixels in [0, 255]; in [0, 1] where neither it nor ``std`` exceeds 1.
        std: standard deviation, likewise.
        channel_order: ``"rgb"`` or ``"bgr"``; the layout's habit by default.
        channels_last: whether the input is ``n height width 3``, where the file leaves it open.
        letterbox: whether a picture keeps its shape, between bars, or is stretched; the layout's
            habit by default.
        padding: where it lies between them: ``"centre"`` or ``"top-left"``.
        padding_colour: of the bars: a grey in [0, 255], or red, green and blue.
        nms_iou: IoU above which the weaker of two boxes of a class goes; 0.7 in layouts before NMS,
            else none by default.
        min_score: the lowest score that is reported.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<n>"``.
        name: what results call it.

    Raises:
        CheckpointError: if the file is absent, damaged, or no detector.
        InputError: if its layout cannot be told, or an option does not fit the file.
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
        self._session = make_session(model, device)
        metadata = self._session.get_modelmeta()
        facts = metadata.custom_metadata_map
        _refuse_task(facts)
        self._input = PictureInput.of(
            self._session.get_inputs(), flag("channels_last", channels_last)
        )
        if input_size is None:
            input_size = _imgsz(facts) if 0 in self._input.size else 0
        size = read_size(input_size, self._input.size)
        given = _class_names(facts, name) if class_names is None else class_names
        names = [given] if isinstance(given, str) else given
        said = Said(
            box_format=box_format,
            normalised=flag("normalised", normalised),
            scores=scores,
            grid_offsets=flag("grid_offsets", grid_offsets),
            first_label=first_label,
        )
        hint = " ".join([name, metadata.graph_name, metadata.description])
        stated = None if outputs is None else read_roles(outputs)
        chosen, self._roles = self._understood(self._file(size, names, hint), layout, stated)
        names, self._reading = read_classes(names, chosen, self._roles, said)
        self._layout = chosen
        self._batch_size = self._pictures_at_once()
        habit = "255" if self._input.dtype == "tensor(uint8)" else chosen.feeding.normalise
        habits = {
            "normalise": habit if normalise is None else str(normalise),
            "channel_order": channel_order,
            "letterbox": flag("letterbox", letterbox),
            "padding": padding,
            "padding_colour": padding_colour,
        }
        feeding = replace(chosen.feeding, **{k: v for k, v in habits.items() if v is not None})
        self._preparation = Preparation.of(feeding, size, mean, std)
        self._nms_iou = 0.7 if nms_iou is None and chosen.before_nms else nms_iou
        self._is_plausible = False  # until a picture with a box of some certainty has passed
        self.info = DetectorInfo(
            name=name,
            class_names=tuple(names),
            min_score=0.01 if min_score is None else min_score,
            device=_device(self._session),
        )
        if chosen.before_nms:  # only these have boxes to give back
            self.without_nms = self._without_nms

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in ``n 3 height width``; see :class:`~chiaroscuro.Detector`.

        Raises:
            DetectorOutputError: if the outputs do not mean what the layout says.
        """
        pictures = as_unit_floats(images.detach()).cpu()
        if not len(pictures):
            return []
        frame = self._preparation.frame(pair(pictures.shape[2:]))
        batch = self._preparation.pixels(pictures, frame)
        scene = Scene(frame, len(self.info.class_names), self._reading)
        return [
            self._proposals(self._layout.decode(outputs, scene), frame)
            for chunk in torch.split(batch, self._batch_size or len(batch))
            for outputs in self._run(chunk, frame)
        ]

    def _proposals(self, rows: Rows, frame: Frame) -> Proposals:
        if not self._is_plausible:
            refuse_implausible(rows, frame, self.info)
        refuse_labels(rows, self.info, self._reading.first_label or 0)
        proposals = to_proposals(rows, frame, self.info, self._nms_iou)
        self._is_plausible |= bool((proposals.scores >= _CERTAIN).any())
        return proposals

    def _file(self, size: tuple[int, int], names: Sequence[str] | None, hint: str) -> File:
        """What the file declares."""

        @functools.cache
        def values() -> dict[str, Any]:
            found = self._on_blank(size)[1]
            return {} if isinstance(found, Exception) else found

        declared = self._session.get_outputs()
        return File(
            outputs=[Output(o.name, sides(o.shape), o.type) for o in declared],
            size=size,
            n_classes=None if names is None else len(names),
            hint=hint,
            inputs=frozenset(self._input.extras),
            on_blank=lambda name: values().get(name),
        )

    def _understood(
        self, file: File, layout: str | None, stated: Mapping[str, str] | None
    ) -> tuple[Layout, Roles]:
        """Layout and outputs by what the file declares, else by what a blank picture gives."""
        closed = all(o.shape and all(o.shape[1:]) for o in file.outputs)
        try:
            chosen, roles = choose(file, layout, stated)
            if closed or is_settled(chosen, roles):
                return chosen, roles
        except UnknownNameError:
            raise
        except InputError:
            if closed:
                raise
        return choose(self._measured(file), layout, stated)

    def _measured(self, file: File) -> File:
        """The outputs with the shapes that a blank picture gives, where the file leaves them open.

        Exporters often name sides that never change, the number of classes among them.
        """
        size, values = self._on_blank(file.size)
        if isinstance(values, Exception):
            raise InputError(
                f"ONNX detector: the file does not run on a picture of {size} (height, width), "
                f"which would tell the sizes of its outputs: {values}; give the input_size that it "
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
        frame = Frame.stretch(_BLANK, (height or _BLANK[0], width or _BLANK[1]))
        blank = torch.zeros(self._input.batch_size or 1, 3, *frame.size)
        names = [output.name for output in self._session.get_outputs()]
        try:
            results = self._session.run(names, self._input.feed(blank, frame))
        except Exception as error:  # ONNX Runtime's errors share no base class
            return frame.size, error
        return frame.size, dict(zip(names, results, strict=True))

    def _pictures_at_once(self) -> int:
        """How many pictures the network takes at once; 0 for any number."""
        fixed = self._input.batch_size
        if not self._has_batch_axis():  # rows of several pictures could not be told apart
            if fixed > 1:
                raise InputError(
                    f"ONNX detector: wanted one result per picture, but the file takes {fixed} "
                    "pictures and its outputs do not say whose rows are whose; export it with a "
                    "batch size of 1"
                )
            return 1
        return fixed or max(output.shape[0] for output in self._roles.values())

    def _has_batch_axis(self) -> bool:
        boxes = next(iter(self._roles.values()))
        return len(boxes.shape) == 3 and not self._layout.one_by_one

    def _run(self, chunk: Tensor, frame: Frame) -> list[dict[str, Tensor]]:
        """The outputs by role, picture by picture, of as many as the network takes at once."""
        n = len(chunk)
        if self._batch_size and n < self._batch_size:  # fill up with the last picture
            chunk = torch.cat([chunk, chunk[-1:].expand(self._batch_size - n, -1, -1, -1)])
        wanted = [output.name for output in self._roles.values()]
        try:
            results = self._session.run(wanted, self._input.feed(chunk, frame))
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise DetectorOutputError(
                f"detector {self.info.name}: the file does not run on {len(chunk)} pictures of "
                f"{frame.size} (height, width): {error}; give the input_size that it was made for, "
                "or export it with a batch size of 1"
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

    def _without_nms(self) -> "OnnxDetector":
        """The same network, reporting also boxes that a stronger one covers.

        Of boxes that agree to an IoU of 0.9 only the best is kept, so that one strong object does
        not take all 300 places.
        """
        other = copy.copy(self)
        other._nms_iou = NO_NMS_IOU
        other.info = replace(self.info, before_nms=True)
        return other


def _measured_shape(declared: tuple[int, ...], measured: tuple[int, ...]) -> tuple[int, ...]:
    """A batch axis stays open where it was."""
    return (declared[0] if declared else 0, *measured[1:]) if measured else ()


def _refuse_task(facts: dict[str, str]) -> None:
    """Ultralytics writes what a network is for into its file."""
    task = facts.get("task", "detect")
    if task in ("obb", "classify"):
        what = {"obb": "turned boxes (obb)", "classify": "classes of whole pictures (classify)"}
        raise InputError(
            f"ONNX detector: wanted upright boxes, but this file finds {what[task]}; "
            "write a function that returns boxes"
        )


def _imgsz(facts: dict[str, str]) -> Any:
    return _literal(facts.get("imgsz", "")) or 0


def _class_names(facts: dict[str, str], name: str) -> list[str] | None:
    """The names that Ultralytics writes into a file, read as a literal, never as code."""
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


def _device(session: "onnxruntime.InferenceSession") -> str:
    options = session.get_provider_options().get("CUDAExecutionProvider")
    return "cpu" if options is None else f"cuda:{options.get('device_id', 0)}"


def _load(path: str, **options: Any) -> OnnxDetector:
    if not path:
        raise InputError("onnx: wanted the path of a file, such as onnx/model.onnx")
    detector = OnnxDetector(path, **{"name": Path(path).name, **options})
    if "name" not in options:
        detector.info = replace(detector.info, name=named_by_content(path))
    return detector


_load.__signature__ = inspect.signature(OnnxDetector)  # type: ignore[attr-defined]


def _missing() -> str | None:
    if importlib.util.find_spec("onnxruntime") is None:
        return "needs ONNX Runtime: pip install onnxruntime"
    return None


source = DetectorSource(
    name="onnx",
    summary="any ONNX detector: YOLO, DETR, RT-DETR, torchvision and similar exports",
    load=_load,
    missing=_missing,
    examples=("model.onnx",),
    suffixes=(".onnx", ".ort"),
)

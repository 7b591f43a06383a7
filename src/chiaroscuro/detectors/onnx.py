"""Any ONNX detector, run by ONNX Runtime."""

import ast
import copy
import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from chiaroscuro.detectors.checkpoint import named_by_content
from chiaroscuro.detectors.frames import Frame, pair
from chiaroscuro.detectors.onnx_layouts import (
    LAYOUTS,
    Output,
    Roles,
    choose_layout,
    recognise,
    roles_torchvision,
)
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats
from chiaroscuro.detectors.registry import DetectorSource
from chiaroscuro.detectors.rows import NO_NMS_IOU, to_proposals
from chiaroscuro.errors import (
    CheckpointError,
    DetectorOutputError,
    InputError,
    MissingDependencyError,
    UnknownNameError,
)
from chiaroscuro.records import Proposals

if TYPE_CHECKING:
    import onnxruntime

_UNNAMED_CLASSES = 91  # where a file does not say how many it has: as many as COCO numbers
_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
_NORMALISATIONS: dict[str, tuple[Sequence[float], Sequence[float]]] = {  # mean, standard deviation
    "unit": ((0.0,) * 3, (1.0,) * 3),
    "255": ((0.0,) * 3, (1 / 255,) * 3),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


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

    Args:
        model: path of the file, or its bytes.
        layout: a name of ``LAYOUTS``, where it cannot be recognised.
        class_names: by label; from the file's metadata ``names`` where it has them (Ultralytics
            writes them), else numbered. Labels are the file's own: torchvision's count a
            background as 0.
        input_size: height and width of the network's input, or one number for both, where the file
            leaves them open. Without it: the size in the metadata, else the picture's own.
        normalise: ``"unit"`` for pixels in [0, 1], ``"255"``, or ``"imagenet"`` (mean and standard
            deviation of ImageNet); the layout's habit by default: imagenet for detr, else unit.
        channel_order: ``"rgb"`` or ``"bgr"``.
        letterbox: whether a picture keeps its shape, between grey bars, or is stretched; the
            layout's habit by default.
        nms_iou: IoU above which the weaker of two boxes of a class goes, in layouts before NMS.
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
        class_names: Sequence[str] | None = None,
        input_size: int | Sequence[int] | None = None,
        normalise: str | None = None,
        channel_order: str = "rgb",
        letterbox: bool | None = None,
        nms_iou: float = 0.7,
        min_score: float | None = None,
        device: str = "auto",
        name: str = "onnx",
    ) -> None:
        self._session = make_session(model, device)
        metadata = self._session.get_modelmeta()
        facts = metadata.custom_metadata_map
        self._image, self._extras = _inputs(self._session.get_inputs())
        sides = _sides(self._image.shape)
        self._input_size = _input_size(input_size, sides[-2:], facts)
        if isinstance(class_names, str):
            class_names = [class_names]
        names = _class_names(facts, name) if class_names is None else list(class_names)
        outputs = [Output(o.name, _sides(o.shape), o.type) for o in self._session.get_outputs()]
        outputs = self._measured(outputs, sides[0] if len(sides) == 4 else 1)
        if layout is None:
            hint = " ".join([name, metadata.graph_name, metadata.description])
            layout = recognise(outputs, None if names is None else len(names), hint)
        self._layout = _named("layout", layout, LAYOUTS)
        self._roles = self._layout.roles(outputs) or {}
        if not self._roles:
            raise InputError(choose_layout(f"these cannot be {layout}", outputs))
        counted = self._layout.n_classes(self._roles)
        if names is None:
            names = [f"class {i}" for i in range(counted or _UNNAMED_CLASSES)]
        # YOLO tables may go on after the classes, with mask coefficients or keypoints
        elif counted is not None and not (
            len(names) == counted or (self._layout.before_nms and len(names) < counted)
        ):
            problem = f"as {layout} these have {counted} classes, and {len(names)} are named"
            raise InputError(choose_layout(problem, outputs))

        self._batch_size = _batch_size(sides, self._roles)
        habit = "255" if self._image.type == "tensor(uint8)" else self._layout.normalise
        mean, deviation = _named("normalisation", normalise or habit, _NORMALISATIONS)
        self._mean = torch.tensor(mean).view(3, 1, 1)
        self._deviation = torch.tensor(deviation).view(3, 1, 1)
        self._order = _named("channel order", channel_order, {"rgb": [0, 1, 2], "bgr": [2, 1, 0]})
        self._letterbox = self._layout.letterbox if letterbox is None else letterbox
        self._nms_iou = nms_iou if self._layout.before_nms else None
        self.info = DetectorInfo(
            name=name,
            class_names=tuple(names),
            min_score=0.01 if min_score is None else min_score,
            device=_device(self._session),
        )
        if self._layout.before_nms:  # only these have boxes to give back
            self.without_nms = self._without_nms

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in ``n 3 height width``; see :class:`~chiaroscuro.Detector`.

        Raises:
            DetectorOutputError: if the outputs do not mean what the layout says.
        """
        pictures = as_unit_floats(images.detach()).cpu()
        if not len(pictures):
            return []
        height, width = pictures.shape[2:]
        make = Frame.letterbox if self._letterbox else Frame.stretch
        frame = make((height, width), self._input_size, self._layout.multiple)
        batch = ((frame.fill(pictures) - self._mean) / self._deviation)[:, self._order]
        return [
            to_proposals(
                self._layout.decode(outputs, frame, len(self.info.class_names)),
                frame,
                self.info,
                self._nms_iou,
            )
            for chunk in torch.split(batch, self._batch_size or len(batch))
            for outputs in self._run(chunk, frame)
        ]

    def _measured(self, outputs: list[Output], n: int) -> list[Output]:
        """The outputs with the shapes that a blank picture gives, where the file leaves them open.

        Exporters often name sides that never change, the number of classes among them.
        """
        if roles_torchvision(outputs) or all(o.shape and all(o.shape[1:]) for o in outputs):
            return outputs
        height, width = self._input_size
        frame = Frame.stretch((256, 384), (height or 256, width or 384))
        blank = torch.zeros(n or 1, 3, *frame.size)
        try:
            results = self._session.run([o.name for o in outputs], self._feed(blank, frame))
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise InputError(
                f"ONNX detector: the file does not run on a picture of {frame.size} (height, "
                f"width): {error}; give the input_size that it was made for"
            ) from error
        return [
            output._replace(shape=((output.shape or (0,))[0], *np.shape(result)[1:]))
            for output, result in zip(outputs, results, strict=True)
        ]

    def _feed(self, pixels: Tensor, frame: Frame) -> dict[str, Any]:
        dtype = _DTYPES[self._image.type]
        pixels = pixels.round() if dtype is np.uint8 else pixels
        array = np.ascontiguousarray(pixels.numpy().astype(dtype, copy=False))
        feed = {self._image.name: array if len(self._image.shape) == 4 else array[0]}
        return feed | {name: make(len(pixels), frame) for name, make in self._extras.items()}

    def _run(self, chunk: Tensor, frame: Frame) -> list[dict[str, Tensor]]:
        """The outputs by role, picture by picture, of as many as the network takes at once."""
        n = len(chunk)
        if self._batch_size and n < self._batch_size:  # fill up with the last picture
            chunk = torch.cat([chunk, chunk[-1:].expand(self._batch_size - n, -1, -1, -1)])
        wanted = [output.name for output in self._roles.values()]
        results = self._session.run(wanted, self._feed(chunk, frame))
        tensors = {
            role: torch.from_numpy(np.asarray(result)).float()
            for role, result in zip(self._roles, results, strict=True)
        }
        if not _has_batch_axis(self._roles):
            return [tensors]
        for role, tensor in tensors.items():
            if len(tensor) != len(chunk):
                raise DetectorOutputError(
                    f"detector {self.info.name}: wanted {len(chunk)} results, one a picture, got "
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


def _sides(shape: Sequence[Any]) -> tuple[int, ...]:
    """A declared shape; sides that have a name or are unknown become 0."""
    return tuple(side if isinstance(side, int) and side > 0 else 0 for side in shape)


def _has_batch_axis(roles: Roles) -> bool:
    return all(
        len(o.shape) == (2 if role in ("scores", "labels") else 3) for role, o in roles.items()
    )


def _batch_size(sides: tuple[int, ...], roles: Roles) -> int:
    """How many pictures the network takes at once; 0 for any number."""
    fixed = sides[0] if len(sides) == 4 else 1
    if not _has_batch_axis(roles):  # rows of several pictures could not be told apart
        if fixed > 1:
            raise InputError(
                f"ONNX detector: wanted one result a picture, but the file takes {fixed} pictures "
                "and its outputs do not say whose rows are whose; export it with a batch size of 1"
            )
        return 1
    return fixed or max(output.shape[0] for output in roles.values())


def _inputs(inputs: Sequence[Any]) -> tuple[Any, dict[str, Callable[[int, Frame], Any]]]:
    """The input for pictures, and how to fill the others."""
    known: dict[str, Callable[[int, Frame], Any]] = {
        "orig_target_sizes": lambda n, frame: np.array([frame.size[::-1]] * n, dtype=np.int64),
        "pixel_mask": lambda n, frame: np.ones((n, *frame.size), dtype=np.int64),
    }
    image = [
        i
        for i in inputs
        if i.type in _DTYPES and len(i.shape) in (3, 4) and _sides(i.shape)[-3] in (3, 0)
    ]
    others = [i.name for i in inputs if i not in image]
    if len(image) != 1 or not set(others) <= set(known):
        listed = ", ".join(f"{i.name} {i.shape} {i.type}" for i in inputs)
        raise InputError(
            "ONNX detector: wanted one input for pictures, n x 3 x height x width, and at most "
            f"{' and '.join(known)}; the file has {listed}"
        )
    return image[0], {name: known[name] for name in others}


def _input_size(
    wanted: int | Sequence[int] | None, fixed: tuple[int, ...], facts: dict[str, str]
) -> tuple[int, int]:
    """Height, width of the network's input; 0 for a side that is free."""
    if wanted is None:
        wanted = (_literal(facts.get("imgsz", "")) or 0) if 0 in fixed else 0
    asked = (wanted, wanted) if isinstance(wanted, int) else tuple(wanted or ())
    if len(asked) != 2 or any(side < 0 for side in asked):
        raise InputError(f"input_size: wanted height and width in pixels, got {wanted!r}")
    if any(f and a and f != a for f, a in zip(fixed, asked, strict=True)):
        raise InputError(f"input_size: this file is made for {fixed} (height, width), got {asked}")
    return pair(f or a for f, a in zip(fixed, asked, strict=True))


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


T = TypeVar("T")


def _named(kind: str, name: str, known: dict[str, T]) -> T:
    if name not in known:
        raise UnknownNameError(kind, name, list(known))
    return known[name]


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
    suffixes=(".onnx",),
)

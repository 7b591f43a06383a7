"""Detectors of torchvision: R-CNNs, RetinaNet, FCOS, SSD.

By the name of a builder (``torchvision/fasterrcnn_resnet50_fpn``), from a file of weights, or a
model that the caller already holds. While a model detects, it runs in evaluation mode with a low
score floor and room for more detections; afterwards it is as it was found.

Labels: torchvision counts the background as class 0. Here labels count from 0 without it, and
``class_names`` leaves it out.
"""

import copy
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import CheckpointError, InputError
from chiaroscuro.core.records import Proposals, Truth
from chiaroscuro.detectors.adapters.function import drop_unusable
from chiaroscuro.detectors.adapters.torchvision_builders import (
    build,
    builders,
    check_builder,
    check_fit,
    count_outputs,
    download,
    published_weights,
    recognise,
    replace_head,
)
from chiaroscuro.detectors.checkpoint import (
    named_by_content,
    read_checkpoint,
    write_checkpoint,
)
from chiaroscuro.detectors.protocol import (
    DetectorInfo,
    RawProposals,
    as_unit_floats,
    check_labels,
)
from chiaroscuro.detectors.registry import DetectorSource
from chiaroscuro.detectors.torch_modules import pick_device

MIN_SCORE = 0.01
LOOSE_NMS_IOU = 0.9  # in `without_nms`: only near copies of a better box are dropped

_SUFFIXES = (".pt", ".pth", ".safetensors")
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_LOCKS: WeakKeyDictionary[nn.Module, threading.Lock] = WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


class TorchvisionDetector:
    """A torchvision detection model as a detector.

    ``detect`` keeps the model's own non-maximum suppression, and reports all that it leaves, not
    only as many as the model would. Threads that share a model take turns.

    Args:
        model: an R-CNN, RetinaNet, FCOS or SSD of torchvision. It stays where it is, and after
            every ``detect`` is as it was: training mode, thresholds, caps.
        name: what results call it; the model's class by default.
        class_names: of the foreground classes in the model's order; ``("face",)`` by default where
            there is one, else ``class 1``, ``class 2`` ... RetinaNet and FCOS may be trained
            without a background class: then give as many names as the model has outputs.
        min_score: lowest score to report, in [0, 1).
        autocast: ``"bf16"`` or ``"fp16"`` computes the network in that precision; boxes and scores
            are still made of float32.
        min_size: the shorter side that pictures are resized to, in pixels, in place of the model's.
        max_size: the limit of the longer side, in pixels, in place of the model's.
        builder: what made the model, where it is known; needed to save it after training.

    Attributes:
        network: the model.
        builder: as given.
        first_label: label of the first class in the model's own outputs: 1 after a background.

    Raises:
        InputError: on options that do not fit the model.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str | None = None,
        class_names: Sequence[str] | None = None,
        min_score: float | None = None,
        autocast: str | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        builder: str | None = None,
    ) -> None:
        min_score = MIN_SCORE if min_score is None else min_score
        if not 0 <= min_score < 1:
            raise InputError(f"min_score: wanted a number in [0, 1), got {min_score}")
        if autocast is not None and autocast not in _AUTOCAST:
            raise InputError(f"autocast: wanted bf16, fp16 or None, got {autocast!r}")
        self.network, self.builder = model, builder
        self._autocast = autocast
        self._sizes = _check_sizes(model, min_size, max_size)
        names, self.first_label = _name_classes(model, class_names)
        self.info = DetectorInfo(
            name=name or type(model).__name__,
            class_names=names,
            min_score=min_score,
            device=str(_device_of(model)),
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in a batch; see :class:`~chiaroscuro.Detector`.

        Proposals lie on the CPU. Rows with NaN, infinite or inverted boxes are dropped with a
        warning that counts them.
        """
        batch = as_unit_floats(images.detach()).to(_device_of(self.network))
        if len(batch) == 0:
            return []
        with _lock_of(self.network), self._ready(), torch.no_grad():
            results = self.network(list(batch))
        return [self._read(result) for result in results]

    def propose(self, images: Tensor) -> list[RawProposals]:
        """What ``without_nms`` detects, uncapped, with gradients; see ``Differentiable``.

        In full precision, whatever ``autocast`` says: half precision loses small gradients.
        """
        other = self.without_nms()
        other._autocast = None
        with _lock_of(self.network), other._ready(), _resized(self.network) as resized:
            results = self.network(list(images))
        return [self._as_raw(result, resized[-1]) for result in results]

    def _as_raw(self, result: Mapping[str, Tensor], extent: tuple[float, float]) -> RawProposals:
        labels = result["labels"] - self.first_label
        kept = labels >= 0
        return RawProposals(
            result["boxes"][kept].float(), result["scores"][kept].float(), labels[kept], extent
        )

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """Layers that the class scores are read from; none where the architecture is not known."""
        backbone: Any = self.network.backbone
        if isinstance(fpn := getattr(backbone, "fpn", None), nn.Module):
            levels = _children("backbone.fpn.layer_blocks", fpn.layer_blocks)
            return levels + _children("backbone.fpn.extra_blocks", fpn.extra_blocks)
        if isinstance(extra := getattr(backbone, "extra", None), nn.ModuleList):
            first: tuple[str, ...] = ("backbone.features",)
            if all(isinstance(part, nn.Sequential) for part in backbone.features):  # SSDlite
                first = _children("backbone.features", backbone.features)
            return first + _children("backbone.extra", extra)
        return ("backbone",) if isinstance(backbone, nn.Sequential) else ()

    @property
    def excitation_layer(self) -> str:
        """An early layer, of stride 4, where excitation backprop stops; empty if none is known."""
        names = dict(self.network.named_modules())
        if "backbone.body.layer1" in names:  # ResNet
            return "backbone.body.layer1"
        if "backbone.scale_weight" in dict(self.network.named_parameters()):  # VGG
            return "backbone.features.15"
        if "backbone.body.0" in names:  # MobileNet
            return "backbone.body.2"
        return "backbone.features.0" if "backbone.features.0" in names else ""

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> Mapping[str, Tensor]:
        """What the model computes of itself in training mode, of pictures resized as in ``detect``.

        It knows no box to ignore: such a box is left out, and what lies there is background.
        """
        targets = [
            {
                "boxes": marked.boxes[~marked.ignore].to(images),
                "labels": marked.labels[~marked.ignore].to(images.device) + self.first_label,
            }
            for marked in truth
        ]
        network: Any = self.network
        with self._sized():
            parts: Mapping[str, Tensor] = network(list(images), targets)
        return parts

    def save(self, path: Path | str, about: Mapping[str, Any] | None = None) -> None:
        """Write weights, and the sizes they were used at, as a checkpoint; see ``save_checkpoint``.

        Raises:
            CheckpointError: if it is not known what builder made the model.
        """
        if self.builder is None:
            raise CheckpointError(
                f"{self.info.name}: its builder is not known, so the file could not be opened "
                "again; load it as torchvision/<builder>, or use save_checkpoint"
            )
        with self._sized():
            save_checkpoint(path, self.network, self.builder, self.info.class_names, about)

    def without_nms(self) -> "TorchvisionDetector":
        """The same model, reporting also what its non-maximum suppression would drop.

        Only boxes that overlap a better one of their class by more than an IoU of 0.9 are dropped,
        and region proposals are kept down to the score floor.
        """
        other = copy.copy(self)
        other.info = replace(self.info, before_nms=True)
        return other

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """The model set up to detect; on leaving it is as it was before."""
        modes = [(module, module.training) for module in self.network.modules()]
        with ExitStack() as undo:
            for module, training in modes:
                if training:
                    undo.callback(setattr, module, "training", training)
            self.network.eval()
            for module, attribute, value in self._settings():
                undo.callback(setattr, module, attribute, getattr(module, attribute))
                setattr(module, attribute, value)
            if self._autocast is not None:
                for module in _full_precision_outputs(self.network):
                    undo.callback(module.register_forward_hook(_to_float32).remove)
                dtype = _AUTOCAST[self._autocast]
                undo.enter_context(torch.autocast(_device_of(self.network).type, dtype=dtype))
            yield

    @contextmanager
    def _sized(self) -> Iterator[None]:
        """The model with the sizes of pictures that were asked for; afterwards with its own."""
        transform: Any = self.network.transform
        with ExitStack() as undo:
            for attribute, value in self._sizes.items():
                undo.callback(setattr, transform, attribute, getattr(transform, attribute))
                setattr(transform, attribute, value)
            yield

    def _settings(self) -> Iterator[tuple[Any, str, Any]]:
        """What is set for the time of a detect: module, attribute, value."""
        model: Any = self.network
        final = _final_stage(model)
        yield final, "score_thresh", self.info.min_score
        yield final, "detections_per_img", sys.maxsize  # none is dropped for its score's rank
        if self.info.before_nms:
            yield final, "nms_thresh", max(final.nms_thresh, LOOSE_NMS_IOU)
        if _is_rcnn(model):
            if self.info.before_nms:
                yield model.rpn, "score_thresh", min(model.rpn.score_thresh, self.info.min_score)
            for part in ("mask_roi_pool", "keypoint_roi_pool"):  # boxes only: spares their heads
                if getattr(final, part, None) is not None:
                    yield final, part, None
        for attribute, value in self._sizes.items():
            yield model.transform, attribute, value

    def _read(self, result: Mapping[str, Tensor]) -> Proposals:
        labels = result["labels"] - self.first_label
        kept = labels >= 0
        proposals = drop_unusable(
            self.info.name,
            result["boxes"][kept].float(),
            result["scores"][kept].float(),
            labels[kept],
        )
        check_labels(proposals.labels, self.info)
        return proposals


def load(
    rest: str | nn.Module,
    *,
    weights: str | Path | None = "DEFAULT",
    builder: str | None = None,
    class_names: Sequence[str] | None = None,
    device: str | torch.device = "auto",
    min_score: float | None = None,
    autocast: str | None = None,
    channels_last: bool = False,
    min_size: int | None = None,
    max_size: int | None = None,
    new_head: bool = False,
) -> TorchvisionDetector:
    """A torchvision detector from a builder's name, a file of weights, or a model.

    Args:
        rest: a builder of ``torchvision.models.detection``, a path to weights, or a model.
        weights: for a builder: ``"DEFAULT"`` or another name of torchvision's weights (downloaded
            once), a path, or None for a random network.
        builder: for a path: the builder that the weights are of, where the file does not tell.
        class_names: see :class:`TorchvisionDetector`; a random network gets as many classes.
        device: ``"auto"`` is CUDA where available, else the CPU; a given model stays where it is.
        min_score: lowest score to report; 0.01 by default.
        autocast: see :class:`TorchvisionDetector`.
        channels_last: keep the weights in that memory format, faster on some GPUs.
        min_size: see :class:`TorchvisionDetector`.
        max_size: see :class:`TorchvisionDetector`.
        new_head: to train a network for other classes than its weights are of: the layers whose
            size depends on the number of classes begin at random, for ``class_names`` or one face.

    Raises:
        UnknownNameError: if torchvision has no such builder.
        CheckpointError: if weights cannot be downloaded or read, or are of another network.
        InputError: on options that contradict one another.
    """
    options: dict[str, Any] = {
        "class_names": class_names,
        "min_score": min_score,
        "autocast": autocast,
        "min_size": min_size,
        "max_size": max_size,
    }
    if isinstance(rest, nn.Module):
        if weights != "DEFAULT" or builder is not None or channels_last or new_head:
            raise InputError("a given model takes no weights, builder, channels_last or new_head")
        if device != "auto" and pick_device(device).type != _device_of(rest).type:
            raise InputError(
                f"device: the given model is on {_device_of(rest)}; wanted device='auto', got "
                f"{device!r}; move it first with model.to({device!r})"
            )
        return TorchvisionDetector(rest, **options)

    target = pick_device(device)
    if Path(rest).suffix.lower() in _SUFFIXES:
        if weights != "DEFAULT":
            raise InputError(f"weights: wanted none beside the file {rest}, got {weights!r}")
        model, stated, builder = _from_file(Path(rest), builder)
        name = named_by_content(rest)
    else:
        if builder not in (None, rest):
            raise InputError(f"builder: wanted {rest!r} or nothing, got {builder!r}")
        name, stated = f"torchvision/{check_builder(rest)}", {}
        if weights is None:
            name += " (random weights)"
            stated = {"class_names": _without_background(class_names or ("face",))}
            model = build(rest, len(stated["class_names"]) + 1)
        elif str(weights) in (published := published_weights(rest)):
            stated = {"class_names": published[str(weights)].meta["categories"][1:]}
            model = download(rest, str(weights))
        else:
            model, stated, _ = _from_file(Path(weights), rest)
            name += f" ({named_by_content(weights)})"
    made = builder if Path(rest).suffix.lower() in _SUFFIXES else rest
    if new_head:
        name += " (new head)"
        stated["class_names"] = _without_background(class_names or ("face",))
        replace_head(model, build(made or rest, len(stated["class_names"]) + 1))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    given = {key: value for key, value in options.items() if value is not None}
    network = model.eval().to(target)
    return TorchvisionDetector(network, name=name, builder=made, **(stated | given))


def save_checkpoint(
    path: Path | str,
    model: nn.Module,
    builder: str,
    class_names: Sequence[str],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Save a model so that ``load_detector(path)`` builds it again with nothing more said.

    Beside the weights the file holds the builder, the class names, and what a state dict leaves
    out: the size that pictures are resized to, and the epsilon of the normalisation layers (0 in
    models that started from some of torchvision's weights, 1e-5 otherwise). Thresholds are not
    kept: a detector has its own score floor, and the builder's suppression.

    Args:
        path: ends in ``.safetensors``; an existing file is replaced in one step.
        model: what that builder makes, with other weights.
        builder: name in ``torchvision.models.detection``.
        class_names: of the foreground classes.
        about: further JSON values, such as what it was trained on.

    Raises:
        UnknownNameError: if torchvision has no such builder.
        CheckpointError: if the model is not of that builder, or the path has another suffix.
        InputError: if the class names do not fit the model.
    """
    state = model.state_dict()
    check_fit(state, check_builder(builder))
    stated: dict[str, Any] = {
        **(about or {}),
        "builder": builder,
        "class_names": _name_classes(model, class_names)[0],
        "epsilon": {
            name: float(module.eps)
            for name, module in model.named_modules()
            if isinstance(getattr(module, "eps", None), (int, float))
        },
    }
    transform: Any = model.transform
    if transform.fixed_size is None:
        stated |= {"min_size": transform.min_size[-1], "max_size": transform.max_size}
    write_checkpoint(path, state, stated)


def _from_file(path: Path, builder: str | None) -> tuple[nn.Module, dict[str, Any], str]:
    """A model with the weights of a file, the detector's options that it states, the builder."""
    checkpoint = read_checkpoint(path)
    used = ("builder", "class_names", "epsilon", "min_size", "max_size")
    stated = {key: checkpoint.about[key] for key in used if key in checkpoint.about}
    epsilon = stated.pop("epsilon", {})
    stated_builder = stated.pop("builder", None)
    weights = checkpoint.state_dict
    if "detector" in checkpoint.about:
        raise CheckpointError(
            f"{path} holds weights of {checkpoint.about['detector']}, wanted those of "
            f"torchvision's {builder or 'detectors'}; give the path alone as the detector"
        )
    if stated_builder is not None and stated_builder not in builders():
        raise CheckpointError(
            f"{path} holds weights of {stated_builder}, which is no torchvision builder; try "
            f"load_detector({stated_builder!r}, weights={str(path)!r})"
        )
    try:
        builder = check_builder(builder or stated_builder or recognise(weights))
        model = build(builder, check_fit(weights, builder))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    model.load_state_dict(weights)
    for name, module in model.named_modules():
        if name in epsilon:
            module.eps = epsilon[name]
    categories = published_weights(builder)["DEFAULT"].meta["categories"]
    if len(categories) > 2 and len(categories) == count_outputs(weights):  # one of torchvision's
        stated.setdefault("class_names", categories[1:])
    return model, stated, builder


def _is_detector(module: nn.Module) -> bool:
    from torchvision.models import detection

    kinds = (detection.RetinaNet, detection.FCOS, detection.ssd.SSD)
    return isinstance(module, kinds) or _is_rcnn(module)


def _is_rcnn(model: nn.Module) -> bool:
    from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

    return isinstance(model, GeneralizedRCNN)


def _final_stage(model: Any) -> Any:
    """The part that holds the thresholds of what is reported."""
    return model.roi_heads if _is_rcnn(model) else model


def _name_classes(
    model: nn.Module, class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], int]:
    """Foreground class names, and which of the model's labels is the first of them."""
    from torchvision.models.detection import FCOS, RetinaNet

    n_outputs = count_outputs(model.state_dict())
    every_output_may_count = isinstance(model, (FCOS, RetinaNet))
    if class_names is None:
        if n_outputs is None:
            raise InputError("class_names: this model's head is not torchvision's own; give them")
        if n_outputs == 1 and every_output_may_count:
            return ("face",), 0
        if n_outputs == 2:
            return ("face",), 1
        return tuple(f"class {label}" for label in range(1, n_outputs)), 1
    names = _without_background(class_names)
    if not names:
        raise InputError("class_names: wanted at least one, got none")
    if n_outputs is not None and len(names) != n_outputs - 1:
        if every_output_may_count and len(names) == n_outputs:
            return names, 0
        raise InputError(
            f"class_names: wanted {n_outputs - 1}, one a foreground class of the model, got "
            f"{len(names)}: {', '.join(names[:5])}"
        )
    return names, 1


def _without_background(class_names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(class_names, str):
        raise InputError(f"class_names: wanted a list of names, got the string {class_names!r}")
    names = tuple(class_names)
    return names[1:] if names[:1] == ("__background__",) else names


def _check_sizes(model: Any, min_size: int | None, max_size: int | None) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for name, value in (("min_size", min_size), ("max_size", max_size)):
        if value is None:
            continue
        if model.transform.fixed_size is not None:
            width, height = model.transform.fixed_size
            raise InputError(f"{name}: this model resizes every picture to {width} x {height}")
        if value < 1:
            raise InputError(f"{name}: wanted a number of pixels of at least 1, got {value}")
        sizes[name] = (value,) if name == "min_size" else value
    return sizes


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _lock_of(model: nn.Module) -> threading.Lock:
    with _LOCKS_GUARD:
        return _LOCKS.setdefault(model, threading.Lock())


def _children(name: str, parent: Any) -> tuple[str, ...]:
    """Full names of a module's children; none of None."""
    return () if parent is None else tuple(f"{name}.{n}" for n, _ in parent.named_children())


@contextmanager
def _resized(model: Any) -> Iterator[list[tuple[float, float]]]:
    """Height and width of the padded input of every batch, in pixels of its first picture."""
    extents: list[tuple[float, float]] = []

    def keep(_module: nn.Module, inputs: tuple[Any, ...], output: tuple[Any, Any]) -> None:
        sizes = inputs[0][0].shape[-2:], output[0].image_sizes[0], output[0].tensors.shape[-2:]
        height, width = (padded * size / used for size, used, padded in zip(*sizes, strict=True))
        extents.append((height, width))

    handle = model.transform.register_forward_hook(keep)
    try:
        yield extents
    finally:
        handle.remove()


def _full_precision_outputs(model: Any) -> tuple[nn.Module, ...]:
    """The parts whose outputs become boxes: below float32, a box at 1000 px is off by pixels."""
    if _is_rcnn(model):
        return (model.rpn.head, model.roi_heads.box_predictor)
    return (model.head,)


def _to_float32(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, Mapping):
        return type(output)((k, _to_float32(_module, None, v)) for k, v in output.items())  # type: ignore[call-arg]
    return type(output)(_to_float32(_module, None, value) for value in output)


source = DetectorSource(
    name="torchvision",
    summary="torchvision's detectors: published weights, your checkpoint, or your model",
    load=load,
    examples=(
        "torchvision/fasterrcnn_resnet50_fpn",
        "torchvision/fasterrcnn_resnet50_fpn_v2",
        "torchvision/fasterrcnn_mobilenet_v3_large_fpn",
        "torchvision/fasterrcnn_mobilenet_v3_large_320_fpn",
        "torchvision/retinanet_resnet50_fpn",
        "torchvision/retinanet_resnet50_fpn_v2",
        "torchvision/fcos_resnet50_fpn",
        "torchvision/ssd300_vgg16",
        "torchvision/ssdlite320_mobilenet_v3_large",
    ),
    suffixes=_SUFFIXES,
    wraps=_is_detector,
)

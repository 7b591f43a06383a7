"""What is changed in a torchvision model while it detects; afterwards it is as before."""

import math
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import InputError
from chiaroscuro.detectors.commons.networks import device_of, reads_all_places
from chiaroscuro.detectors.commons.rows import LOOSE_NMS_IOU
from chiaroscuro.detectors.protocol import DetectorInfo

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
AS_IT_IS = (0,)  # min_size of a transform that does not resize
_LOCKS: WeakKeyDictionary[nn.Module, threading.Lock] = WeakKeyDictionary()
_LOCKS_GUARD = threading.Lock()


@contextmanager
def detecting(
    model: nn.Module, info: DetectorInfo, sizes: Mapping[str, Any], autocast: str | None = None
) -> Iterator[None]:
    """The model set up to detect, for one thread at a time."""
    with _LOCKS_GUARD:
        lock = _LOCKS.setdefault(model, threading.Lock())
    with lock, ExitStack() as undo:
        for module in model.modules():
            if module.training:
                undo.callback(setattr, module, "training", True)
        model.eval()
        for module, attribute, value in _settings(model, info):
            undo.callback(setattr, module, attribute, getattr(module, attribute))
            setattr(module, attribute, value)
        undo.enter_context(resizing(model, sizes))
        if autocast is not None:
            for module in _full_precision_outputs(model):
                undo.callback(module.register_forward_hook(_to_float32).remove)
            undo.enter_context(torch.autocast(device_of(model).type, dtype=AUTOCAST[autocast]))
        yield


@contextmanager
def resizing(model: Any, sizes: Mapping[str, Any]) -> Iterator[None]:
    """The model with other sizes of pictures."""
    with ExitStack() as undo:
        for attribute, value in sizes.items():
            undo.callback(setattr, model.transform, attribute, getattr(model.transform, attribute))
            setattr(model.transform, attribute, value)
        yield


@contextmanager
def padded_sizes(model: Any) -> Iterator[list[tuple[float, float]]]:
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


def network_stride(model: Any) -> float:
    """Pixels of the network's input, to multiples of which the model pads it."""
    return float(model.transform.size_divisible)


def resize_factors(
    model: Any, sizes: Mapping[str, Any], picture: tuple[int, int]
) -> tuple[float, float] | None:
    """By which a model with these ``sizes`` multiplies height and width of such a picture.

    torchvision resizes by one factor and cuts the result to whole pixels, so the two may differ.
    None where it resizes every picture to one size, or none at all.
    """
    if model.transform.fixed_size is not None:
        return None
    if tuple(sizes.get("min_size", model.transform.min_size)) == AS_IT_IS:
        return None
    shortest = sizes.get("min_size", model.transform.min_size)[-1]
    longest = sizes.get("max_size", model.transform.max_size)
    factor = min(shortest / min(picture), longest / max(picture))
    height, width = (max(1, math.floor(side * factor)) / side for side in picture)
    return height, width


def sees_parts(model: Any) -> bool | None:
    """``DetectorInfo.any_size`` of a model: true where no layer reads all places; None if unknown.

    MobileNet backbones pool over the picture, and the heads of FCOS and of the second RetinaNet
    normalise by its statistics.
    """
    from torchvision.models.detection import FCOS, RetinaNet

    if model.transform.fixed_size is not None:
        return False
    known = is_rcnn(model) or isinstance(model, (FCOS, RetinaNet))
    return True if known and not reads_all_places(model) else None


def is_rcnn(model: nn.Module) -> bool:
    """Whether the model is a Faster, Mask or Keypoint R-CNN."""
    from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

    return isinstance(model, GeneralizedRCNN)


def checked_sizes(model: Any, min_size: int | None, max_size: int | None) -> dict[str, Any]:
    """The sizes that replace the model's own, by attribute of its ``transform``."""
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


def _settings(model: Any, info: DetectorInfo) -> Iterator[tuple[Any, str, Any]]:
    """Settings while detecting: module, attribute, value."""
    final = model.roi_heads if is_rcnn(model) else model
    yield final, "score_thresh", info.min_score
    yield final, "detections_per_img", sys.maxsize  # no detection is dropped for its rank
    if info.before_nms:
        yield final, "nms_thresh", max(final.nms_thresh, LOOSE_NMS_IOU)
    if is_rcnn(model):
        if info.before_nms:
            yield model.rpn, "score_thresh", min(model.rpn.score_thresh, info.min_score)
        for part in ("mask_roi_pool", "keypoint_roi_pool"):  # only boxes: their heads do not run
            if getattr(final, part, None) is not None:
                yield final, part, None


def _full_precision_outputs(model: Any) -> tuple[nn.Module, ...]:
    """The parts whose outputs become boxes: below float32, a box at 1000 px is off by pixels."""
    if is_rcnn(model):
        return (model.rpn.head, model.roi_heads.box_predictor)
    return (model.head,)


def _to_float32(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, Mapping):
        return type(output)((k, _to_float32(_module, None, v)) for k, v in output.items())  # type: ignore[call-arg]
    return type(output)(_to_float32(_module, None, value) for value in output)

"""A torchvision detection model as a detector.

While a model detects, it runs in evaluation mode with a low score floor and without a limit of
detections; afterwards it is as before.

Labels: torchvision counts the background as class 0. Here labels count from 0 without it, and
``class_names`` leaves it out.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import CheckpointError, InputError
from chiaroscuro.core.records import Proposals, Truth
from chiaroscuro.detectors.adapters.torchvision.checkpoints import save_checkpoint
from chiaroscuro.detectors.adapters.torchvision.fitting import name_classes
from chiaroscuro.detectors.adapters.torchvision.ignoring import ignoring
from chiaroscuro.detectors.adapters.torchvision.settings import (
    AUTOCAST,
    checked_sizes,
    detecting,
    network_stride,
    padded_sizes,
    resize_factors,
    resizing,
    sees_parts,
)
from chiaroscuro.detectors.commons.networks import device_of
from chiaroscuro.detectors.commons.options import score_floor
from chiaroscuro.detectors.commons.rows import Rows, to_proposals, unsuppressed_copy
from chiaroscuro.detectors.protocol import DetectorInfo, RawProposals, as_unit_floats


class TorchvisionDetector:
    """A torchvision detection model as a detector.

    ``detect`` keeps the model's own non-maximum suppression, and reports every box that it keeps,
    without the model's limit per picture. Threads that share a model take turns.

    Args:
        model: an R-CNN, RetinaNet, FCOS or SSD of torchvision. It stays on its device, and
            ``detect`` leaves it unchanged: training mode, thresholds, limits.
        name: its name in results; the model's class by default.
        class_names: of the foreground classes in the model's order; ``("face",)`` by default where
            there is one, else ``class 1``, ``class 2`` ... RetinaNet and FCOS may be trained
            without a background class: then give as many names as the model has outputs.
        min_score: lowest score to report, in [0, 1); 0.01 by default.
        autocast: ``"bf16"`` or ``"fp16"`` computes the network in that precision; boxes and scores
            are still computed in float32.
        min_size: the shorter side that pictures are resized to, in pixels, in place of the model's.
        max_size: the limit of the longer side, in pixels, in place of the model's.
        builder: of the model, where it is known; needed to save it after training.

    Attributes:
        network: the model.
        builder: as given.
        feature_layers: layers that the class scores are read from; none where the architecture is
            unknown.
        excitation_layer: of stride 4, where excitation backprop stops; empty if none is known.
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
        if autocast is not None and autocast not in AUTOCAST:
            raise InputError(f"autocast: wanted bf16, fp16 or None, got {autocast!r}")
        self.network, self.builder = model, builder
        self.feature_layers = feature_layers(model)
        self.excitation_layer = excitation_layer(model)
        self._autocast = autocast
        self._sizes = checked_sizes(model, min_size, max_size)
        self._factors: tuple[float, float] | None = None  # of height and width, for parts
        names, self.first_label = name_classes(model, class_names)
        self.info = DetectorInfo(
            name=name or type(model).__name__,
            class_names=names,
            min_score=score_floor(min_score, 0.01),
            device=str(device_of(model)),
            stride=network_stride(model),
            any_size=sees_parts(model),
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """Detect in a batch; see :class:`~chiaroscuro.Detector`.

        Rows with NaN, infinite or inverted boxes are dropped with a warning that counts them.
        """
        batch = as_unit_floats(images.detach()).to(device_of(self.network))
        if len(batch) == 0:
            return []
        with self._detecting(batch, self._autocast), torch.no_grad():
            results = self.network(list(batch))
        return [
            to_proposals(Rows(*self._foreground(result)), self.info, nms_iou=None)
            for result in results
        ]

    def propose(self, images: Tensor) -> list[RawProposals]:
        """The boxes of ``without_nms``, with gradients; see ``Differentiable``.

        In full precision, whatever ``autocast`` is: half precision loses small gradients.
        """
        with self.without_nms()._detecting(images, None), padded_sizes(self.network) as sizes:
            results = self.network(list(images))
        return [RawProposals(*self._foreground(result), sizes[-1]) for result in results]

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> Mapping[str, Tensor]:
        """The model's own losses in training mode, on pictures resized as in ``detect``.

        Boxes to ignore are neither objects nor background; see ``ignoring``.
        """
        targets = [
            {
                "boxes": one.boxes[~one.ignore].to(images),
                "labels": one.labels[~one.ignore].to(images.device) + self.first_label,
            }
            for one in truth
        ]
        network: Any = self.network
        ignored = [one.boxes[one.ignore].to(images) for one in truth]
        with resizing(network, self._sizes), ignoring(network, ignored):
            parts: Mapping[str, Tensor] = network(list(images), targets)
        return parts

    def save(self, path: Path | str, about: Mapping[str, Any] | None = None) -> None:
        """Write weights and the sizes they were used at; see ``save_checkpoint``."""
        if self.builder is None:
            raise CheckpointError(
                f"{self.info.name}: its builder is not known, so the file could not be opened "
                "again; load it as torchvision/<builder>, or use save_checkpoint"
            )
        with resizing(self.network, self._sizes):
            save_checkpoint(path, self.network, self.builder, self.info.class_names, about)

    def without_nms(self) -> "TorchvisionDetector":
        """The same model, reporting also what its non-maximum suppression would drop.

        Only boxes that overlap a better one of their class by more than an IoU of 0.9 are dropped,
        and region proposals are kept down to the score floor.
        """
        return unsuppressed_copy(self)

    def for_parts_of(self, height: int, width: int) -> "TorchvisionDetector":
        """The same model for parts of pictures of that size; see ``Resizing``.

        Feature levels coarser than ``info.stride``, for objects above some 256 pixels of the
        network, place their anchors by the size of the input: on them a part is seen differently.
        """
        factors = resize_factors(self.network, self._sizes, (height, width))
        if factors is None:
            return self
        other = copy.copy(self)
        other._factors = factors
        other.info = replace(self.info, stride=network_stride(self.network) * 2 / sum(factors))
        return other

    def _detecting(self, images: Tensor, autocast: str | None) -> AbstractContextManager[None]:
        sizes = self._sizes
        if self._factors is not None:
            sides = zip(images.shape[2:], self._factors, strict=True)
            height, width = (max(1, round(side * factor)) for side, factor in sides)
            sizes = {"fixed_size": (width, height)}
        return detecting(self.network, self.info, sizes, autocast)

    def _foreground(self, result: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, scores and labels that count from 0, without the background."""
        labels = result["labels"] - self.first_label
        kept = labels >= 0
        return result["boxes"][kept].float(), result["scores"][kept].float(), labels[kept]


def feature_layers(network: Any) -> tuple[str, ...]:
    """Layers that the class scores are read from; none where the architecture is unknown."""
    backbone: Any = getattr(network, "backbone", None)
    if isinstance(fpn := getattr(backbone, "fpn", None), nn.Module):
        levels = _children("backbone.fpn.layer_blocks", fpn.layer_blocks)
        return levels + _children("backbone.fpn.extra_blocks", fpn.extra_blocks)
    if isinstance(context := getattr(backbone, "context", None), nn.ModuleList):  # of ``faces``
        return _children("backbone.context", context)
    if isinstance(extra := getattr(backbone, "extra", None), nn.ModuleList):
        first: tuple[str, ...] = ("backbone.features",)
        if all(isinstance(part, nn.Sequential) for part in backbone.features):  # SSDlite
            first = _children("backbone.features", backbone.features)
        return first + _children("backbone.extra", extra)
    return ("backbone",) if isinstance(backbone, nn.Sequential) else ()


def excitation_layer(network: nn.Module) -> str:
    """An early layer, of stride 4, where excitation backprop stops; empty if none is known."""
    names = dict(network.named_modules())
    if "backbone.body.layer1" in names:  # ResNet
        return "backbone.body.layer1"
    if "backbone.body.stage1.2" in names:  # of ``faces``
        return "backbone.body.stage1.2"
    if "backbone.scale_weight" in dict(network.named_parameters()):  # VGG
        return "backbone.features.15"
    if "backbone.body.0" in names:  # MobileNet
        return "backbone.body.2"
    return "backbone.features.0" if "backbone.features.0" in names else ""


def _children(name: str, parent: Any) -> tuple[str, ...]:
    """Full names of a module's children; none for None."""
    return () if parent is None else tuple(f"{name}.{n}" for n, _ in parent.named_children())

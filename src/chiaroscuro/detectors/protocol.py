"""What a detector is: two members, small enough to write in five lines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import DetectorOutputError, ImageError, InputError
from chiaroscuro.core.records import Proposals, Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorInfo:
    """What a detector states about itself.

    Attributes:
        name: its name in results.
        class_names: by label. One name means a one-class detector, whose class agreement is plain
            equality of labels.
        min_score: the lowest score in [0, 1] that it reports.
        before_nms: whether its proposals are those before non-maximum suppression.
        device: where it runs, as torch spells it: ``"cpu"``, ``"cuda:0"``.
        stride: pixels of the picture. Corners of a part should be multiples of it, so that the
            network's grid falls on the same pixels as in the whole picture. Where pictures are
            resized, this holds for the detector that ``parts_detector`` returns; before, these are
            pixels of the network's input.
        any_size: whether a part is seen as it is seen inside the whole picture. True: pictures of
            any size keep their own scale, or the detector is ``Resizing``, and what it reports
            depends on a limited surrounding. False: every picture is resized to one size, or every
            place depends on the whole picture. None: not known, to be tried.
    """

    name: str
    class_names: tuple[str, ...] = ("face",)
    min_score: float = 0.0
    before_nms: bool = False
    device: str = "cpu"
    stride: float = 32.0
    any_size: bool | None = None


@runtime_checkable
class Detector(Protocol):
    """Anything with these two members can be explained; no base class is needed.

    A detector that runs a torch network has it as ``network``, for what needs weights or gradients.
    The other protocols of this module declare what a detector may offer beyond that.
    """

    @property
    def info(self) -> DetectorInfo:
        """Name, classes, score floor, device."""
        ...

    def detect(self, images: Tensor) -> Sequence[Proposals]:
        """Detect objects in a batch.

        Args:
            images: ``n 3 height width``, RGB, uint8 in [0, 255] or float32 in [0, 1], on any
                device. It must not be changed.

        Returns:
            One ``Proposals`` per image, in order, boxes in the pixels of that input; empty where
            nothing is found. Proposals reach down to ``info.min_score``.
        """
        ...


@runtime_checkable
class Suppressing(Detector, Protocol):
    """A detector that can leave its non-maximum suppression out; see ``unsuppressed``."""

    def without_nms(self) -> Detector:
        """The same network, reporting also what its suppression would drop.

        Its ``info.before_nms`` is true. ``observe`` uses it, so that weak evidence under a
        stronger neighbour is not lost.
        """
        ...


@runtime_checkable
class Resizing(Detector, Protocol):
    """A detector that resizes pictures, and can keep the whole's scale; see ``parts_detector``."""

    def for_parts_of(self, height: int, width: int) -> Detector:
        """The same network for parts of pictures of that size.

        A part is resized by the factor by which the whole picture is, and ``info.stride`` is in
        pixels of the picture. Where every picture is resized to one size, the detector itself.
        """
        ...


@runtime_checkable
class TorchConvertible(Detector, Protocol):
    """A detector that runs elsewhere and also has a form in torch; see ``torch_form``."""

    def in_torch(self) -> Detector:
        """The same detector with ``network``; methods that need gradients use it."""
        ...


@runtime_checkable
class Trainable(Detector, Protocol):
    """A detector that can be trained has three more members."""

    @property
    def network(self) -> nn.Module:
        """The torch network; training changes it in place."""
        ...

    def losses(self, images: Tensor, truth: Sequence[Truth]) -> Mapping[str, Tensor]:
        """Parts of the loss, whose sum is to be minimised, with gradients.

        Args:
            images: ``n 3 height width``, float32 in [0, 1], on the network's device.
            truth: the annotations of every picture, in its pixels. Boxes to ignore are neither
                positives nor negatives.
        """
        ...

    def save(self, path: Path | str, about: Mapping[str, Any] | None = None) -> None:
        """Write the weights as a checkpoint that ``load_detector`` opens by its path.

        Args:
            path: ends in ``.safetensors``.
            about: JSON values to keep with them.
        """
        ...


class RawProposals(NamedTuple):
    """What a network reports for one picture before its suppression, with gradients.

    Attributes:
        boxes: ``n 4``, x1 y1 x2 y2 in pixels of the picture.
        scores: ``n``, in [0, 1].
        labels: ``n``, int64.
        extent: height and width, in pixels of the picture, of the network's input: more than the
            picture's own where it is padded below and to the right.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    extent: tuple[float, float]


@runtime_checkable
class Differentiable(Detector, Protocol):
    """A detector that gradient and activation methods can explain has three more members."""

    @property
    def network(self) -> nn.Module:
        """The torch network."""
        ...

    @property
    def feature_layers(self) -> tuple[str, ...]:
        """Modules whose outputs the detector's heads read, by name: one per scale.

        Their outputs are ``n channels h w``; each proposal comes from one of them. Where the last
        layer of the class head reads others, a detector may name those as ``class_layers``.
        """
        ...

    def propose(self, images: Tensor) -> Sequence[RawProposals]:
        """As ``detect``, before suppression and with gradients with respect to ``images``.

        Args:
            images: ``n 3 height width``, float32 in [0, 1], on the network's device.
        """
        ...


@runtime_checkable
class Attentive(Detector, Protocol):
    """A detector whose queries attend to the picture has one more member."""

    def attend(self, image: Tensor) -> tuple[Proposals, Callable[[int], Tensor]]:
        """Proposals for a picture, and the attention of the query behind each.

        Args:
            image: ``3 height width``, uint8 or float32 in [0, 1].

        Returns:
            Proposals as ``detect`` reports them, and a function from the number of one of them to
            ``height width``, float32: attention per cell of the network's features, mean over the
            heads of the last decoder layer, enlarged to the picture's size.

        Raises:
            UnsupportedMethodError: if this model has no such attention.
        """
        ...


def checked_detect(detector: Detector, images: Tensor) -> list[Proposals]:
    """Detect, and check that there is one ``Proposals`` per image."""
    results: object = detector.detect(images)
    name = detector.info.name
    if not isinstance(results, (list, tuple)):
        raise DetectorOutputError(
            f"detector {name}: wanted a list of {len(images)} Proposals, one an image, "
            f"got {type(results).__name__}"
        )
    if len(results) != len(images):
        raise DetectorOutputError(
            f"detector {name}: wanted {len(images)} results, one an image, got {len(results)}"
        )
    for result in results:
        if not isinstance(result, Proposals):
            raise DetectorOutputError(
                f"detector {name}: wanted Proposals for every image, got {type(result).__name__}"
            )
        check_labels(result.labels, detector.info)
    return list(results)


def check_labels(labels: Tensor, info: DetectorInfo) -> None:
    """Check that each label, of whole numbers ``n``, has a class name."""
    if not len(labels):
        return
    lowest, highest = int(labels.min()), int(labels.max())
    n_names = len(info.class_names)
    if lowest >= 0 and highest < n_names:
        return
    bad = lowest if lowest < 0 else highest
    known = ", ".join(f"{i} {name}" for i, name in enumerate(info.class_names[:5]))
    more = ", ..." if n_names > 5 else ""
    raise DetectorOutputError(
        f"detector {info.name}: label {bad} has no class name; the names are: {known}{more}. "
        "Labels count from 0. Give every label a name, such as class_names=['background', 'face'] "
        """where 0 is the background (-O 'class_names=["background", "face"]'), or return other """
        "labels"
    )


def unsuppressed(detector: Detector) -> Detector:
    """The detector without its non-maximum suppression, where it offers that; else unchanged."""
    return detector.without_nms() if isinstance(detector, Suppressing) else detector


def parts_detector(detector: Detector, height: int, width: int) -> Detector:
    """The detector for parts of pictures of that size, where it resizes them; else unchanged."""
    return detector.for_parts_of(height, width) if isinstance(detector, Resizing) else detector


def torch_form(detector: Detector) -> Detector:
    """The detector with its torch network, where it has that form; else unchanged."""
    if hasattr(detector, "network") or not isinstance(detector, TorchConvertible):
        return detector
    return detector.in_torch()


def torch_network(detector: Detector) -> nn.Module:
    """The torch network behind a detector; a black box is an InputError."""
    network: object = getattr(torch_form(detector), "network", None)
    if not isinstance(network, nn.Module):
        raise InputError(
            f"detector {detector.info.name} is a black box here: it has no torch network whose "
            "weights could be read"
        )
    return network


def as_unit_floats(images: Tensor) -> Tensor:
    """A batch as float32 in [0, 1]; float32 is returned unchanged, without a copy."""
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ImageError(
            f"images: wanted shape (n, 3, height, width), got {tuple(images.shape)}; "
            "a single picture needs image[None]"
        )
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(255)
    if not images.is_floating_point():
        raise ImageError(f"images: wanted uint8 or float32 in [0, 1], got {images.dtype}")
    return images.to(torch.float32)

"""A plain function, or a bare torch module, as a detector."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import ChiaroscuroError, DetectorOutputError
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.adapters.function.formats import (
    suspicion,
    suspicion_mirrored,
    undecided,
)
from chiaroscuro.detectors.adapters.function.reported import Reported, read_detections
from chiaroscuro.detectors.commons.networks import device_of, evaluating, pick_device
from chiaroscuro.detectors.commons.options import (
    checked_names,
    checked_stride,
    flag,
    score_floor,
)
from chiaroscuro.detectors.commons.rows import usable_rows
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats, check_labels


class FunctionDetector:
    """A function as a detector.

    The function gets a float32 CPU tensor ``n 3 height width``, RGB in [0, 1], and returns one
    result per image, each of them one of

    - an array ``n 5`` (x1 y1 x2 y2 score) or ``n 6`` (and label); an empty array or list for
      nothing found;
    - a dict of torchvision's form: ``boxes``, ``scores``, ``labels``;
    - a ``supervision.Detections``;
    - :class:`~chiaroscuro.Proposals`.

    Arrays are NumPy's, torch's of any float type, or lists. Labels are whole numbers, each with a
    class name. Rows with NaN or infinity are dropped with a warning that counts them.

    Boxes in another format (x y width height, normalised, far outside the picture) are refused.
    Where the first boxes could be in either format, as in the upper left of a picture, that picture
    is passed to the function once more, mirrored.

    Args:
        function: as above.
        name: its name in results; the function's own name by default.
        class_names: by label.
        min_score: the lowest score that is reported.
        device: accepted for uniformity; the function chooses its own device.
        stride: see :class:`~chiaroscuro.DetectorInfo`.
        any_size: see :class:`~chiaroscuro.DetectorInfo`; True lets parts of a picture be passed to
            the function in place of the whole.

    Raises:
        InputError: on an option that cannot be used.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        *,
        name: str | None = None,
        class_names: Sequence[str] = ("face",),
        min_score: float | None = None,
        device: str = "auto",
        stride: float | int = 32.0,
        any_size: bool | str | None = None,
    ) -> None:
        self._function = function
        self._format_known = self._mirrored = False
        module = getattr(function, "__module__", "")
        default = f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"
        self.info = DetectorInfo(
            name=name or default,
            class_names=checked_names(class_names),
            min_score=score_floor(min_score, 0.0),
            stride=checked_stride(stride),
            any_size=flag("any_size", any_size),
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """Call the function and read its results; see the class.

        Raises:
            DetectorOutputError: if they cannot be read as detections.
        """
        if not len(images):
            return []
        batch = self._prepared(images)
        found = self._read(self._function(batch), len(batch))
        if not self._format_known:
            self._check_format(self._prepared(images), found)
        return [self._proposals(one) for one in found]

    def _prepared(self, images: Tensor) -> Tensor:
        """The function's input: a copy, since a function may write to it."""
        batch = as_unit_floats(images.detach()).cpu()
        return batch.clone() if batch.data_ptr() == images.data_ptr() else batch

    def _read(self, results: Any, n: int) -> list[Reported]:
        """One entry per image of the function's results for ``n`` images."""
        alone = isinstance(results, (Mapping, Proposals)) or hasattr(results, "xyxy")
        if alone and n == 1:
            results = [results]
        try:
            count = len(results)
        except TypeError:
            count = None
        if count != n or (alone and n != 1):
            got = type(results).__name__ if count is None else f"{count} ({type(results).__name__})"
            raise DetectorOutputError(
                f"detector {self.info.name}: wanted {n} results, one per image, got {got}"
            )
        return [self._reported(result) for result in results]

    def _reported(self, result: Any) -> Reported:
        if isinstance(result, Proposals):
            result = result.to("cpu")
            return Reported(result.boxes, result.scores, result.labels, result)
        try:
            return read_detections(result)
        except DetectorOutputError as error:
            raise DetectorOutputError(f"detector {self.info.name}: {error}") from error

    def _proposals(self, found: Reported) -> Proposals:
        name, labels = self.info.name, found.labels
        if labels is not None and torch.equal(labels, labels.round()):  # else refused below
            check_labels(labels, self.info)
        try:
            proposals = found.proposals or self._usable(found)
        except DetectorOutputError:
            raise
        except ChiaroscuroError as error:
            raise DetectorOutputError(f"detector {name}: {error}") from error
        if self.info.min_score > 0 and len(proposals):
            proposals = proposals[proposals.scores >= self.info.min_score]
        return proposals

    def _usable(self, found: Reported) -> Proposals:
        boxes, scores, labels, _ = found
        kept = usable_rows(self.info.name, boxes, scores, labels)
        return Proposals(
            boxes=boxes[kept],
            scores=scores[kept],
            labels=None if labels is None else labels[kept],
        )

    def _check_format(self, batch: Tensor, found: list[Reported]) -> None:
        """Check that boxes are x1 y1 x2 y2 in pixels, until a picture has shown that they are."""
        height, width = batch.shape[2:]
        for image, one in zip(batch, found, strict=True):
            if self._format_known:
                return
            if not bool((one.scores > 0).any()):
                continue
            doubt = suspicion(one.boxes, one.scores, height, width)
            unclear = undecided(one.boxes, one.scores, height, width)
            if doubt is None and unclear and not self._mirrored:
                self._mirrored = True
                (other,) = self._read(self._function(image.flip(-1)[None]), 1)
                doubt = suspicion_mirrored(
                    one.boxes, one.scores, other.boxes, other.scores, (height, width)
                )
            if doubt is not None:
                strongest = " ".join(f"{v:g}" for v in one.boxes[one.scores.argmax()].tolist())
                raise DetectorOutputError(
                    f"detector {self.info.name}: wanted boxes x1 y1 x2 y2 in pixels of the "
                    f"picture, got {strongest}, which {doubt}"
                )
            self._format_known = not unclear


class ModuleDetector(FunctionDetector):
    """A torch module whose results are those of a function, as a detector.

    It runs where its parameters are, in evaluation mode and without gradients; afterwards every
    part of it is in its earlier mode. Where the module has ``propose`` and ``feature_layers`` (see
    the ``Differentiable`` protocol), so has the detector, and gradient methods can explain it.

    Args:
        module: as the function of :class:`FunctionDetector`.
        device: where to move it; ``"auto"`` leaves it where it is.
        options: of :class:`FunctionDetector`.

    Attributes:
        network: the module, shared.
    """

    def __init__(self, module: nn.Module, *, device: str = "auto", **options: Any) -> None:
        options.setdefault("name", type(module).__name__)
        super().__init__(self._run, **options)
        if device != "auto":
            module = module.to(pick_device(device))
        self.network = module
        for member in ("propose", "feature_layers"):
            if hasattr(module, member):
                setattr(self, member, getattr(module, member))
        self.info = replace(self.info, device=str(device_of(module)))

    def _prepared(self, images: Tensor) -> Tensor:
        return as_unit_floats(images.detach()).to(device_of(self.network), copy=True)

    def _run(self, batch: Tensor) -> Any:
        with evaluating(self.network):
            return self.network(batch)

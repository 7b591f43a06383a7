"""A plain function, or a bare torch module, as a detector."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from chiaroscuro.core.errors import ChiaroscuroError, DetectorOutputError, InputError
from chiaroscuro.core.records import Proposals, plain_array
from chiaroscuro.detectors.box_formats import suspicion, suspicion_mirrored, undecided
from chiaroscuro.detectors.protocol import DetectorInfo, as_unit_floats, check_labels
from chiaroscuro.detectors.torch_modules import evaluating, pick_device

_HOW_TO = "docs/how-to/my-own-detector.md"


class FunctionDetector:
    """Makes a detector of a function.

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
        name: what results call it; the function's own name by default.
        class_names: by label.
        min_score: proposals below it are dropped.
        device: accepted for uniformity; the function minds its own device.

    Raises:
        InputError: on class names or a lowest score that cannot be used.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        *,
        name: str | None = None,
        class_names: Sequence[str] = ("face",),
        min_score: float | None = None,
        device: str = "auto",
    ) -> None:
        self._function = function
        self._format_known = self._mirrored = False
        module = getattr(function, "__module__", "")
        default = f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"
        self.info = DetectorInfo(
            name=name or default,
            class_names=_checked_names(class_names),
            min_score=_checked_floor(min_score),
        )

    def detect(self, images: Tensor) -> list[Proposals]:
        """Call the function and read what it returned; see the class.

        Raises:
            DetectorOutputError: if that cannot be read as detections.
        """
        if not len(images):
            return []
        batch = self._prepared(images)
        found = self._read(self._function(batch), len(batch))
        if not self._format_known:
            self._check_format(self._prepared(images), found)
        return [self._proposals(one) for one in found]

    def _prepared(self, images: Tensor) -> Tensor:
        """The batch that the function gets: a copy, since a function may write to its input."""
        batch = as_unit_floats(images.detach()).cpu()
        return batch.clone() if batch.data_ptr() == images.data_ptr() else batch

    def _read(self, results: Any, n: int) -> "list[Reported]":
        """One entry per image of what the function returned for ``n`` of them."""
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
                f"detector {self.info.name}: wanted {n} results, one an image, got {got}"
            )
        return [self._reported(result) for result in results]

    def _reported(self, result: Any) -> "Reported":
        if isinstance(result, Proposals):
            result = result.to("cpu")
            return Reported(result.boxes, result.scores, result.labels, result)
        try:
            return read_detections(result)
        except DetectorOutputError as error:
            raise DetectorOutputError(f"detector {self.info.name}: {error}") from error

    def _proposals(self, found: "Reported") -> Proposals:
        name, labels = self.info.name, found.labels
        if labels is not None and torch.equal(labels, labels.round()):  # else refused below
            check_labels(labels, self.info)
        try:
            proposals = found.proposals or drop_unusable(name, *found[:3])
        except DetectorOutputError:
            raise
        except ChiaroscuroError as error:
            raise DetectorOutputError(f"detector {name}: {error}") from error
        if self.info.min_score > 0 and len(proposals):
            proposals = proposals[proposals.scores >= self.info.min_score]
        return proposals

    def _check_format(self, batch: Tensor, found: "list[Reported]") -> None:
        """Hold the boxes to be x1 y1 x2 y2 in pixels, until a picture has shown that they are.

        Raises:
            DetectorOutputError: naming the format that they look like.
        """
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
                raise DetectorOutputError(
                    f"detector {self.info.name}: wanted boxes x1 y1 x2 y2 in pixels of the "
                    f"picture, got {_numbers(one.boxes[one.scores.argmax()])}, which {doubt}"
                )
            self._format_known = not unclear


class ModuleDetector(FunctionDetector):
    """Makes a detector of a bare torch module that returns what a function would.

    It runs where its parameters are, in evaluation mode and without gradients; afterwards every
    part of it is in the mode it was in. Where the module has ``propose`` and ``feature_layers``
    (see the ``Differentiable`` protocol), so has the detector, and gradient methods can look into
    it.

    Args:
        module: as the function of :class:`FunctionDetector`.
        device: where to put it; ``"auto"`` leaves it where it is.
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
        info = self.info
        self.info = DetectorInfo(
            name=info.name,
            class_names=info.class_names,
            min_score=info.min_score,
            device=str(self._device()),
        )

    def _prepared(self, images: Tensor) -> Tensor:
        return as_unit_floats(images.detach()).to(self._device(), copy=True)

    def _device(self) -> torch.device:
        parameter = next(self.network.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def _run(self, batch: Tensor) -> Any:
        with evaluating(self.network):
            return self.network(batch)


class Reported(NamedTuple):
    """What a function reports for one picture, read as tensors; only shapes are checked.

    Attributes:
        boxes: ``n 4``, float32.
        scores: ``n``, float32.
        labels: ``n``, int64 or floats, or None.
        proposals: the same, where that is what the function returned.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor | None
    proposals: Proposals | None = None


def read_detections(result: Any) -> Reported:
    """One image's detections, in any of the forms that :class:`FunctionDetector` names.

    Raises:
        DetectorOutputError: if it is none of them, or its numbers cannot be boxes and scores.
    """
    if isinstance(result, Mapping):
        missing = {"boxes", "scores"} - set(result)
        if missing:
            raise DetectorOutputError(
                f"wanted a dict with boxes, scores and labels, got {list(result)}"
            )
        return _columns(result["boxes"], result["scores"], result.get("labels"))
    if hasattr(result, "xyxy") and hasattr(result, "confidence"):  # supervision.Detections
        n = len(result.xyxy)
        scores = np.ones(n) if result.confidence is None else result.confidence
        return _columns(result.xyxy, scores, result.class_id)
    wanted = (
        "wanted for each image an array (n, 5) of x1 y1 x2 y2 score, or (n, 6) with a label, a "
        "dict with boxes, scores and labels, supervision.Detections or Proposals"
    )
    if result is None or isinstance(result, (str, bytes)):
        raise DetectorOutputError(f"{wanted}, got {type(result).__name__}")
    try:
        rows = plain_array(result)
    except ValueError as error:  # rows of several lengths, or boxes and scores side by side
        raise DetectorOutputError(f"{wanted}, got {type(result).__name__} of {error}") from error
    if rows.size == 0:
        return Reported(torch.zeros(0, 4), torch.zeros(0), None)
    if rows.dtype.kind not in "biuf":
        raise DetectorOutputError(
            f"{wanted}, got {type(result).__name__} of {rows.dtype.name}; rows are numbers, and "
            "so are labels: the index into class_names"
        )
    if rows.ndim != 2 or rows.shape[1] not in (5, 6):
        raise DetectorOutputError(f"{wanted}, got shape {rows.shape}")
    return _columns(rows[:, :4], rows[:, 4], rows[:, 5] if rows.shape[1] == 6 else None)


def _columns(boxes: Any, scores: Any, labels: Any) -> Reported:
    """Boxes, scores and labels as tensors that fit one another."""
    boxes = _numeric("boxes", boxes)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DetectorOutputError(f"boxes: wanted shape (n, 4) as x1 y1 x2 y2, got {boxes.shape}")
    n = len(boxes)
    scores = _one_a_box("scores", _numeric("scores", scores), n)
    label_values = None
    if labels is not None:
        label_values = torch.from_numpy(_one_a_box("labels", _label_numbers(labels), n))
    return Reported(
        torch.from_numpy(boxes.astype(np.float32)),
        torch.from_numpy(scores.astype(np.float32)),
        label_values,
    )


def _numeric(name: str, value: Any) -> npt.NDArray[Any]:
    try:
        array = plain_array(value)
    except ValueError as error:
        raise DetectorOutputError(f"{name}: wanted numbers, got {error}") from error
    if array.size and array.dtype.kind not in "biuf":
        raise DetectorOutputError(f"{name}: wanted numbers, got {array.dtype.name}")
    return array


def _label_numbers(labels: Any) -> npt.NDArray[Any]:
    try:
        array = plain_array(labels)
    except ValueError as error:
        raise DetectorOutputError(f"labels: wanted whole numbers, got {error}") from error
    if array.size and array.dtype.kind not in "biuf":
        raise DetectorOutputError(
            f"labels: wanted whole numbers, got {str(array.flat[0])!r}; labels are numbers, the "
            "index into class_names (class_names=['face', 'hand'] makes face 0 and hand 1)"
        )
    if array.dtype.kind == "f":
        finite = array[np.isfinite(array)]
        if bool((finite != np.round(finite)).any()):
            odd = finite[finite != np.round(finite)][0]
            raise DetectorOutputError(
                f"labels: wanted whole numbers, the index into class_names, got {odd:g}"
            )
        return array.astype(np.float64)
    return array.astype(np.int64)


def _one_a_box(name: str, values: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """A column of one value per box; ``n 1`` is one too."""
    if values.size == 0 and n == 0:
        return values.reshape(0)
    if values.shape == (n, 1):
        return values[:, 0]
    if values.ndim == 1 and len(values) != n:
        raise DetectorOutputError(
            f"wanted one {name.removesuffix('s')} per box, got {n} boxes and {len(values)} {name}"
        )
    if values.ndim != 1:
        raise DetectorOutputError(
            f"{name}: wanted shape ({n},), one per box, got {values.shape}; class vectors go into "
            "Proposals(class_probabilities=...)"
        )
    return values


def drop_unusable(name: str, boxes: Tensor, scores: Tensor, labels: Tensor | None) -> Proposals:
    """Proposals of the rows with finite, upright boxes; a warning counts the others."""
    usable = torch.isfinite(boxes).all(1) & torch.isfinite(scores)
    usable &= (boxes[:, 2:] >= boxes[:, :2]).all(1)
    if labels is not None and labels.is_floating_point():
        usable &= torch.isfinite(labels)
    if not bool(usable.all()):
        warnings.warn(
            f"detector {name}: dropped {int((~usable).sum())} of {len(usable)} detections with "
            "NaN, infinite or inverted boxes or scores",
            RuntimeWarning,
            stacklevel=2,
        )
    return Proposals(
        boxes=boxes[usable],
        scores=scores[usable],
        labels=None if labels is None else labels[usable],
    )


def _checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(class_names, str):
        raise InputError(
            f"class_names: wanted a list of names, got the string {class_names!r}; "
            f"class_names=[{class_names!r}]"
        )
    names = tuple(class_names)
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"class_names: wanted at least one name, got {list(names)!r}")
    return names


def _checked_floor(min_score: float | None) -> float:
    floor = 0.0 if min_score is None else min_score
    if not 0 <= floor < 1:
        raise InputError(f"min_score: wanted a number in [0, 1), got {min_score}")
    return floor


def _numbers(box: Tensor) -> str:
    return " ".join(f"{value:g}" for value in box.tolist())

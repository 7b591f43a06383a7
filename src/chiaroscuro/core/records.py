"""What detectors report and people mark: Proposals, Target, Truth.

Frozen, checked at birth: an object that exists is valid. All arrays are torch tensors; boxes are
``x1 y1 x2 y2`` in continuous pixels. Converting a framework's own output is the adapters' work.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.checks import maybe, number, whole
from chiaroscuro.core.errors import InputError, ProposalsError, TargetError

LARGEST_LABEL = 2**31 - 1
LABEL = whole(0, LARGEST_LABEL)
_TOLERANCE = 1e-4  # scores a hair above 1 come from float16 and are clamped, not refused
_SCORE = number(-_TOLERANCE, 1 + _TOLERANCE)


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Proposals:
    """What a detector reports for one image.

    Anything array-like is accepted and kept as a tensor.

    Attributes:
        boxes: ``n 4``, x1 y1 x2 y2 in pixels; may reach past the image's border.
        scores: ``n``, in [0, 1].
        labels: ``n``, index into the detector's class names; all 0 when not given.
        class_probabilities: ``n classes`` in [0, 1], or None where the detector has none.
        objectness: ``n`` in [0, 1], or None where the detector has none apart from the score.

    Raises:
        ProposalsError: on other shapes, non-finite values, inverted boxes, values outside [0, 1],
            or negative labels.
    """

    boxes: Float32[Tensor, "n 4"]
    scores: Float32[Tensor, " n"]
    labels: Int64[Tensor, " n"]
    class_probabilities: Float32[Tensor, "n classes"] | None
    objectness: Float32[Tensor, " n"] | None

    def __init__(
        self,
        *,
        boxes: Any,
        scores: Any,
        labels: Any = None,
        class_probabilities: Any = None,
        objectness: Any = None,
    ) -> None:
        boxes = _tensor("boxes", boxes, torch.float32)
        if boxes.numel() == 0:
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ProposalsError(
                f"boxes: wanted shape (n, 4) as x1 y1 x2 y2, got {tuple(boxes.shape)}"
            )
        n = len(boxes)
        labels = torch.zeros(n, dtype=torch.int64) if labels is None else labels
        checked: dict[str, Tensor | None] = {
            "boxes": boxes,
            "scores": _tensor("scores", scores, torch.float32),
            "labels": _tensor("labels", labels, torch.int64),
            "class_probabilities": _optional("class_probabilities", class_probabilities),
            "objectness": _optional("objectness", objectness),
        }
        for name, value in checked.items():
            if value is None:
                object.__setattr__(self, name, None)
                continue
            value = value.to(boxes.device)
            if name in ("scores", "labels", "objectness") and value.shape != (n,):
                raise ProposalsError(
                    f"{name}: wanted shape ({n},), one a box, got {tuple(value.shape)}"
                )
            if name == "class_probabilities":
                if n == 0 and value.ndim != 2:
                    value = value.reshape(0, 0)
                if value.ndim != 2 or len(value) != n:
                    raise ProposalsError(
                        f"{name}: wanted shape ({n}, classes), got {tuple(value.shape)}"
                    )
            if name != "labels" and not bool(torch.isfinite(value).all()):
                raise ProposalsError(f"{name}: wanted finite numbers, got NaN or infinity")
            if name in ("scores", "class_probabilities", "objectness"):
                value = _unit_interval(name, value)
            if name == "labels" and n and not (0 <= value.min() <= value.max() <= LARGEST_LABEL):
                raise ProposalsError(
                    f"labels: wanted class indices of at least 0, got {int(value.min())} to "
                    f"{int(value.max())}"
                )
            object.__setattr__(self, name, value)
        inverted = (boxes[:, 2:] < boxes[:, :2]).any(dim=1)
        if bool(inverted.any()):
            first = boxes[inverted][0].tolist()
            raise ProposalsError(
                f"boxes: wanted x1 <= x2 and y1 <= y2, got {first}; "
                "if these are x y width height, convert them first"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> "Proposals":
        """Some of the proposals: by number, slice, list of numbers or boolean mask."""
        if isinstance(index, int):
            index = [index] if index != -1 else slice(-1, None)
        picked: dict[str, Any] = {
            name: None if value is None else value[index] for name, value in self._arrays().items()
        }
        return type(self)(**picked)

    @classmethod
    def empty(cls) -> "Proposals":
        """No proposals at all."""
        return cls(boxes=np.zeros((0, 4)), scores=np.zeros(0))

    def above(self, score: float) -> "Proposals":
        """The proposals whose score is at least ``score``, best first."""
        order = torch.argsort(self.scores, descending=True, stable=True)
        return self[order[self.scores[order] >= score]]

    def best(self, n: int) -> "Proposals":
        """The ``n`` proposals of highest score, best first; all, as they are, if no more."""
        if len(self) <= n:
            return self
        return self[torch.argsort(self.scores, descending=True, stable=True)[:n]]

    def within(self, height: int, width: int) -> "Proposals":
        """The proposals that have an area, some of it inside a picture of that size."""
        inside = boxes.have_area_in(self.boxes, height, width)
        return self if bool(inside.all()) else self[inside]

    @classmethod
    def joined(cls, parts: "Sequence[Proposals]") -> "Proposals":
        """The proposals of one detector from several pictures, one after the other."""
        parts = [part for part in parts if len(part)] or [cls.empty()]
        columns = [part._arrays() for part in parts]
        return cls(
            **{
                name: None if value is None else torch.cat([one[name] for one in columns])
                for name, value in columns[0].items()
            }
        )

    def moved(self, right: int, down: int) -> "Proposals":
        """The same proposals with boxes that many pixels further right and down."""
        shift = self.boxes.new_tensor([right, down, right, down])
        return self.placed(self.boxes + shift)

    def placed(self, boxes: Tensor) -> "Proposals":
        """The same proposals with other boxes ``n 4``."""
        return type(self)(**{**self._arrays(), "boxes": boxes})

    def to(self, device: torch.device | str) -> "Proposals":
        """The same proposals on another device."""
        if self.boxes.device == torch.device(device):
            return self
        moved: dict[str, Any] = {
            name: None if value is None else value.to(device)
            for name, value in self._arrays().items()
        }
        return type(self)(**moved)

    def _arrays(self) -> dict[str, Any]:
        return {
            "boxes": self.boxes,
            "scores": self.scores,
            "labels": self.labels,
            "class_probabilities": self.class_probabilities,
            "objectness": self.objectness,
        }


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Target:
    """The box being explained: found by the detector, drawn by a person, or from ground truth.

    Attributes:
        box: ``4``, x1 y1 x2 y2 in pixels, with a positive area.
        label: class index, or None when any class will do (a drawn box).
        score: the detector's score in [0, 1], or None for a box it did not report.
        class_probabilities: ``classes``, or None.
        origin: ``"found"``, ``"drawn"`` or ``"truth"``.

    Raises:
        TargetError: on a box that is not four finite numbers or has no area, a label that is no
            class index, or a score outside [0, 1].
    """

    box: Float32[Tensor, "4"]
    label: int | None
    score: float | None
    class_probabilities: Float32[Tensor, " classes"] | None
    origin: str

    def __init__(
        self,
        *,
        box: Any,
        label: int | None = None,
        score: float | None = None,
        class_probabilities: Any = None,
        origin: str = "drawn",
    ) -> None:
        try:
            box = torch.as_tensor(np.asarray(box, dtype=np.float32).copy())
        except (TypeError, ValueError) as error:
            raise TargetError(f"target: wanted four numbers x1 y1 x2 y2, got {box!r}") from error
        if box.shape != (4,):
            raise TargetError(
                f"target: wanted four numbers x1 y1 x2 y2, got shape {tuple(box.shape)}"
            )
        if not bool(torch.isfinite(box).all()):
            raise TargetError(f"target: wanted finite numbers, got {box.tolist()}")
        x1, y1, x2, y2 = box.tolist()
        if x2 <= x1 or y2 <= y1:
            raise TargetError(
                f"target: wanted x1 < x2 and y1 < y2, got {_numbers(box)}, a box without area"
            )
        if origin not in ("found", "drawn", "truth"):
            raise TargetError(f"origin: wanted found, drawn or truth, got {origin!r}")
        try:
            label = maybe(LABEL)("label", label)
            score = maybe(_SCORE)("score", score)
        except InputError as error:
            raise TargetError(f"target: {error}") from error
        fields = {
            "box": box,
            "label": label,
            "score": None if score is None else min(1.0, max(0.0, score)),
            "class_probabilities": _optional("class_probabilities", class_probabilities),
            "origin": origin,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def moved(self, right: int, down: int) -> "Target":
        """The target that many pixels further right and down."""
        return self._with(self.box + self.box.new_tensor([right, down, right, down]))

    def scaled(self, factor: float) -> "Target":
        """The target in a picture of ``factor`` times the size.

        Raises:
            TargetError: if the box becomes too small to have an area.
        """
        return self._with(self.box * factor)

    def labelled(self, label: int | None) -> "Target":
        """The target as of a class; None for any."""
        if self.label == label:
            return self
        return Target(box=self.box, label=label, score=self.score, origin=self.origin)

    def inside(self, height: int, width: int) -> "Target":
        """The target cut to a picture of that size.

        Raises:
            TargetError: if the box lies wholly outside the picture.
        """
        x1, y1, x2, y2 = self.box.tolist()
        if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            raise TargetError(
                f"target {_numbers(self.box)} lies outside the picture, which is "
                f"{width} pixels wide and {height} high; boxes are x1,y1,x2,y2"
            )
        limits = torch.tensor([width, height, width, height], dtype=torch.float32)
        return self._with(torch.minimum(self.box.clamp(min=0), limits))

    def plain(self) -> dict[str, Any]:
        """Box, label, score and origin as JSON values."""
        return {
            "box": [round(v, 3) for v in self.box.tolist()],
            "label": self.label,
            "score": None if self.score is None else round(self.score, 6),
            "origin": self.origin,
        }

    def _with(self, box: Tensor) -> "Target":
        return Target(
            box=box,
            label=self.label,
            score=self.score,
            class_probabilities=self.class_probabilities,
            origin=self.origin,
        )


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Truth:
    """The boxes that a person marked in one picture.

    Attributes:
        boxes: ``n 4``, x1 y1 x2 y2 in pixels.
        labels: ``n``, class index; all 0 when not given.
        ignore: ``n``, true for a box that is not to be scored: neither a find nor a miss. None is
            ignored when not given.
        crowd: ``n``, true for COCO's ``iscrowd``: a region of many objects, always to be ignored.
            Any number of detections may fall into it, each judged by the share of its own area
            that does. None is when not given.

    Raises:
        ProposalsError: on other shapes, non-finite values or inverted boxes.
    """

    boxes: Float32[Tensor, "n 4"]
    labels: Int64[Tensor, " n"]
    ignore: Bool[Tensor, " n"]
    crowd: Bool[Tensor, " n"]

    def __init__(
        self, *, boxes: Any, labels: Any = None, ignore: Any = None, crowd: Any = None
    ) -> None:
        n = len(boxes)
        as_if_found = Proposals(boxes=boxes, scores=np.ones(n), labels=labels)
        crowds = _flags("crowd", crowd, n)
        object.__setattr__(self, "boxes", as_if_found.boxes)
        object.__setattr__(self, "labels", as_if_found.labels)
        object.__setattr__(self, "ignore", _flags("ignore", ignore, n) | crowds)
        object.__setattr__(self, "crowd", crowds)

    def __len__(self) -> int:
        return len(self.boxes)

    def relabelled(self, labels: Mapping[int, int]) -> "Truth":
        """With a detector's labels, by the data set's own; boxes of other classes are dropped."""
        known = [i for i, label in enumerate(self.labels.tolist()) if label in labels]
        return Truth(
            boxes=self.boxes[known],
            labels=[labels[int(self.labels[i])] for i in known],
            ignore=self.ignore[known],
            crowd=self.crowd[known],
        )

    def inside(self, height: int, width: int) -> Bool[Tensor, " n"]:
        """Whether each box has an area in a picture of that size."""
        return boxes.have_area_in(self.boxes, height, width)

    def scaled(self, scale: float) -> "Truth":
        """The same boxes in a picture reduced or enlarged by that factor."""
        return Truth(
            boxes=self.boxes * scale, labels=self.labels, ignore=self.ignore, crowd=self.crowd
        )


def _flags(name: str, values: Any, n: int) -> Tensor:
    flags = torch.zeros(n, dtype=torch.bool) if values is None else torch.as_tensor(values)
    if flags.shape != (n,):
        raise ProposalsError(f"{name}: wanted shape ({n},), got {tuple(flags.shape)}")
    return flags.bool()


TargetsLike = Proposals | Target | Sequence[Target] | Sequence[Sequence[float]] | Tensor | Any


def as_targets(targets: TargetsLike, origin: str = "drawn") -> tuple[Target, ...]:
    """Read targets from whatever a person has: Proposals, Target, boxes ``n 4``, or one box.

    Args:
        targets: Proposals keep their labels, scores and class probabilities; plain boxes match a
            proposal of any class.
        origin: what plain boxes are: ``"drawn"`` or ``"truth"``.

    Raises:
        TargetError: on anything that is not boxes.
    """
    if isinstance(targets, Target):
        return (targets,)
    if isinstance(targets, Proposals):
        found = targets.to("cpu")
        probabilities = found.class_probabilities
        return tuple(
            Target(
                box=found.boxes[i],
                label=int(found.labels[i]),
                score=float(found.scores[i]),
                class_probabilities=None if probabilities is None else probabilities[i],
                origin="found",
            )
            for i in range(len(found))
        )
    if isinstance(targets, Tensor):
        targets = targets.detach().cpu().numpy()
    if isinstance(targets, Iterable) and not isinstance(targets, (str, bytes, np.ndarray)):
        targets = list(targets)
        if targets and all(isinstance(t, Target) for t in targets):
            return tuple(targets)
    try:
        boxes = np.asarray(targets, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise TargetError(f"targets: wanted boxes x1 y1 x2 y2, got {targets!r}") from error
    if boxes.size == 0:
        return ()
    if boxes.ndim == 1:
        boxes = boxes[None]
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise TargetError(
            f"targets: wanted boxes of shape (n, 4) as x1 y1 x2 y2, got shape {boxes.shape}"
        )
    return tuple(Target(box=torch.from_numpy(box.copy()), origin=origin) for box in boxes)


def plain_array(value: Any) -> npt.NDArray[Any]:
    """Anything array-like as a NumPy array: also tensors of any type, lists and arrays of objects.

    Raises:
        ValueError: if it is no array, such as rows of several lengths.
    """
    try:
        array = np.asarray(_without_tensors(value))
        return np.asarray(_without_tensors(array.tolist())) if array.dtype == object else array
    except (TypeError, RuntimeError) as error:
        raise ValueError(str(error)) from error


def _without_tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        known = value.detach().cpu()
        return known.float().numpy() if known.dtype == torch.bfloat16 else known.numpy()
    if isinstance(value, (list, tuple)):
        return [_without_tensors(part) for part in value]
    return value


def _tensor(name: str, value: Any, dtype: torch.dtype) -> Tensor:
    try:
        if isinstance(value, Tensor):
            return value.detach().to(dtype)
        return torch.as_tensor(plain_array(value)).to(dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ProposalsError(f"{name}: wanted numbers, got {type(value).__name__}") from error


def _optional(name: str, value: Any) -> Tensor | None:
    return None if value is None else _tensor(name, value, torch.float32)


def _unit_interval(name: str, value: Tensor) -> Tensor:
    if value.numel() and (value.min() < -_TOLERANCE or value.max() > 1 + _TOLERANCE):
        raise ProposalsError(
            f"{name}: wanted values in [0, 1], got {float(value.min()):z.4g} to "
            f"{float(value.max()):z.4g}; logits need a sigmoid or softmax first"
        )
    return value.clamp(0, 1)


def _numbers(box: Tensor) -> str:
    return ",".join(f"{v:zg}" for v in box.tolist())

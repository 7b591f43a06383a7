"""The things that flow through the package: Proposals, Target, Truth, Explanation.

Frozen, checked at birth: an object that exists is valid. All arrays are torch tensors; boxes are
``x1 y1 x2 y2`` in continuous pixels. Converting a framework's own output is the adapters' work.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from chiaroscuro import bundle, contents
from chiaroscuro.bundle import AnyPath
from chiaroscuro.checks import maybe, number
from chiaroscuro.errors import InputError, ProposalsError, TargetError

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
            if (
                name == "labels"
                and n
                and not (0 <= value.min() <= value.max() <= contents.LARGEST_LABEL)
            ):
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
        x1, y1, x2, y2 = self.boxes.unbind(dim=1)
        inside = (x2 > x1) & (y2 > y1) & (x1 < width) & (y1 < height) & (x2 > 0) & (y2 > 0)
        return self if bool(inside.all()) else self[inside]

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
            label = maybe(contents.LABEL)("label", label)
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

    def scaled(self, factor: float) -> "Target":
        """The target in a picture of ``factor`` times the size.

        Raises:
            TargetError: if the box becomes too small to have an area.
        """
        return self._with(self.box * factor)

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

    def _with(self, box: Tensor) -> "Target":
        return Target(
            box=box,
            label=self.label,
            score=self.score,
            class_probabilities=self.class_probabilities,
            origin=self.origin,
        )

    def describe(self) -> dict[str, Any]:
        """Box, label, score and origin as plain JSON values."""
        return {
            "box": [round(v, 3) for v in self.box.tolist()],
            "label": self.label,
            "score": None if self.score is None else round(self.score, 6),
            "origin": self.origin,
        }


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


MIN_MASKS = 100  # from fewer no fidelity is judged
FAINT, SETTLED = 0.5, 0.9  # fidelities below which a map is too faint to tell, and settling


def trust_words(fidelity: float | None, n_masks: int | None) -> str:
    """How far a map can be trusted.

    Args:
        fidelity: in [-1, 1]; None or NaN where it is not known.
        n_masks: that the map is from; None for a method without masks.

    Returns:
        ``"forming"``: fewer masks than a fidelity can be judged from; ``"too few answers to
        judge"``: masks enough, but hardly any of them told something; ``"too faint to tell"``: a
        fidelity below 0.5; ``"settling"``: below 0.9; ``"settled"``; or nothing, for a method that
        has no estimate.
    """
    if fidelity is None or math.isnan(fidelity):
        if n_masks is None:
            return ""
        return "forming" if n_masks < MIN_MASKS else "too few answers to judge"
    if fidelity < FAINT:
        return "too faint to tell"
    return "settled" if fidelity >= SETTLED else "settling"


def fidelity_text(fidelity: float | None, words: str, digits: int = 2) -> str:
    """A fidelity as it is shown: rounded down, beside its words; the words alone below 0.5."""
    if fidelity is None or math.isnan(fidelity) or fidelity < FAINT:
        return words
    step: int = 10**digits
    shown = math.floor(step * fidelity) / step  # .997 is not 1.00
    return f"fidelity {shown:z.{digits}f}, {words}"


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explanation:
    """Saliency maps of some targets in one picture, with what is needed to trust and redo them.

    Attributes:
        targets: what was explained, in order.
        saliency: ``targets height width``, raw values in the units that ``meaning`` states;
            positive where showing the pixel raises the target's weight, negative where it
            suppresses it.
        standard_error: ``targets height width``, in the same units; 0 where the method knows none.
        fidelity: ``targets``, in [-1, 1]: estimated correlation with the map that infinitely many
            masks would give, over the box and the ring around it; NaN where the method has no
            estimate.
        mean_weight: ``targets``, in [0, 1]: mean of the mask weights, how well the detector still
            sees the target when half of the picture is hidden; NaN for a method without masks.
        settings: method, estimator, seed, number of masks and so on, as plain JSON values.
        meaning: what one unit of ``saliency`` is, in words.
        notes: anything the reader of the maps should know, in sentences.
    """

    targets: tuple[Target, ...]
    saliency: Float32[Tensor, "targets height width"]
    standard_error: Float32[Tensor, "targets height width"]
    fidelity: Float32[Tensor, " targets"]
    mean_weight: Float32[Tensor, " targets"]
    settings: Mapping[str, Any] = field(default_factory=dict)
    meaning: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {"targets": len(self.targets)}
        try:
            for name in ("saliency", "standard_error", "fidelity", "mean_weight"):
                values = getattr(self, name).detach().cpu().numpy()
                contents.SALIENCY[name].check_header(name, values.dtype, values.shape, lengths)
                contents.SALIENCY[name].check_values(name, values)
        except InputError as error:
            raise TargetError(f"explanation: {error}") from error

    def __len__(self) -> int:
        return len(self.targets)

    def trust(self, index: int) -> str:
        """How far a map can be trusted, in the words of ``trust_words``."""
        masked = not bool(self.mean_weight[index].isnan())
        n_masks = self.settings.get("n_masks") if masked else None
        return trust_words(float(self.fidelity[index]), n_masks)

    def fidelity_text(self, index: int, digits: int = 2) -> str:
        """The fidelity as it is shown; see the function of that name."""
        return fidelity_text(float(self.fidelity[index]), self.trust(index), digits)

    @property
    def height(self) -> int:
        """Height of the maps in pixels."""
        return self.saliency.shape[1]

    @property
    def width(self) -> int:
        """Width of the maps in pixels."""
        return self.saliency.shape[2]

    def describe(self) -> dict[str, Any]:
        """Everything but the maps, as plain JSON values: what the manifest holds."""
        return {
            "settings": dict(self.settings),
            "meaning": self.meaning,
            "notes": list(self.notes),
            "height": self.height,
            "width": self.width,
            "targets": [
                {
                    **target.describe(),
                    "fidelity": _known(self.fidelity[i], 4),
                    "mean_weight": _known(self.mean_weight[i], 6),
                }
                for i, target in enumerate(self.targets)
            ],
        }

    def save(self, folder: str | AnyPath, *, manifest: Mapping[str, Any] | None = None) -> AnyPath:
        """Write ``saliency.npz`` and, last, ``manifest.json`` into a folder.

        Each file appears whole or not at all; the manifest's presence means complete. Maps are raw,
        never rescaled.

        Args:
            folder: made if absent; files of an earlier explanation in it are replaced.
            manifest: further JSON values for the manifest.

        Returns:
            The folder.
        """
        folder = bundle.as_path(folder)
        nan = float("nan")
        arrays = {
            "saliency": self.saliency.numpy(),
            "standard_error": self.standard_error.numpy(),
            "boxes": np.stack([t.box.numpy() for t in self.targets])
            if self.targets
            else np.zeros((0, 4), np.float32),
            "scores": np.array([nan if t.score is None else t.score for t in self.targets], "f4"),
            "labels": np.array([-1 if t.label is None else t.label for t in self.targets], "i8"),
            "fidelity": self.fidelity.numpy(),
            "mean_weight": self.mean_weight.numpy(),
        }
        (folder / "manifest.json").unlink(missing_ok=True)
        bundle.write_arrays(folder / "saliency.npz", arrays, compressed=False)
        bundle.write_json(folder / "manifest.json", {**self.describe(), **(manifest or {})})
        return folder

    @classmethod
    def load(cls, folder: str | AnyPath) -> "Explanation":
        """Read back what ``save`` wrote.

        Raises:
            BundleError: if the folder is incomplete or its files do not belong together.
        """
        folder = bundle.as_path(folder)
        manifest = bundle.read_json(
            folder / "manifest.json", contents.MANIFEST, remedy=contents.AGAIN
        )
        file = folder / "saliency.npz"
        arrays = bundle.read_arrays(file, contents.SALIENCY, remedy=contents.AGAIN)
        entries = manifest["targets"]
        with bundle.as_bundle_error(folder, contents.AGAIN):
            _check_same(manifest, arrays)
            return cls(
                targets=tuple(
                    Target(
                        box=arrays["boxes"][i],
                        label=entry["label"],
                        score=entry["score"],
                        origin=entry["origin"],
                    )
                    for i, entry in enumerate(entries)
                ),
                saliency=torch.from_numpy(arrays["saliency"]),
                standard_error=torch.from_numpy(arrays["standard_error"]),
                fidelity=torch.from_numpy(arrays["fidelity"]),
                mean_weight=torch.from_numpy(arrays["mean_weight"]),
                settings=manifest["settings"],
                meaning=manifest["meaning"],
                notes=tuple(manifest["notes"]),
            )


_IN_BOTH = {  # by array: key of the manifest, what stands for None, and how far it is rounded
    "boxes": ("box", np.nan, 1e-3),
    "scores": ("score", np.nan, 1e-6),
    "labels": ("label", -1, 0),
    "fidelity": ("fidelity", np.nan, 1e-4),
    "mean_weight": ("mean_weight", np.nan, 1e-6),
}


def _check_same(manifest: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Hold ``manifest.json`` and ``saliency.npz`` to say the same of the targets."""
    unlike = "manifest.json and saliency.npz do not belong together"
    size = (len(manifest["targets"]), manifest["height"], manifest["width"])
    if arrays["saliency"].shape != size:
        raise InputError(f"{unlike}: {size} maps, and {arrays['saliency'].shape}")
    for name, (key, unknown, rounding) in _IN_BOTH.items():
        stated = [unknown if t[key] is None else t[key] for t in manifest["targets"]]
        wanted = np.asarray(stated, dtype=np.float64).reshape(arrays[name].shape)
        if not np.allclose(arrays[name], wanted, rtol=0, atol=rounding, equal_nan=True):
            raise InputError(f"{unlike}: the {name} differ")


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


def _known(value: Tensor, digits: int) -> float | None:
    """For JSON, which has no NaN."""
    return None if bool(value.isnan()) else round(float(value), digits)


def _numbers(box: Tensor) -> str:
    return ",".join(f"{v:zg}" for v in box.tolist())

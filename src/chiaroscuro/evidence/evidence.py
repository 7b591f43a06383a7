"""Evidence: what a detector said under every mask, and every explanation that follows from it.

``observe`` makes the only detector passes. Explaining a box, found, drawn or true, then needs none.
"""

import importlib.metadata
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from chiaroscuro._version import __version__
from chiaroscuro.core import checks, limits
from chiaroscuro.core.checks import function, instance, maybe
from chiaroscuro.core.errors import (
    DetectorError,
    DetectorFailedError,
    DetectorOutputError,
    InputError,
    ObservationInterrupted,
)
from chiaroscuro.core.masks import DESIGN, MaskDesign, Masks
from chiaroscuro.core.records import Proposals, Target, TargetsLike, as_targets
from chiaroscuro.core.similarity import mask_weights
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.detectors.protocol import as_unit_floats, unsuppressed
from chiaroscuro.evidence import estimators
from chiaroscuro.evidence.explanation import MIN_MASKS, Explanation
from chiaroscuro.evidence.passes import MAX_PROPOSALS, detect_whole, observe_masks
from chiaroscuro.evidence.surrogate import energy_near
from chiaroscuro.images.read import image_hash, read_image
from chiaroscuro.store import bundle, contents
from chiaroscuro.store.bundle import AnyPath

MAX_AUTO_MASKS = 5000
FIRST_LOOK = MIN_MASKS
FOUND_SCORE = 0.3
WEAK_SCORE = 0.2  # a detector that reports nothing below it has a threshold of its own
Kept = tuple[tuple[float, ...], int | None]
"""A target as evidence remembers it: box and label."""

_TRACES = 1e-3  # a mean weight that is next to nothing; faces barely seen have some .05
_DRAWN_IN_ONE_GO = 512  # masks whose similarities are in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an observation has come.

    Attributes:
        done: masks observed.
        total: masks wanted; with automatic stopping, those expected to be needed.
        seconds: since the observation began.
        started_at: masks that were there when it began.
        fidelity: of every target at the last look, empty without automatic stopping.
        evidence: call it for the evidence so far, from which maps can be drawn as they form. Asking
            costs nothing worth counting; explaining a target costs a few tenths of a second.
    """

    done: int
    total: int
    seconds: float
    evidence: "Callable[[], Evidence]"
    started_at: int = 0
    fidelity: tuple[float, ...] = ()

    @property
    def passes_per_second(self) -> float:
        """Detector passes a second so far."""
        return (self.done - self.started_at) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this pace, None before the first mask."""
        pace = self.passes_per_second
        return (self.total - self.done) / pace if pace > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """The proposals under every mask, with the picture and the seed that made the masks.

    Attributes:
        image: ``3 height width``, uint8 or float32 in [0, 1].
        boxes: ``proposals 4``: those of all masks, one after the other, x1 y1 x2 y2 in pixels.
        scores: ``proposals``.
        labels: ``proposals``.
        class_probabilities: ``proposals classes``, or None.
        objectness: ``proposals``, or None.
        counts: ``n_masks``: proposals under each mask.
        seed: of the masks.
        design: of the masks.
        detector: name of the detector that was observed.
        before_nms: whether these are its proposals before non-maximum suppression.
        kept_for: boxes and labels of the targets whose most similar proposal is here under every
            mask. It matters where the detector reported more than ``engine.MAX_PROPOSALS``, of
            which the others are the best by score.
    """

    image: Tensor
    boxes: Float32[Tensor, "proposals 4"]
    scores: Float32[Tensor, " proposals"]
    labels: Int64[Tensor, " proposals"]
    counts: Int64[Tensor, " n_masks"]
    class_probabilities: Float32[Tensor, "proposals classes"] | None = None
    objectness: Float32[Tensor, " proposals"] | None = None
    seed: int = 0
    design: MaskDesign = field(default_factory=MaskDesign)
    detector: str = ""
    before_nms: bool = False
    kept_for: tuple[Kept, ...] = ()
    _last: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", limits.SEED("seed", self.seed))
        if int(self.counts.sum()) != len(self.boxes):
            raise InputError(
                f"evidence: wanted {int(self.counts.sum())} proposals, as counts say, "
                f"got {len(self.boxes)}"
            )

    @property
    def n_masks(self) -> int:
        """Masks observed, which is also the detector passes made."""
        return len(self.counts)

    @property
    def masks(self) -> Masks:
        """The masks that were observed."""
        height, width = self.image.shape[1:]
        return Masks(self.design, height, width, self.seed)

    def proposals(self, mask: int) -> Proposals:
        """What the detector reported under one mask."""
        start = int(self.counts[:mask].sum())
        return self._all()[start : start + int(self.counts[mask])]

    def weights(self, targets: TargetsLike) -> Float32[Tensor, "targets n_masks"]:
        """Weight of every mask for every target, in [0, 1]; see ``similarity.mask_weights``."""
        wanted = self._targets(targets)
        ends, everything = self.counts.cumsum(0), self._all()
        parts = []
        for first in range(0, self.n_masks, _DRAWN_IN_ONE_GO):
            counts = self.counts[first : first + _DRAWN_IN_ONE_GO]
            stop = int(ends[first + len(counts) - 1])
            index = torch.repeat_interleave(torch.arange(len(counts)), counts)
            found = everything[stop - int(counts.sum()) : stop]
            parts.append(mask_weights(wanted, found, index, len(counts)))
        return (
            torch.cat(parts, dim=1) if parts else torch.zeros(len(wanted), 0, dtype=torch.float32)
        )

    def first(self, n_masks: int) -> "Evidence":
        """The evidence of the first masks alone, as if no more had been asked for."""
        counts = self.counts[:n_masks]
        kept = self._all()[: int(counts.sum())]
        return replace(
            self,
            boxes=kept.boxes,
            scores=kept.scores,
            labels=kept.labels,
            class_probabilities=kept.class_probabilities,
            objectness=kept.objectness,
            counts=counts,
        )

    def explain(
        self,
        targets: TargetsLike,
        *,
        estimator: str = "surrogate",
        wanted_fidelity: float | None = None,
    ) -> Explanation:
        """Saliency maps of any targets, with no further detector pass.

        Args:
            targets: Proposals, Targets, or boxes ``n 4`` (or one box) in pixels; cut to the
                picture.
            estimator: ``"surrogate"``, ``"centred"`` or ``"paper"``; see ``estimators``.
            wanted_fidelity: targets below it are named in the notes, with what may help.

        Raises:
            TargetError: on a box that is no box or lies outside the picture.
            UnknownNameError: on an estimator of another name.
        """
        wanted = self._targets(targets)
        estimators.check_name(estimator)
        if wanted and not self.n_masks:
            raise InputError("evidence: wanted at least one mask to explain from, got none")
        weights = self.weights(wanted)
        pixels = as_unit_floats(self.image[None])[0]
        key = (estimator, tuple(_key(target) for target in wanted))
        last = self._last.get("explained")  # once: another thread may put in its own meanwhile
        if last is None or last[0] != key:  # automatic stopping has explained them already
            last = key, estimators.estimate(self.masks, pixels, weights, wanted, estimator)
            self._last["explained"] = last
        estimates = last[1]
        size = (0, *self.image.shape[1:])
        fidelity = torch.tensor([e.fidelity for e in estimates], dtype=torch.float32)
        notes = self._notes(wanted, weights) + _notes_on_place(wanted, estimates)
        if wanted_fidelity is not None:
            notes += self._unreached(fidelity, wanted_fidelity)
        return Explanation(
            targets=wanted,
            saliency=_stack([e.saliency for e in estimates], size),
            standard_error=_stack([e.standard_error for e in estimates], size),
            fidelity=fidelity,
            mean_weight=weights.mean(dim=1) if wanted else torch.zeros(0, dtype=torch.float32),
            settings={"method": "drise", "estimator": estimator, **self.describe()},
            meaning=estimators.MEANINGS[estimator],
            notes=tuple(notes),
        )

    def extend(
        self,
        detector: Detector,
        n_masks: int,
        *,
        batch_size: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> "Evidence":
        """Evidence from ``n_masks`` more masks: as if all had been asked for at once.

        Raises:
            InputError: if the detector is not the one that was observed.
        """
        return observe(
            self.image,
            detector,
            n_masks=self.n_masks + limits.N_MASKS("n_masks", n_masks),
            targets=[Target(box=box, label=label) for box, label in self.kept_for],
            seed=self.seed,
            design=self.design,
            batch_size=batch_size,
            progress=progress,
            resume=self,
        )

    def check_of(self, other: "Evidence") -> None:
        """Hold the evidence to be of the same picture, detector, seed and design as another.

        Raises:
            InputError: naming what differs.
        """
        theirs, mine = self.describe(), other.describe()
        differing = [
            f"{key} was {theirs[key]}, is {mine[key]}"
            for key in ("detector", "before_nms", "seed", "design", "image_sha256")
            if mine[key] != theirs[key]
        ]
        if differing:
            raise InputError(
                f"resume: the evidence belongs to something else: {'; '.join(differing)}"
            )

    def describe(self) -> dict[str, Any]:
        """All but the proposals, as plain JSON values."""
        return {
            "detector": self.detector,
            "before_nms": self.before_nms,
            "n_masks": self.n_masks,
            "seed": self.seed,
            "design": self.design.describe(),
            "image_sha256": image_hash(self.image),
            "versions": _versions(),
            **({"kept_for": self.kept_for} if bool(self._capped.any()) else {}),
        }

    def save(self, path: str | AnyPath) -> AnyPath:
        """Write one ``.npz`` that holds everything, whole or not at all."""
        path = bundle.as_path(path)
        arrays = {
            "settings": np.array(json.dumps(self.describe())),
            "image": self.image.numpy(),
            "boxes": self.boxes.numpy(),
            "scores": self.scores.numpy(),
            "labels": self.labels.numpy(),
            "counts": self.counts.numpy(),
        }
        if self.class_probabilities is not None:
            arrays["class_probabilities"] = self.class_probabilities.numpy()
        if self.objectness is not None:
            arrays["objectness"] = self.objectness.numpy()
        if isinstance(self.design.fill, Tensor):
            arrays["fill"] = self.design.fill.cpu().numpy()
        bundle.write_arrays(path, arrays)
        return path

    @classmethod
    def load(cls, path: str | AnyPath) -> "Evidence":
        """Read back what ``save`` wrote.

        Raises:
            BundleError: if the file is damaged or is no evidence.
        """
        path = bundle.as_path(path)
        arrays = bundle.read_arrays(path, contents.EVIDENCE, remedy=contents.AGAIN)
        with bundle.as_bundle_error(path, contents.AGAIN):
            settings = _checked_settings(arrays)
            counts = arrays["counts"]
            if settings["n_masks"] != len(counts):
                raise InputError(f"settings say {settings['n_masks']} masks, counts {len(counts)}")
            design = settings["design"]
            if (design["fill"] == "image") != ("fill" in arrays):
                raise InputError(f"its fill is {design['fill']!r}, which does not fit its arrays")
            found = Proposals(
                **{name: arrays.get(name) for name in (*_COLUMNS, "class_probabilities")}
            )
            return cls(
                image=torch.from_numpy(arrays["image"]),
                boxes=found.boxes,
                scores=found.scores,
                labels=found.labels,
                class_probabilities=found.class_probabilities,
                objectness=found.objectness,
                counts=torch.from_numpy(counts),
                seed=settings["seed"],
                design=MaskDesign(
                    grid_size=tuple(design["grid_size"]),
                    keep_probability=design["keep_probability"],
                    antithetic=design["antithetic"],
                    fill=torch.from_numpy(arrays["fill"]) if "fill" in arrays else design["fill"],
                ),
                detector=settings["detector"],
                before_nms=settings["before_nms"],
                kept_for=tuple(settings.get("kept_for", ())),
            )

    @staticmethod
    def load_image(path: str | AnyPath) -> Tensor:
        """The picture alone, ``3 height width``, from a file that ``save`` wrote.

        Raises:
            BundleError: if the file is damaged or is no evidence.
        """
        path = bundle.as_path(path)
        arrays = bundle.read_arrays(
            path, contents.EVIDENCE, only=("settings", "image"), remedy=contents.AGAIN
        )
        with bundle.as_bundle_error(path, contents.AGAIN):
            _checked_settings(arrays)
        return torch.from_numpy(arrays["image"])

    def _all(self) -> Proposals:
        return Proposals(
            boxes=self.boxes,
            scores=self.scores,
            labels=self.labels,
            class_probabilities=self.class_probabilities,
            objectness=self.objectness,
        )

    def _targets(self, targets: TargetsLike) -> tuple[Target, ...]:
        height, width = self.image.shape[1:]
        return tuple(target.inside(height, width) for target in as_targets(targets))

    @property
    def _capped(self) -> Bool[Tensor, " n_masks"]:
        """Whether so many proposals came under a mask that some may have been dropped."""
        return torch.ge(self.counts, MAX_PROPOSALS)

    def _notes(self, targets: Sequence[Target], weights: Tensor) -> list[str]:
        notes = []
        for i, w in enumerate(weights):
            if not bool(w.any()):
                notes.append(
                    f"target {i + 1}: under none of the {self.n_masks} masks did the detector "
                    "report anything that overlaps the box; the map is zero because there is no "
                    "evidence, not because nothing matters. Hide less (keep_probability 0.8) or "
                    "draw the box where the detector reports something"
                )
            elif float(w.mean()) < _TRACES:
                notes.append(
                    f"target {i + 1}: the detector hardly reports anything like it (mean weight "
                    f"{float(w.mean()):z.1g}), so the map is of traces; its colours are scaled to "
                    "them"
                )
            elif self.n_masks > 1 and float(w.max() - w.min()) == 0:
                notes.append(
                    f"target {i + 1}: every mask has the same weight, so no pixel can be told "
                    "from another; hide more (keep_probability 0.3) or use smaller cells"
                )
            elif self.n_masks >= FIRST_LOOK and estimators.n_answers(w) < estimators.MIN_ANSWERS:
                notes.append(
                    f"target {i + 1}: too few answers to judge the map: it rests on about "
                    f"{estimators.n_answers(w):z.0f} of the {self.n_masks} masks, and "
                    f"{estimators.MIN_ANSWERS} are needed. Hide less (keep_probability 0.8), or "
                    "run more masks"
                )
        if self.n_masks < FIRST_LOOK and targets:
            notes.append(
                f"{self.n_masks} masks are too few to judge a map by; its fidelity is stated from "
                f"{FIRST_LOOK} on"
            )
        return notes + self._notes_on_dropped(targets) + self._notes_on_threshold(weights)

    def _notes_on_dropped(self, targets: Sequence[Target]) -> list[str]:
        n_capped = int(self._capped.sum())
        if not n_capped or not targets:
            return []
        others = [
            str(i)
            for i, target in enumerate(targets, start=1)
            if _kept(target) not in self.kept_for
        ]
        notes = [
            f"under {n_capped} of the {self.n_masks} masks the detector reported {MAX_PROPOSALS} "
            f"proposals or more; the {MAX_PROPOSALS} of highest score were kept, and those most "
            "like the targets of that run"
        ]
        if others:
            notes.append(
                f"target {', '.join(others)} was no target of that run, so proposals of it may "
                "have been dropped and its map may be too weak; observe anew with it among the "
                "targets (observe(..., targets=...), or explain --overwrite --target)"
            )
        return notes

    def _notes_on_threshold(self, weights: Tensor) -> list[str]:
        n = min(self.n_masks, FIRST_LOOK)
        scores = self.scores[: int(self.counts[:n].sum())]
        lowest = float(scores.min()) if len(scores) else 0.0
        if lowest <= WEAK_SCORE or bool((weights[:, :n] > 0).all()):  # or nothing was lost
            return []
        return [
            f"the lowest score that the detector reported under the first {n} masks is "
            f"{lowest:z.2f}: it seems to have a threshold, and what falls below it is lost as "
            "evidence; lower the detector's threshold to 0.02 or so, in the function itself or by "
            "its option (-O min_score=0.02)"
        ]

    def _unreached(self, fidelity: Tensor, wanted: float) -> list[str]:
        short = [str(i + 1) for i, value in enumerate(fidelity.tolist()) if not value >= wanted]
        if not short:
            return []
        keep, (rows, columns) = self.design.keep_probability, self.design.grid
        return [
            f"target {', '.join(short)} did not reach fidelity {wanted:g} with {self.n_masks} "
            f"masks; hide less (keep_probability {min(0.9, round(keep + 0.2, 2)):g}) or use "
            f"larger cells (grid_size {max(2, round(min(rows, columns) * 0.6))})"
        ]


EVIDENCE = instance(Evidence, "Evidence, as observe gives it")


def observe(
    image: Any,
    detector: Any,
    *,
    n_masks: int | Literal["auto"] = "auto",
    fidelity: float = 0.9,
    targets: TargetsLike | None = None,
    estimator: str = "surrogate",
    seed: int = 0,
    design: MaskDesign | None = None,
    batch_size: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    resume: Evidence | None = None,
) -> Evidence:
    """Watch a detector through many random masks: the only detector passes.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        detector: a detector, or anything ``load_detector`` takes.
        n_masks: how many, or ``"auto"``: until every target has reached ``fidelity``, at most
            5000.
        fidelity: wanted by ``"auto"``, in (0, 1).
        targets: what ``"auto"`` judges, the detections of score 0.3 and more when not given; and
            whose proposals are kept however many others the detector reports.
        estimator: by which ``"auto"`` judges.
        seed: whole number; the same seed gives the same masks.
        design: grid size, keep probability and fill of the masks.
        batch_size: pictures a detector call; chosen from the picture's size when not given.
        progress: called after every batch.
        resume: evidence of the same picture, detector, seed and design to go on from. The result
            is that of a fresh start, whatever it holds.

    Raises:
        ImageError: if the picture cannot be used.
        InputError: on values out of range, or if ``resume`` belongs to something else.
        DetectorFailedError: if the detector raises or breaks its promise; its ``evidence`` holds
            what was done.
        ObservationInterrupted: on Ctrl-C; its ``evidence`` holds what was done.
        Exception: whatever else ends it, such as ``progress``, as it was raised, with what was done
            as its attribute ``evidence``.
    """
    picture = usable_image(image)
    detector = load_detector(detector)
    design = DESIGN("design", design) or MaskDesign()
    resume = maybe(EVIDENCE)("resume", resume)
    progress = maybe(function)("progress", progress)
    n_masks = limits.masks_or_auto("n_masks", n_masks)
    fidelity = limits.FIDELITY("fidelity", fidelity)
    batch_size = limits.BATCH_SIZE("batch_size", batch_size)
    estimators.check_name(estimator)
    masks = Masks(design, picture.shape[1], picture.shape[2], seed)
    if targets is None and n_masks == "auto":
        targets = find_targets(picture, detector)
    judged = tuple(
        t.inside(*picture.shape[1:]) for t in as_targets(() if targets is None else targets)
    )
    detector = unsuppressed(detector)
    record = _Record(picture, detector, masks.seed, design, judged)
    if resume is not None:
        record.resume(resume)

    total = MAX_AUTO_MASKS if n_masks == "auto" else n_masks
    began, started_at = time.perf_counter(), record.n_masks
    look = min(FIRST_LOOK, total) if n_masks == "auto" else total
    expected = look
    reached: tuple[float, ...] = ()
    pixels = as_unit_floats(picture[None])[0]
    try:
        while True:
            for batch in observe_masks(
                pixels, detector, masks, record.n_masks, look, batch_size, judged
            ):
                record.add(batch)
                if progress is not None:
                    seconds = time.perf_counter() - began
                    progress(
                        Progress(
                            done=record.n_masks,
                            total=max(expected, record.n_masks),
                            seconds=seconds,
                            started_at=started_at,
                            fidelity=reached,
                            evidence=record.evidence,
                        )
                    )
            seen = record.evidence().first(look)
            if n_masks == "auto":
                reached = tuple(seen.explain(judged, estimator=estimator).fidelity.tolist())
            if look == total or all(value >= fidelity for value in reached):
                return seen
            expected = min(total, max(look + 1, _expected_masks(look, reached, fidelity)))
            look = min(total, look + max(FIRST_LOOK, look // 8 * 2))  # even: whole pairs
    except KeyboardInterrupt as error:
        raise ObservationInterrupted(record.evidence() if record.n_masks else None) from error
    except DetectorOutputError as error:
        error.evidence = record.evidence() if record.n_masks else None
        raise
    except DetectorError as error:
        reason = error.__cause__ if isinstance(error, DetectorFailedError) else error
        raise DetectorFailedError(
            f"detector {detector.info.name} failed after {record.n_masks} masks: "
            f"{type(reason).__name__}: {reason}",
            record.evidence() if record.n_masks else None,
        ) from reason
    except Exception as error:
        error.evidence = record.evidence() if record.n_masks else None  # type: ignore[attr-defined]
        raise


def no_evidence(
    image: Tensor, detector: Detector, seed: int = 0, design: MaskDesign | None = None
) -> Evidence:
    """Evidence of no mask at all: the picture, and what would be observed."""
    detector = unsuppressed(detector)
    return _Record(image, detector, seed, design or MaskDesign()).evidence()


def find(image: Tensor, detector: Detector, score: float = FOUND_SCORE) -> Proposals:
    """What the detector reports in the whole picture with at least that score, best first."""
    return detect_whole(detector, image).above(score)


def find_targets(
    image: Tensor, detector: Detector, score: float = FOUND_SCORE
) -> tuple[Target, ...]:
    """What the detector finds in the whole picture with at least that score, best first."""
    return as_targets(find(image, detector, score))


def _expected_masks(n_masks: int, reached: Sequence[float], wanted: float) -> int:
    """Masks for a fidelity, from those reached: the noise falls as one over their number."""
    lowest = min(0.0 if math.isnan(value) else value for value in reached)
    noise = (1 / max(lowest, 0.05) ** 2 - 1) / (1 / wanted**2 - 1)
    return math.ceil(n_masks * noise)


def usable_image(image: Any) -> Tensor:
    """A picture as ``3 height width``: uint8, or float32 in [0, 1]; paths and arrays are read.

    Raises:
        ImageError: if it cannot be used.
    """
    return checks.picture("image", image if isinstance(image, Tensor) else read_image(image))


_COLUMNS = ("boxes", "scores", "labels", "objectness")


class _Record:
    """Proposals as they come in; the one mutable thing of an observation."""

    def __init__(
        self,
        image: Tensor,
        detector: Detector,
        seed: int,
        design: MaskDesign,
        targets: Sequence[Target] = (),
    ) -> None:
        self.image, self.seed, self.design = image, seed, design
        self.kept_for = tuple(_kept(target) for target in targets)
        self.info = detector.info
        self.counts: list[int] = []
        self._columns: dict[str, _Column] | None = None  # None until there is a proposal

    @property
    def n_masks(self) -> int:
        return len(self.counts)

    def add(self, batch: list[Proposals]) -> None:
        self.counts.extend(len(p) for p in batch)
        for proposals in batch:
            if len(proposals):
                self._append(proposals)

    def _append(self, proposals: Proposals) -> None:
        names = ["boxes", "scores", "labels"]
        if len(self.info.class_names) != 1:  # never a cosine of [s, 1 - s]
            names += [
                name
                for name in ("class_probabilities", "objectness")
                if getattr(proposals, name) is not None
            ]
        if self._columns is None:
            self._columns = {name: _Column(getattr(proposals, name)) for name in names}
        self._columns = {name: self._columns[name] for name in names if name in self._columns}
        for name, column in self._columns.items():
            column.extend(getattr(proposals, name))

    def resume(self, evidence: Evidence) -> None:
        """Start from earlier evidence.

        Raises:
            InputError: naming what differs.
        """
        evidence.check_of(self.evidence())
        if bool(evidence._capped.any()):
            self.kept_for = tuple(kept for kept in self.kept_for if kept in evidence.kept_for)
        self.counts = evidence.counts.tolist()
        self._columns = None
        if len(evidence.boxes):
            self._append(evidence._all())

    def evidence(self) -> Evidence:
        whole = Proposals.empty()
        if self._columns is not None:
            rows: dict[str, Any] = {name: column.rows() for name, column in self._columns.items()}
            whole = Proposals(**rows)
        return Evidence(
            image=self.image,
            boxes=whole.boxes,
            scores=whole.scores,
            labels=whole.labels,
            class_probabilities=whole.class_probabilities,
            objectness=whole.objectness,
            counts=torch.tensor(self.counts, dtype=torch.int64),
            seed=self.seed,
            design=self.design,
            detector=self.info.name,
            before_nms=self.info.before_nms,
            kept_for=self.kept_for,
        )


class _Column:
    """Rows of one kind in a tensor that doubles when it is full.

    Thousands of small tensors, kept between the large ones of every batch, would leave holes in
    memory that no later batch fits into.
    """

    def __init__(self, like: Tensor) -> None:
        self._data = like.new_empty((1024, *like.shape[1:]))
        self._n = 0

    def extend(self, rows: Tensor) -> None:
        end = self._n + len(rows)
        if end > len(self._data):
            larger = self._data.new_empty((max(2 * len(self._data), end), *rows.shape[1:]))
            larger[: self._n] = self._data[: self._n]
            self._data = larger
        self._data[self._n : end] = rows
        self._n = end

    def rows(self) -> Tensor:
        """A copy of what has come in."""
        return self._data[: self._n].clone()


def _notes_on_place(
    targets: Sequence[Target], estimates: Sequence[estimators.Estimate]
) -> list[str]:
    notes = []
    for i, (target, one) in enumerate(zip(targets, estimates, strict=True), start=1):
        if one.outside:
            near = energy_near(one.saliency, one.standard_error, target)
            notes.append(
                f"target {i}: the evidence lies outside the neighbourhood of the box"
                + ("" if near is None else f", which has {near:z.0%} of the map's energy")
                + "; the fidelity is of the whole picture"
            )
    return notes


def _kept(target: Target) -> Kept:
    return tuple(target.box.tolist()), target.label


def _checked_settings(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an evidence file, whose picture is the one that was observed.

    Raises:
        InputError: if they are no settings, or of another picture.
    """
    settings: dict[str, Any] = contents.EVIDENCE_SETTINGS(
        "settings", bundle.parse_json(str(arrays["settings"]))
    )
    image = checks.picture("image", torch.from_numpy(arrays["image"]))
    if settings["image_sha256"] != image_hash(image):
        raise InputError("its picture is not the one that was observed: another image_sha256")
    return settings


def _key(target: Target) -> tuple[Any, ...]:
    probabilities = target.class_probabilities
    return (
        tuple(target.box.tolist()),
        target.label,
        None if probabilities is None else tuple(probabilities.tolist()),
    )


def _stack(maps: Sequence[Tensor], empty: tuple[int, ...]) -> Tensor:
    return torch.stack(list(maps)) if maps else torch.zeros(empty, dtype=torch.float32)


def _versions() -> dict[str, str]:
    names = ("torch", "torchvision", "numpy", "onnxruntime")
    return {"chiaroscuro": __version__, **{n: importlib.metadata.version(n) for n in names}}

"""Evidence: what a detector reported under every mask, and every explanation that follows from it.

``observe`` makes the only detector passes. Explaining a box, found, user-drawn or annotated, then
needs none.
"""

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from chiaroscuro._version import __version__
from chiaroscuro.core import boxes, limits
from chiaroscuro.core.checks import instance
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.masks import Masks
from chiaroscuro.core.notes import Note
from chiaroscuro.core.plan import MaskDesign
from chiaroscuro.core.progress import Report
from chiaroscuro.core.records import Proposals, Target, TargetsLike, as_targets
from chiaroscuro.core.similarity import mask_weights
from chiaroscuro.core.windows import Window
from chiaroscuro.detectors.protocol import Detector, as_unit_floats
from chiaroscuro.evidence import estimators, remarks, saved
from chiaroscuro.evidence.beyond import with_beyond
from chiaroscuro.evidence.certificate import LOOKS, certificate, holds
from chiaroscuro.evidence.estimators import Estimate
from chiaroscuro.evidence.explanation import CloseUp, Explanation
from chiaroscuro.evidence.passes import MAX_PROPOSALS
from chiaroscuro.evidence.saved import COLUMNS
from chiaroscuro.evidence.targets import kept
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import (
    AGAIN,
    Certificate,
    CloseUpPasses,
    CloseUpRecord,
    Kept,
    MapSettings,
    MapSource,
    WindowRecord,
)

_MASKS_AT_ONCE = 512  # masks whose similarities are in memory together


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
            mask. It matters where the detector reported more than ``passes.MAX_PROPOSALS``, of
            which the others are the best by score.
        image_sha256: of the picture; computed when not given.
        window: that the passes were made in: the whole picture, or a part of it.
        area: that masks cover, and maps show: the whole picture, but of a close-up.
        windows: further passes under the same masks, each in a window.
        closeups: passes for the close-up of one target each, under masks of its own.
    """

    image: Tensor
    boxes: Float32[Tensor, "proposals 4"]
    scores: Float32[Tensor, " proposals"]
    labels: Int64[Tensor, " proposals"]
    counts: Int64[Tensor, " n_masks"]
    window: Window
    area: Window
    class_probabilities: Float32[Tensor, "proposals classes"] | None = None
    objectness: Float32[Tensor, " proposals"] | None = None
    seed: int = 0
    design: MaskDesign = field(default_factory=MaskDesign)
    detector: str = ""
    before_nms: bool = False
    kept_for: tuple[Kept, ...] = ()
    image_sha256: str = ""
    windows: tuple["Evidence", ...] = ()
    closeups: tuple["Evidence", ...] = ()
    _last: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", limits.SEED("seed", self.seed))
        if not self.image_sha256:
            object.__setattr__(self, "image_sha256", image_hash(self.image))
        if int(self.counts.sum()) != len(self.boxes):
            raise InputError(
                f"evidence: wanted {int(self.counts.sum())} proposals, as counts say, "
                f"got {len(self.boxes)}"
            )

    @property
    def n_masks(self) -> int:
        """Masks observed, each in one detector pass; without those of windows."""
        return len(self.counts)

    @property
    def most_masks(self) -> int:
        """Masks observed on the whole picture, or in the window that has most of them."""
        return max(part.n_masks for part in (self, *self.windows))

    @property
    def cost(self) -> float:
        """Pixels shown to the detector over those of the picture: passes, in full ones."""
        share = self.window.area / math.prod(self.image.shape[1:])
        return self.n_masks * share + sum(one.cost for one in (*self.windows, *self.closeups))

    @property
    def masks(self) -> Masks:
        """The masks that were observed."""
        return Masks(self.design, *self.area.size, self.seed)

    def proposals(self, mask: int) -> Proposals:
        """What the detector reported under one mask."""
        start = int(self.counts[:mask].sum())
        return self._all()[start : start + int(self.counts[mask])]

    def weights(self, targets: TargetsLike) -> Float32[Tensor, "targets n_masks"]:
        """Weight of every mask for every target, in [0, 1]; see ``similarity.mask_weights``."""
        wanted = self._targets(targets)
        ends, everything = self.counts.cumsum(0), self._all()
        parts = []
        for first in range(0, self.n_masks, _MASKS_AT_ONCE):
            counts = self.counts[first : first + _MASKS_AT_ONCE]
            stop = int(ends[first + len(counts) - 1])
            index = torch.repeat_interleave(torch.arange(len(counts)), counts)
            found = everything[stop - int(counts.sum()) : stop]
            parts.append(mask_weights(wanted, found, index, len(counts)))
        return (
            torch.cat(parts, dim=1) if parts else torch.zeros(len(wanted), 0, dtype=torch.float32)
        )

    def first(self, n_masks: int) -> "Evidence":
        """The evidence of the first masks alone, as if no more had been observed; no close-up."""
        if n_masks >= self.n_masks and not self.windows and not self.closeups:
            return self
        counts = self.counts[:n_masks]
        found = self._all()[: int(counts.sum())]
        windows = tuple(one.first(n_masks) for one in self.windows)
        columns = {name: getattr(found, name) for name in COLUMNS}
        return replace(self, counts=counts, windows=windows, closeups=(), **columns)

    def joined(self, other: "Evidence") -> "Evidence":
        """This with what else was observed of the same picture, detector, seed and design."""
        other.check_of(self)
        whole = max(self, other, key=lambda one: one.n_masks)
        parts: dict[Any, Evidence] = {}
        for one in (*self.windows, *self.closeups, *other.windows, *other.closeups):
            key = one.window, one.area, one.design, one.kept_for
            parts[key] = max(parts.get(key, one), one, key=lambda same: same.n_masks)
        return replace(
            whole,
            windows=tuple(one for one in parts.values() if one.design == self.design),
            closeups=tuple(one for one in parts.values() if one.design != self.design),
        )

    def certificate(self, target: Target, window: Window) -> Certificate:
        """How well weights of a target in one of the windows agree with those of full passes."""
        parts = [one for one in self.windows if one.window == window]
        part = max(parts, key=lambda one: (kept(target) in one.kept_for, one.n_masks))
        n = min(self.n_masks, part.n_masks, LOOKS[-1])
        return certificate(self.first(n).weights([target])[0], part.weights([target])[0])

    def part_for(self, target: Target) -> tuple["Evidence", Certificate | None]:
        """The passes that a target is explained from, and the certificate if it is a window.

        A window that holds the box and is certified for it, if it has no fewer passes than the
        whole picture has; of several, that of most passes.
        """
        found: tuple[Evidence, Certificate | None] = self, None
        for part in self.windows:
            enough = part.n_masks + (found[0] is self) > found[0].n_masks
            if enough and part.n_masks and part.window.holds(target.box):
                one = self.certificate(target, part.window)
                if holds(one):
                    found = part, one
        return found

    def closeup(self, target: Target) -> CloseUp | None:
        """The close-up of a target; None if none was observed of it, or none may be used.

        Of several, that of most masks, or the last of these: masks that did not fit were given up
        after a few.
        """
        found: tuple[Evidence, Certificate | None] | None = None
        whole = Window.whole(self.image.shape[1:])
        for part in self.closeups:
            fewer = found is not None and part.n_masks < found[0].n_masks
            if kept(target) not in part.kept_for or not part.n_masks or fewer:
                continue
            one = None if part.window == whole else self.certificate(target, part.window)
            if one is None or holds(one):
                found = part, one
        return None if found is None else _made_closeup(target, *found)

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
        parts = [self.part_for(target) for target in wanted]
        weights: dict[int, Tensor] = {}
        estimates: dict[int, Estimate] = {}
        notes: list[Note] = []
        for part in {id(part): part for part, _ in parts}.values():
            numbers = [i for i, (own, _) in enumerate(parts) if own is part]
            targets_of = [wanted[i] for i in numbers]
            of_part = part.weights(targets_of)
            made = part._estimates(targets_of, of_part, estimator)
            if part is not self and estimator == "surrogate":
                made = [
                    with_beyond(one, self, part, wanted[i], cast("Certificate", parts[i][1]))
                    for one, i in zip(made, numbers, strict=True)
                ]
            weights |= dict(zip(numbers, of_part, strict=True))
            estimates |= dict(zip(numbers, made, strict=True))
            for note in (
                *remarks.on_weights(part, targets_of, of_part),
                *remarks.on_estimates(part, targets_of, made, wanted_fidelity),
            ):
                own = note if note.target is None else note.of(numbers[note.target - 1] + 1)
                notes += [own] * (own not in notes)
        explained = self._explanation(wanted, parts, weights, estimates, estimator, notes)
        return replace(explained, notes=(*notes, *remarks.on_sizes(explained)))

    def _estimates(
        self, targets: Sequence[Target], weights: Tensor, estimator: str
    ) -> list[Estimate]:
        """Maps from these passes alone."""
        key = (estimator, tuple(_key(target) for target in targets))
        last = self._last.get("explained")  # once: another thread may put in its own meanwhile
        if last is None or last[0] != key:  # automatic stopping has explained them already
            x, y = self.area.x1, self.area.y1
            made = estimators.estimate(
                self.masks,
                as_unit_floats(self.area.of(self.image)[None])[0],
                weights,
                [target.moved(-x, -y) for target in targets],
                estimator,
                self.window.within(self.area).moved(-x, -y),
            )
            last = key, made
            self._last["explained"] = last
        found: list[Estimate] = last[1]
        return found

    def _explanation(
        self,
        targets: tuple[Target, ...],
        parts: Sequence[tuple["Evidence", Certificate | None]],
        weights: Mapping[int, Tensor],
        estimates: Mapping[int, Estimate],
        estimator: str,
        notes: Sequence[Note],
    ) -> Explanation:
        rows = [estimates[i] for i in range(len(targets))]
        size = (0, *self.image.shape[1:])
        return Explanation(
            targets=targets,
            saliency=_stack([e.saliency for e in rows], size),
            standard_error=_stack([e.standard_error for e in rows], size),
            fidelity=torch.tensor([e.fidelity for e in rows], dtype=torch.float32),
            mean_weight=torch.tensor(
                [float(weights[i].mean()) for i in range(len(targets))], dtype=torch.float32
            ),
            settings=self.settings(estimator),
            meaning=estimators.MEANINGS[estimator],
            notes=tuple(notes),
            sources=tuple(
                MapSource(
                    n_masks=part.n_masks,
                    window=None if part is self else part.window,
                    certificate=one,
                )
                for part, one in parts
            ),
            closeups=tuple(map(self.closeup, targets)) if self.closeups else (),
        )

    def extend(
        self,
        detector: Detector,
        n_passes: int,
        *,
        batch_size: int | None = None,
        progress: Report | None = None,
    ) -> "Evidence":
        """Evidence from ``n_passes`` more masks: as if all had been observed at once.

        Where some were observed in windows, the further ones are too.

        Raises:
            InputError: if the detector is not the one that was observed.
        """
        from chiaroscuro.evidence.observe import observe

        return observe(
            self.image,
            detector,
            n_passes=self.most_masks + limits.N_PASSES("n_passes", n_passes),
            windows=bool(self.windows),
            closeup=bool(self.closeups),
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
        theirs, mine = plain(self.settings()), plain(other.settings())
        differing = [
            f"{key} was {theirs[key]}, is {mine[key]}"
            for key in ("detector", "before_nms", "seed", "design", "image_sha256")
            if mine[key] != theirs[key]
        ]
        if differing:
            raise InputError(
                f"resume: the evidence belongs to something else: {'; '.join(differing)}"
            )

    def settings(self, estimator: str | None = None) -> MapSettings:
        """How maps from this evidence are made: all but the proposals."""
        return MapSettings(
            method="drise",
            detector=self.detector,
            n_passes=self.n_masks,
            windows=tuple(
                WindowRecord(window=one.window, n_passes=one.n_masks, kept_for=one.kept_for)
                for one in self.windows
            ),
            closeups=tuple(
                CloseUpPasses(
                    window=one.window,
                    area=one.area,
                    design=one.design,
                    n_passes=one.n_masks,
                    kept_for=one.kept_for,
                )
                for one in self.closeups
            ),
            cost=round(self.cost, 3),
            estimator=estimator,
            before_nms=self.before_nms,
            seed=self.seed,
            design=self.design,
            image_sha256=self.image_sha256,
            versions=_versions(),
            kept_for=self.kept_for if bool(self.capped.any()) else (),
        )

    def save(self, path: str | AnyPath) -> AnyPath:
        """Write one ``.npz`` that holds everything, whole or not at all."""
        path = bundle.as_path(path)
        saved.write(self, path)
        return path

    @classmethod
    def load(cls, path: str | AnyPath) -> "Evidence":
        """Read back what ``save`` wrote.

        Raises:
            BundleError: if the file is damaged or is no evidence.
        """
        path = bundle.as_path(path)
        fields, n_windows = saved.read_parts(path)
        with bundle.as_bundle_error(path, AGAIN):
            whole, *others = (cls(**one) for one in fields)
        windows, closeups = others[:n_windows], others[n_windows:]
        return replace(whole, windows=tuple(windows), closeups=tuple(closeups))

    @staticmethod
    def load_image(path: str | AnyPath) -> Tensor:
        """The picture alone, ``3 height width``, from a file that ``save`` wrote.

        Raises:
            BundleError: if the file is damaged or is no evidence.
        """
        return saved.read_image(bundle.as_path(path))

    def _all(self) -> Proposals:
        return Proposals(**{name: getattr(self, name) for name in COLUMNS})

    def _targets(self, targets: TargetsLike) -> tuple[Target, ...]:
        height, width = self.image.shape[1:]
        return tuple(target.inside(height, width) for target in as_targets(targets))

    @property
    def capped(self) -> Bool[Tensor, " n_masks"]:
        """Whether so many proposals came under a mask that some may have been dropped."""
        return torch.ge(self.counts, MAX_PROPOSALS)


EVIDENCE = instance(Evidence, "Evidence, as observe gives it")


def _made_closeup(target: Target, part: Evidence, found: Certificate | None) -> CloseUp:
    """The close-up from its passes, and the certificate of their window."""
    weights = part.weights([target])
    (made,) = part._estimates([target], weights, "surrogate")
    believed = made.fidelity * (1.0 if found is None else max(0.0, found.correlation))
    cell = part.area.size[1] / part.design.grid[1]
    whole = Window.whole(part.image.shape[1:])
    return CloseUp(
        target=target,
        saliency=made.saliency,
        standard_error=made.standard_error,
        record=CloseUpRecord(
            window=part.area,
            cells=round(float(boxes.area(target.box).sqrt()) / cell, 1),
            source=MapSource(
                n_masks=part.n_masks,
                window=None if part.window == whole else part.window,
                certificate=found,
            ),
            cost=round(part.cost, 3),
            design=part.design,
            meaning=estimators.MEANINGS["surrogate"],
            fidelity=None if math.isnan(believed) else round(believed, 4),
            mean_weight=round(float(weights.mean()), 6),
        ),
    )


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

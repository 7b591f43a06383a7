"""Evidence: what a detector reported under every mask, and every explanation that follows from it.

``observe`` makes the only detector passes. Explaining a box, found, user-drawn or annotated, then
needs none.
"""

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import attrs
import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from chiaroscuro._version import __version__
from chiaroscuro.core import limits
from chiaroscuro.core.checks import instance
from chiaroscuro.core.declared import plain, read
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.masks import Masks
from chiaroscuro.core.pixels import checked_pixels
from chiaroscuro.core.plan import MaskDesign
from chiaroscuro.core.progress import Report
from chiaroscuro.core.records import Proposals, Target, TargetsLike, as_targets
from chiaroscuro.core.similarity import mask_weights
from chiaroscuro.detectors.protocol import Detector, as_unit_floats
from chiaroscuro.evidence import estimators, remarks
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.passes import MAX_PROPOSALS
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.store import arrays, bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import AGAIN, Kept, MapSettings

_MASKS_AT_ONCE = 512  # masks whose similarities are in memory together
COLUMNS = ("boxes", "scores", "labels", "class_probabilities", "objectness")


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
    image_sha256: str = ""
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
        """Masks observed, each in one detector pass."""
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
        """The evidence of the first masks alone, as if no more had been observed."""
        counts = self.counts[:n_masks]
        kept = self._all()[: int(counts.sum())]
        return replace(self, counts=counts, **{name: getattr(kept, name) for name in COLUMNS})

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
        notes = [
            *remarks.on_weights(self, wanted, weights),
            *remarks.on_estimates(self, wanted, estimates, wanted_fidelity),
        ]
        return Explanation(
            targets=wanted,
            saliency=_stack([e.saliency for e in estimates], size),
            standard_error=_stack([e.standard_error for e in estimates], size),
            fidelity=fidelity,
            mean_weight=weights.mean(dim=1) if wanted else torch.zeros(0, dtype=torch.float32),
            settings=self.settings(estimator),
            meaning=estimators.MEANINGS[estimator],
            notes=tuple(notes),
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

        Raises:
            InputError: if the detector is not the one that was observed.
        """
        from chiaroscuro.evidence.observe import observe

        return observe(
            self.image,
            detector,
            n_passes=self.n_masks + limits.N_PASSES("n_passes", n_passes),
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
        columns = {
            "settings": np.array(json.dumps(plain(self.settings()))),
            "image": self.image.numpy(),
            "counts": self.counts.numpy(),
        }
        for name in COLUMNS:
            if getattr(self, name) is not None:
                columns[name] = getattr(self, name).numpy()
        if isinstance(self.design.fill, Tensor):
            columns["fill"] = self.design.fill.cpu().numpy()
        bundle.write_arrays(path, columns)
        return path

    @classmethod
    def load(cls, path: str | AnyPath) -> "Evidence":
        """Read back what ``save`` wrote.

        Raises:
            BundleError: if the file is damaged or is no evidence.
        """
        path = bundle.as_path(path)
        columns = bundle.read_arrays(path, arrays.EVIDENCE, remedy=AGAIN)
        with bundle.as_bundle_error(path, AGAIN):
            settings, counts = _settings_of(columns), columns["counts"]
            if settings.n_passes != len(counts):
                raise InputError(f"settings say {settings.n_passes} masks, counts {len(counts)}")
            design = settings.design
            if (design.fill == "image") != ("fill" in columns):
                raise InputError(f"its fill is {design.fill!r}, which does not fit its arrays")
            if "fill" in columns:
                design = attrs.evolve(design, fill=columns["fill"])
            found = Proposals(**{name: columns.get(name) for name in COLUMNS})
            return cls(
                image=torch.from_numpy(columns["image"]),
                counts=torch.from_numpy(counts),
                seed=settings.seed,
                design=design,
                detector=settings.detector,
                before_nms=settings.before_nms,
                kept_for=settings.kept_for,
                image_sha256=settings.image_sha256 or "",
                **{name: getattr(found, name) for name in COLUMNS},
            )

    @staticmethod
    def load_image(path: str | AnyPath) -> Tensor:
        """The picture alone, ``3 height width``, from a file that ``save`` wrote.

        Raises:
            BundleError: if the file is damaged or is no evidence.
        """
        path = bundle.as_path(path)
        columns = bundle.read_arrays(
            path, arrays.EVIDENCE, only=("settings", "image"), remedy=AGAIN
        )
        with bundle.as_bundle_error(path, AGAIN):
            _settings_of(columns)
        return torch.from_numpy(columns["image"])

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


def _settings_of(columns: dict[str, Any]) -> MapSettings:
    """The settings of an evidence file; an InputError if they are of another picture."""
    settings = read(MapSettings, bundle.parse_json(str(columns["settings"])), "settings")
    image = checked_pixels("image", torch.from_numpy(columns["image"]))
    if settings.image_sha256 != image_hash(image):
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

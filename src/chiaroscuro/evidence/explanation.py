"""Explanation: the saliency maps of some targets, and how far each can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import attrs
import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.declared import of_kind
from chiaroscuro.core.errors import InputError, TargetError
from chiaroscuro.core.notes import Note
from chiaroscuro.core.records import Target
from chiaroscuro.core.windows import Window
from chiaroscuro.store import arrays, bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import (
    AGAIN,
    CloseUpRecord,
    Manifest,
    MapSettings,
    MapSource,
    TargetRecord,
)

MIN_MASKS = 100  # with fewer, no fidelity is stated
FINE_CELLS = 4  # mask cells across a box, at least, for shares of box and ring
FAINT, SETTLED = 0.5, 0.9  # fidelities below which a map is too faint to tell, and settling


def trust_words(fidelity: float | None, n_masks: int | None) -> str:
    """How far a map can be trusted.

    Args:
        fidelity: in [-1, 1]; None or NaN where it is not known.
        n_masks: that the map is from; None for a method without masks.

    Returns:
        ``"forming"``: fewer masks than a fidelity can be stated from; ``"too few answers to
        judge"``: enough masks, but hardly any of them changed the weight; ``"too faint to tell"``:
        a fidelity below 0.5; ``"settling"``: below 0.9; ``"settled"``; or nothing, for a method
        that has no estimate.
    """
    if fidelity is None or math.isnan(fidelity):
        if n_masks is None:
            return ""
        return "forming" if n_masks < MIN_MASKS else "too few answers to judge"
    if fidelity < FAINT:
        return "too faint to tell"
    return "settled" if fidelity >= SETTLED else "settling"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CloseUp:
    """The map of one target from masks whose cells fit its box: what in the face matters.

    Attributes:
        target: what was explained, in the picture's pixels.
        saliency: ``height width`` of the window, as of :class:`Explanation`.
        standard_error: likewise.
        record: window, cells across the box, masks, certificate, cost and fidelity.
    """

    target: Target
    saliency: Float32[Tensor, "height width"]
    standard_error: Float32[Tensor, "height width"]
    record: CloseUpRecord

    @property
    def window(self) -> Window:
        """What it shows: ``x1 y1 x2 y2`` in the picture's pixels."""
        return self.record.window

    @property
    def fidelity(self) -> float:
        """As of :class:`Explanation`."""
        return _number(self.record.fidelity)

    @property
    def mean_weight(self) -> float:
        """As of :class:`Explanation`."""
        return _number(self.record.mean_weight)

    @property
    def cost(self) -> float:
        """Of its passes, in passes on the whole picture."""
        return self.record.cost

    def alone(
        self,
        of: "Explanation",
        target: Target | None = None,
        maps: tuple[Tensor, Tensor] | None = None,
    ) -> "Explanation":
        """The explanation of a picture that is the window alone.

        Args:
            of: the explanation that the close-up belongs to.
            target: in that picture; by default the window has the picture's scale.
            maps: likewise: saliency and standard error.
        """
        one = self.record
        saliency, standard_error = maps or (self.saliency, self.standard_error)
        return Explanation(
            targets=(target or self.target.moved(-self.window.x1, -self.window.y1),),
            saliency=saliency[None],
            standard_error=standard_error[None],
            fidelity=torch.tensor([self.fidelity], dtype=torch.float32),
            mean_weight=torch.tensor([self.mean_weight], dtype=torch.float32),
            settings=attrs.evolve(
                of.settings,
                estimator="surrogate",
                design=one.design,
                n_passes=one.source.n_masks or 0,
                cost=one.cost,
                windows=(),
                closeups=(),
            ),
            meaning=one.meaning,
            sources=(one.source,),
        )


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
        settings: how the maps were made.
        meaning: what one unit of ``saliency`` is, in words.
        notes: what the reader of the maps should know; each is its sentence.
        sources: the passes that each map is from; unknown when not given.
        closeups: one of each target, or None where it has none; none at all when not asked for.

    Raises:
        TargetError: on arrays of other shapes, dtypes or ranges.
    """

    targets: tuple[Target, ...]
    saliency: Float32[Tensor, "targets height width"]
    standard_error: Float32[Tensor, "targets height width"]
    fidelity: Float32[Tensor, " targets"]
    mean_weight: Float32[Tensor, " targets"]
    settings: MapSettings
    meaning: str = ""
    notes: tuple[Note, ...] = ()
    sources: tuple[MapSource, ...] = ()
    closeups: tuple[CloseUp | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.sources:
            object.__setattr__(self, "sources", (MapSource(),) * len(self.targets))
        lengths = {"targets": len(self.targets)}
        try:
            object.__setattr__(self, "settings", _SETTINGS("settings", self.settings))
            for name in ("saliency", "standard_error", "fidelity", "mean_weight"):
                values = getattr(self, name).detach().cpu().numpy()
                arrays.SALIENCY[name].check_header(name, values.dtype, values.shape, lengths)
                arrays.SALIENCY[name].check_values(name, values)
        except InputError as error:
            raise TargetError(f"explanation: {error}") from error

    def __len__(self) -> int:
        return len(self.targets)

    def trust(self, index: int) -> str:
        """How far a map can be trusted, in the words of ``trust_words``."""
        return trust_words(float(self.fidelity[index]), self.n_masks(index))

    def n_masks(self, index: int) -> int | None:
        """Masks that a map is from; None for a method without masks."""
        known = self.sources[index].n_masks
        masked = not bool(self.mean_weight[index].isnan())
        return known if known is not None or not masked else self.settings.n_passes

    def closeup(self, index: int) -> CloseUp | None:
        """The close-up of a target, if it has one."""
        return self.closeups[index] if self.closeups else None

    @property
    def cost(self) -> float:
        """Pixels shown to the detector over those of the picture: passes, in full ones."""
        cost = self.settings.cost
        return float(self.settings.n_passes) if cost is None else cost

    @property
    def in_windows(self) -> bool:
        """Whether a map is from passes in a window, not all from passes on the whole picture."""
        return any(one.window is not None for one in self.sources)

    @property
    def map_cost(self) -> float:
        """Of the passes for maps, without those for close-ups, in passes on the whole picture."""
        area = self.height * self.width
        shown = sum(one.n_passes * one.window.area for one in self.settings.closeups)
        return self.cost - shown / area

    @property
    def cell_px(self) -> float:
        """Longer side of a mask's cell in pixels; 0 for a method without masks."""
        if not any(one.n_masks for one in self.sources):
            return 0.0
        rows, columns = self.settings.design.grid
        return max(self.height / rows, self.width / columns)

    def cells_fit(self, index: int) -> bool:
        """Whether a box has enough mask cells across to tell where in and around it evidence is."""
        size = float(boxes.area(self.targets[index].box).sqrt())
        return self.cell_px <= size / FINE_CELLS or self.closeup(index) is not None

    def fidelity_text(self, index: int, digits: int = 2) -> str:
        """The fidelity, rounded down, and its words; the words alone below 0.5."""
        fidelity, step = float(self.fidelity[index]), float(10**digits)
        if math.isnan(fidelity) or fidelity < FAINT:
            return self.trust(index)
        shown = math.floor(step * fidelity) / step  # .997 is not 1.00
        return f"fidelity {shown:z.{digits}f}, {self.trust(index)}"

    def with_notes(self, *notes: Note) -> "Explanation":
        """The same with further notes, before its own."""
        return replace(self, notes=(*notes, *self.notes))

    @property
    def height(self) -> int:
        """Height of the maps in pixels."""
        return self.saliency.shape[1]

    @property
    def width(self) -> int:
        """Width of the maps in pixels."""
        return self.saliency.shape[2]

    def manifest(self, **parts: Any) -> Manifest:
        """Everything but the maps, as the manifest states it.

        Args:
            parts: further fields of ``Manifest``.
        """
        return Manifest(
            settings=self.settings,
            meaning=self.meaning,
            notes=self.notes,
            height=self.height,
            width=self.width,
            targets=tuple(
                TargetRecord(
                    **target.plain(),
                    fidelity=_known(self.fidelity[i], 4),
                    mean_weight=_known(self.mean_weight[i], 6),
                    source=self.sources[i],
                    closeup=one.record if (one := self.closeup(i)) else None,
                )
                for i, target in enumerate(self.targets)
            ),
            **parts,
        )

    def save(self, folder: str | AnyPath, **parts: Any) -> AnyPath:
        """Write ``saliency.npz`` and, last, ``manifest.json`` into a folder.

        The map of the first target's close-up is ``closeup-01.npz``, and so on. Each file appears
        whole or not at all; the manifest's presence means complete. Maps are raw, never rescaled.

        Args:
            folder: made if absent; files of an earlier explanation in it are replaced.
            parts: further fields of ``Manifest``.

        Returns:
            The folder.
        """
        folder, nan = bundle.as_path(folder), float("nan")
        boxes = [t.box.numpy() for t in self.targets]
        columns = {
            "saliency": self.saliency.numpy(),
            "standard_error": self.standard_error.numpy(),
            "boxes": np.stack(boxes) if boxes else np.zeros((0, 4), np.float32),
            "scores": np.array([nan if t.score is None else t.score for t in self.targets], "f4"),
            "labels": np.array([-1 if t.label is None else t.label for t in self.targets], "i8"),
            "fidelity": self.fidelity.numpy(),
            "mean_weight": self.mean_weight.numpy(),
        }
        (folder / "manifest.json").unlink(missing_ok=True)
        bundle.write_arrays(folder / "saliency.npz", columns, compressed=False)
        for stale in bundle.matching(folder, "closeup-*.npz"):
            stale.unlink()
        for i, one in enumerate(self.closeups):
            if one is not None:
                arrays_of = {name: getattr(one, name).numpy() for name in arrays.CLOSEUP}
                bundle.write_arrays(_closeup_file(folder, i), arrays_of, compressed=False)
        bundle.write_record(folder / "manifest.json", self.manifest(**parts))
        return folder

    @classmethod
    def load(cls, folder: str | AnyPath, manifest: Manifest | None = None) -> "Explanation":
        """Read back what ``save`` wrote.

        Args:
            folder: the result folder.
            manifest: of that folder, where it has been read already.

        Raises:
            BundleError: if the folder is incomplete or its files do not belong together.
        """
        folder = bundle.as_path(folder)
        file = folder / "manifest.json"
        manifest = manifest or bundle.read_record(file, Manifest, remedy=AGAIN)
        columns = bundle.read_arrays(folder / "saliency.npz", arrays.SALIENCY, remedy=AGAIN)
        with bundle.as_bundle_error(folder, AGAIN):
            _check_same(manifest, columns)
            targets = tuple(
                Target(box=box, label=one.label, score=one.score, origin=one.origin)
                for box, one in zip(columns["boxes"], manifest.targets, strict=True)
            )
            maps: dict[str, Any] = {
                name: torch.from_numpy(columns[name])
                for name in ("saliency", "standard_error", "fidelity", "mean_weight")
            }
            return cls(
                targets=targets,
                settings=manifest.settings,
                meaning=manifest.meaning,
                notes=manifest.notes,
                sources=tuple(one.source for one in manifest.targets),
                closeups=_closeups(folder, manifest, targets),
                **maps,
            )


_SETTINGS = of_kind(MapSettings)
_IN_BOTH = {  # by array: field of the target, what stands for None, and how far it is rounded
    "boxes": ("box", np.nan, 1e-3),
    "scores": ("score", np.nan, 1e-6),
    "labels": ("label", -1, 0),
    "fidelity": ("fidelity", np.nan, 1e-4),
    "mean_weight": ("mean_weight", np.nan, 1e-6),
}


def _check_same(manifest: Manifest, columns: dict[str, Any]) -> None:
    """Hold ``manifest.json`` and ``saliency.npz`` to say the same of the targets."""
    unlike = "manifest.json and saliency.npz do not belong together"
    size = (len(manifest.targets), manifest.height, manifest.width)
    if columns["saliency"].shape != size:
        raise InputError(f"{unlike}: {size} maps, and {columns['saliency'].shape}")
    for name, (field, unknown, rounding) in _IN_BOTH.items():
        values = [getattr(target, field) for target in manifest.targets]
        stated = [unknown if value is None else value for value in values]
        wanted = np.asarray(stated, dtype=np.float64).reshape(columns[name].shape)
        if not np.allclose(columns[name], wanted, rtol=0, atol=rounding, equal_nan=True):
            raise InputError(f"{unlike}: the {name} differ")


def _closeup_file(folder: AnyPath, index: int) -> AnyPath:
    return folder / f"closeup-{index + 1:02}.npz"


def _closeups(
    folder: AnyPath, manifest: Manifest, targets: Sequence[Target]
) -> tuple[CloseUp | None, ...]:
    """The close-ups that a manifest states, with their maps."""
    records = [one.closeup for one in manifest.targets]
    if not any(records):
        return ()
    found: list[CloseUp | None] = []
    for i, (target, record) in enumerate(zip(targets, records, strict=True)):
        if record is None:
            found.append(None)
            continue
        file = _closeup_file(folder, i)
        maps = bundle.read_arrays(file, arrays.CLOSEUP, remedy=AGAIN)
        if maps["saliency"].shape != record.window.size:
            raise InputError(f"manifest.json and {file.name} do not belong together: other sizes")
        tensors = {name: torch.from_numpy(values) for name, values in maps.items()}
        found.append(CloseUp(target=target, record=record, **tensors))
    return tuple(found)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _known(value: Tensor, digits: int) -> float | None:
    """For JSON, which has no NaN."""
    return None if bool(value.isnan()) else round(float(value), digits)

"""Explanation: the saliency maps of some targets, and how far each can be trusted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core.errors import InputError, TargetError
from chiaroscuro.core.records import Target
from chiaroscuro.store import bundle, contents
from chiaroscuro.store.bundle import AnyPath

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


def _known(value: Tensor, digits: int) -> float | None:
    """For JSON, which has no NaN."""
    return None if bool(value.isnan()) else round(float(value), digits)

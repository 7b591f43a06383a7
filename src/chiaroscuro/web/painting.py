"""One painting of a session: what detectors find in it, and what they rely on.

All evidence is kept, so the map of another box needs no detector pass.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

from cachetools import LRUCache
from torch import Tensor

from chiaroscuro import metrics
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import InputError
from chiaroscuro.core.notes import Note
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.targets import SAME_OBJECT, find, with_classes
from chiaroscuro.metrics.difference import MapDifference, map_difference, n_cells_of
from chiaroscuro.metrics.localisation import SUPPORTED, evidence_shares
from chiaroscuro.results.picture import Picture


class Detectors:
    """The detectors to choose from; each is loaded once, when it is first used."""

    def __init__(self, names: Sequence[str], device: str = "auto") -> None:
        self.names, self._device = tuple(names), device
        self._loaded: dict[str, Detector] = {}
        self._lock = threading.Lock()

    def check(self, *names: str) -> None:
        """Raise ``InputError`` unless all these detectors can be chosen."""
        for name in names:
            if name not in self.names:
                raise InputError(f"detector: wanted one of {', '.join(self.names)}, got {name!r}")

    def get(self, name: str) -> Detector:
        """The detector of that name.

        Raises:
            InputError: if it is none of those to choose from.
            ChiaroscuroError: if it cannot be loaded.
        """
        self.check(name)
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load_detector(name, device=self._device)
            return self._loaded[name]


class Maps:
    """Explanations of one target each, of all paintings; the least recently used is dropped first.

    Args:
        limit_bytes: of all maps together. A map that was dropped is computed again in a few tenths
            of a second, without a detector pass.
    """

    def __init__(self, limit_bytes: int = 256 * 2**20) -> None:
        self.kept: LRUCache[tuple[Any, ...], Explanation] = LRUCache(limit_bytes, _bytes)
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...], make: Callable[[], Explanation]) -> Explanation:
        """The explanation of that key; computed if it is not kept."""
        with self._lock:
            kept = self.kept.get(key)
        if kept is not None:
            return kept
        made = make()
        with self._lock, contextlib.suppress(ValueError):  # larger than the limit
            self.kept[key] = made
        return made


class Painting:
    """A painting and what is known about it.

    Args:
        picture: the painting, as it is explained.
        detectors: those to choose from.
        maps: where explanations are kept, shared by all paintings.
    """

    def __init__(self, picture: Picture, detectors: Detectors, maps: Maps | None = None) -> None:
        self.picture = picture
        self.observed: dict[str, Evidence] = {}
        self._detectors, self._maps = detectors, maps or Maps()
        self._found: dict[str, Proposals] = {}
        self._key = object()  # separates the maps of this painting from those of others

    def detector(self, name: str) -> Detector:
        """The detector of that name; raises as ``Detectors.get``."""
        return self._detectors.get(name)

    def faces(self, name: str) -> Proposals:
        """What a detector finds in the whole painting; computed once."""
        if name not in self._found:
            self._found[name] = find(self.picture.image, self.detector(name))
        return self._found[name]

    def evidence(self, name: str) -> Evidence:
        """The evidence about a detector so far.

        Raises:
            InputError: if there is none yet.
        """
        if name not in self.observed:
            raise InputError(
                f"{name} has no evidence about this painting yet; explain a face first"
            )
        return self.observed[name]

    def explain(self, name: str, target: Target) -> Explanation:
        """One target's map from the evidence so far, without a detector pass.

        Raises:
            InputError: if there is no evidence yet.
            TargetError: on a box outside the painting.
        """
        evidence = self.evidence(name)
        (target,), notes = self.classed(name, [target])
        target_key = _target_key(target.inside(*self.picture.image.shape[1:]))
        return self._maps.get(
            (self._key, name, evidence.seed, evidence.cost, *target_key),
            lambda: evidence.explain([target]).with_notes(*notes),
        )

    def explain_all(self, name: str, targets: Sequence[Target]) -> Explanation:
        """All targets in one explanation, for files; raises as ``explain``."""
        classed, notes = self.classed(name, targets)
        return self.evidence(name).explain(classed).with_notes(*notes)

    def classed(
        self, name: str, targets: Sequence[Target]
    ) -> tuple[tuple[Target, ...], tuple[Note, ...]]:
        """Targets with the class of the found object they lie over, and notes that say so."""
        names = self.detector(name).info.class_names
        return with_classes(targets, names, lambda: self.faces(name))

    def difference(self, names: Sequence[str], target: Target) -> MapDifference:
        """The difference of two detectors' maps of one target from the same masks.

        Raises:
            InputError: if one of them has no evidence yet, or their masks differ.
        """
        both = [self.evidence(name) for name in names]
        if both[0].seed != both[1].seed:
            raise InputError("seed: the detectors saw different masks; explain them together")
        n = min(evidence.n_masks for evidence in both)
        maps = [
            self.explain(name, target)
            if evidence.n_masks == n
            else evidence.first(n).explain(self.classed(name, [target])[0])
            for name, evidence in zip(names, both, strict=True)
        ]
        return map_difference(
            maps[0].saliency[0],
            maps[1].saliency[0],
            maps[0].standard_error[0],
            maps[1].standard_error[0],
            n_cells_of(maps[0].settings),
        )

    def result(self, name: str, target: Target) -> dict[str, Any]:
        """One target as the page shows it: the manifest's JSON, and where the evidence lies."""
        explanation = self.explain(name, target)
        notes, shares = [note.sentence for note in explanation.notes], None
        share = evidence_shares(explanation, 0)
        if share is not None:
            shares = {"box": share.box, "ring": share.ring, "beyond": share.beyond}
        elif not bool((explanation.saliency > SUPPORTED * explanation.standard_error).any()):
            notes.append(Note("nothing sure").sentence)
        _, iou, score = metrics.best_match(target, self.faces(name), SAME_OBJECT)
        closeup = explanation.closeup(0)
        return {
            **plain(explanation.manifest().targets[0]),
            "detector": name,
            "n_passes": explanation.settings.n_passes,
            "reported": score if iou > 0 else None,
            "trust": explanation.fidelity_text(0),
            "closeup_trust": closeup and closeup.alone(explanation).fidelity_text(0),
            "notes": notes,
            "shares": shares,
            "cells_too_large": shares is None and not explanation.cells_fit(0),
        }

    def changed(
        self, name: str, target: Target, direction: metrics.Direction, share: float
    ) -> Tensor:
        """The painting with its most salient pixels inserted or deleted, ``3 height width``.

        Args:
            name: of the detector whose map is used.
            target: whose map is used.
            direction: ``"insertion"`` or ``"deletion"``.
            share: of the painting's pixels, in [0, 1].
        """
        saliency = self.explain(name, target).saliency[0]
        return metrics.changed_picture(self.picture.image, target, saliency, direction, share)

    def best_match(self, name: str, target: Target, image: Tensor) -> dict[str, float]:
        """The proposal in a changed painting that is most like the target."""
        found = self.detector(name).detect(image[None])[0].to("cpu")
        similarity, iou, score = metrics.best_match(target, found)
        return {"similarity": similarity, "iou": iou, "score": score}


def _bytes(explanation: Explanation) -> int:
    return explanation.saliency.nbytes + explanation.standard_error.nbytes


def _target_key(target: Target) -> tuple[Any, ...]:
    """Box and class: targets with the same ones have the same map."""
    return (*(round(v, 2) for v in target.box.tolist()), target.label)

"""One painting on a visitor's desk: what detectors find in it, and what they rely on.

Calls what the command line calls. Every number of masks that was ever watched is kept, so another
box is answered without a detector pass.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from chiaroscuro import metrics
from chiaroscuro.core.errors import InputError, ObservationInterrupted, UndefinedMetricError
from chiaroscuro.core.progress import Progress
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import observe
from chiaroscuro.evidence.targets import with_classes
from chiaroscuro.metrics.context import context_share
from chiaroscuro.metrics.difference import MapDifference, map_difference, n_cells_of
from chiaroscuro.results.explaining import SHOWN_SCORE
from chiaroscuro.results.picture import Picture
from chiaroscuro.web.jobs import Job, Stopped

FIDELITY = 0.9
MAX_MASKS = 5000
_SAME_BOX = 0.5  # IoU from which a detection is the box asked about
_LOOK_EVERY_S = 0.7  # how often a map that forms is drawn anew


class Detectors:
    """The detectors that can be chosen, each loaded once, when it is first asked."""

    def __init__(self, names: Sequence[str], device: str = "auto") -> None:
        self.names, self._device = tuple(names), device
        self._loaded: dict[str, Detector] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Detector:
        """The detector of that name.

        Raises:
            InputError: if it is none of those that can be chosen.
            ChiaroscuroError: if it cannot be loaded.
        """
        if name not in self.names:
            raise InputError(f"detector: wanted one of {', '.join(self.names)}, got {name!r}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = load_detector(name, device=self._device)
            return self._loaded[name]


class Maps:
    """Explanations of one target each, of all desks; those unused for longest go.

    Args:
        limit_bytes: of all maps together. Another look at one that is gone costs a few tenths of a
            second, and no detector pass.
    """

    def __init__(self, limit_bytes: int = 256 * 2**20) -> None:
        self._limit, self._held = limit_bytes, 0
        self._maps: OrderedDict[tuple[Any, ...], Explanation] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...], make: Callable[[], Explanation]) -> Explanation:
        """The explanation of that key, made if it is not there."""
        with self._lock:
            if key in self._maps:
                self._maps.move_to_end(key)
                return self._maps[key]
        made = make()
        with self._lock:
            if key not in self._maps:
                self._maps[key] = made
                self._held += _bytes(made)
            while self._held > self._limit and len(self._maps) > 1:
                self._held -= _bytes(self._maps.popitem(last=False)[1])
        return made


class Desk:
    """A painting and all that is known of it.

    Args:
        picture: the painting, as it is explained.
        detectors: those that may be asked.
        maps: where explanations are kept, of this desk and others.
    """

    def __init__(self, picture: Picture, detectors: Detectors, maps: Maps | None = None) -> None:
        self.picture = picture
        self._detectors, self._maps = detectors, maps or Maps()
        self._found: dict[str, Proposals] = {}
        self._watched: dict[str, Evidence] = {}
        self._mark = object()  # tells this desk's maps from those of others

    def detector(self, name: str) -> Detector:
        """The detector of that name; errors as :class:`Detectors` raises them."""
        return self._detectors.get(name)

    def faces(self, name: str) -> Proposals:
        """What a detector finds in the whole painting; asked once."""
        if name not in self._found:
            self._found[name] = detect_picture(self.picture, self.detector(name), SHOWN_SCORE)
        return self._found[name]

    @property
    def watched_by(self) -> list[str]:
        """Names of the detectors that there is evidence of."""
        return list(self._watched)

    def watched(self, name: str) -> Evidence:
        """The evidence of a detector so far.

        Raises:
            InputError: if there is none yet.
        """
        if name not in self._watched:
            raise InputError(f"{name} has not been asked about this painting yet; start it first")
        return self._watched[name]

    def explain(self, name: str, target: Target) -> Explanation:
        """One target's map from the evidence so far: no detector pass.

        Raises:
            InputError: if there is no evidence yet.
            TargetError: on a box outside the painting.
        """
        evidence = self.watched(name)
        (target,), notes = self._classed(name, [target])
        key = target_key(target.inside(*self.picture.image.shape[1:]))
        return self._maps.get(
            (self._mark, name, evidence.seed, evidence.n_masks, *key),
            lambda: _noted(evidence.explain([target]), notes),
        )

    def _classed(
        self, name: str, targets: Sequence[Target]
    ) -> tuple[tuple[Target, ...], tuple[str, ...]]:
        """Drawn boxes with the class of the found object that they lie over, and notes of it."""
        names = self.detector(name).info.class_names
        return with_classes(targets, names, lambda: self.faces(name))

    def difference(self, names: Sequence[str], target: Target) -> MapDifference:
        """The difference of two detectors' maps of one target from the same masks.

        Raises:
            InputError: if there is no evidence of one of them yet, or their masks differ.
        """
        both = [self.watched(name) for name in names]
        if both[0].seed != both[1].seed:
            raise InputError("the two were watched under different masks; start them together")
        n = min(evidence.n_masks for evidence in both)
        maps = [
            self.explain(name, target)
            if evidence.n_masks == n
            else evidence.first(n).explain(self._classed(name, [target])[0])
            for name, evidence in zip(names, both, strict=True)
        ]
        return map_difference(
            maps[0].saliency[0],
            maps[1].saliency[0],
            maps[0].standard_error[0],
            maps[1].standard_error[0],
            n_cells_of(maps[0].settings),
        )

    def explain_all(self, name: str, targets: Sequence[Target]) -> Explanation:
        """All targets in one explanation, for files; as ``explain`` otherwise."""
        classed, notes = self._classed(name, targets)
        return _noted(self.watched(name).explain(classed), notes)

    def answer(self, name: str, target: Target) -> dict[str, Any]:
        """One target as the page shows it: the manifest's JSON, and where the evidence lies."""
        explanation = self.explain(name, target)
        told = explanation.describe()
        one: dict[str, Any] = {
            **told["targets"][0],
            "detector": name,
            "n_masks": told["settings"]["n_masks"],
            "reported": self._reported(name, target),
            "trust": explanation.fidelity_text(0),
            "notes": list(explanation.notes),
            "shares": None,
        }
        try:
            share = context_share(
                explanation.saliency[0], explanation.targets[0], explanation.standard_error[0]
            )
            one["shares"] = {"box": share.box, "ring": share.ring, "beyond": share.beyond}
        except UndefinedMetricError:
            one["notes"].append("nothing in this map is larger than its own error yet")
        return one

    def watch(
        self,
        names: Sequence[str],
        targets: Sequence[Target],
        n_masks: Any,
        seed: int,
    ) -> Callable[[Job], None]:
        """Work for the queue: watch detectors one after the other, telling how maps form."""

        def work(job: Job) -> None:
            for name in names:
                self._watch(job, name, targets, n_masks, seed)

        return work

    def curves(self, name: str, target: Target) -> Callable[[Job], None]:
        """Work for the queue: insertion and deletion of one target's map."""

        def work(job: Job) -> None:
            saliency = self.explain(name, target).saliency[0]
            detector, made = _Stopping(self.detector(name), job), {}
            for direction in metrics.DIRECTIONS:
                (curve,) = metrics.curves(
                    self.picture.image, detector, [target], [saliency], direction
                )
                made[direction] = curve.describe()
                job.update(curves=dict(made))

        return work

    def changed(
        self, name: str, target: Target, direction: metrics.Direction, share: float
    ) -> Tensor:
        """The painting with the most salient pixels put in or hidden, ``3 height width``.

        Args:
            name: of the detector whose map it is.
            target: whose map.
            direction: ``"insertion"`` or ``"deletion"``.
            share: of the painting's pixels, in [0, 1].
        """
        saliency = self.explain(name, target).saliency[0]
        return metrics.changed_picture(self.picture.image, target, saliency, direction, share)

    def live(self, name: str, target: Target, image: Tensor) -> dict[str, Any]:
        """What a detector answers to a changed painting: the proposal most like the target."""
        answer = metrics.best_match(target, self.detector(name).detect(image[None])[0].to("cpu"))
        return {"similarity": answer[0], "iou": answer[1], "score": answer[2]}

    def _reported(self, name: str, target: Target) -> float | None:
        """Score of the detection that is this target, None where the detector reports none."""
        _, overlap, score = metrics.best_match(target, self.faces(name), _SAME_BOX)
        return score if overlap > 0 else None

    def _watch(
        self, job: Job, name: str, targets: Sequence[Target], n_masks: Any, seed: int
    ) -> None:
        detector = self.detector(name)
        earlier = self._watched.get(name)
        resume = earlier if earlier is not None and earlier.seed == seed else None
        if resume is not None and n_masks != "auto" and resume.n_masks >= n_masks:
            self._show(job, name, resume, targets)
            return
        shown_at = 0.0

        def progress(now: Progress) -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at > _LOOK_EVERY_S:
                self._show(job, name, now.evidence(), targets)
                shown_at = time.monotonic()
            job.update(
                detector=name,
                done=now.done,
                total=now.total,
                seconds_left=now.seconds_left,
                passes_per_second=now.passes_per_second,
            )
            if job.stopping.is_set():
                raise KeyboardInterrupt  # what `observe` stops at, keeping what there is

        job.update(detector=name, done=0, total=0, seconds_left=None)
        try:
            evidence = observe(
                self.picture.image,
                detector,
                n_masks=n_masks,
                fidelity=FIDELITY,
                targets=self._classed(name, targets)[0],
                seed=seed,
                progress=progress,
                resume=resume,
            )
        except ObservationInterrupted as stopped:
            if stopped.evidence is not None:
                self._show(job, name, stopped.evidence, targets)
            raise Stopped from stopped
        self._show(job, name, evidence, targets)

    def _show(self, job: Job, name: str, evidence: Evidence, targets: Sequence[Target]) -> None:
        """Keep evidence, and tell the page what it says of the targets."""
        self._watched[name] = evidence
        answers: dict[str, Any] = {
            **job.state.get("answers", {}),
            name: [self.answer(name, target) for target in targets],
        }
        job.update(answers=answers)


class _Stopping:
    """A detector that looks at a job's wish to stop before every call."""

    def __init__(self, detector: Detector, job: Job) -> None:
        self._detector, self._job = detector, job
        self.info = detector.info

    def detect(self, images: Tensor) -> Sequence[Proposals]:
        self._job.check()
        return self._detector.detect(images)


def _noted(explanation: Explanation, notes: tuple[str, ...]) -> Explanation:
    return replace(explanation, notes=notes + explanation.notes)


def _bytes(of: Explanation) -> int:
    return of.saliency.nbytes + of.standard_error.nbytes


def target_key(target: Target) -> tuple[Any, ...]:
    """What makes two targets one for a map: box and class."""
    return (*(round(v, 2) for v in target.box.tolist()), target.label)


def read_target(value: Mapping[str, Any]) -> Target:
    """A target from the page's JSON.

    Raises:
        InputError: if it is none.
        TargetError: if its box has no area.
    """
    try:
        box = [float(v) for v in value["box"]]
        label, score = (value.get(name) for name in ("label", "score"))
        label, score = (
            None if label is None else int(label),
            None if score is None else float(score),
        )
        origin = "drawn" if value.get("origin") == "drawn" else "found"
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError("target: wanted {box: [x1, y1, x2, y2], label, score, origin}") from error
    return Target(box=box, label=label, score=score, origin=origin)

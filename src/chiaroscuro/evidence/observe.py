"""Observe a detector through random masks: the only detector passes that D-RISE makes."""

import math
import time
from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from chiaroscuro.core.checks import function, maybe
from chiaroscuro.core.errors import (
    DetectorError,
    DetectorFailedError,
    DetectorOutputError,
    ObservationInterrupted,
)
from chiaroscuro.core.masks import Masks
from chiaroscuro.core.pixels import checked_pixels
from chiaroscuro.core.plan import AUTO, MAX_AUTO_PASSES, MaskDesign, Plan, PlanSettings, planned
from chiaroscuro.core.progress import Progress, Report
from chiaroscuro.core.records import Proposals, Target, TargetsLike, as_targets
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.detectors.protocol import as_unit_floats, unsuppressed
from chiaroscuro.evidence.evidence import COLUMNS, EVIDENCE, Evidence
from chiaroscuro.evidence.explanation import MIN_MASKS
from chiaroscuro.evidence.passes import observe_masks
from chiaroscuro.evidence.targets import find, kept
from chiaroscuro.images.hashes import image_hash
from chiaroscuro.images.read import read_image


def observe(
    image: Any,
    detector: Any,
    *,
    plan: Plan | None = None,
    targets: TargetsLike | None = None,
    progress: Report | None = None,
    resume: Evidence | None = None,
    **settings: Unpack[PlanSettings],
) -> Evidence:
    """Observe a detector under many random masks: the only detector passes.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        detector: a detector, or anything ``load_detector`` takes.
        plan: how; with ``n_passes="auto"``, until every target has reached ``fidelity``, judged by
            its ``estimator``.
        targets: what ``"auto"`` judges, the detections of score 0.3 and more when not given; their
            proposals are kept however many others the detector reports.
        progress: called after every batch.
        resume: evidence of the same picture, detector, seed and design to continue. The result is
            that of a fresh start.
        settings: fields of ``plan`` to change, such as ``n_passes=400``.

    Raises:
        ImageError: if the picture cannot be used.
        InputError: on values out of range, or if ``resume`` belongs to something else.
        DetectorFailedError: if the detector raises or breaks its promise; its ``evidence`` holds
            what was done.
        ObservationInterrupted: on Ctrl-C; its ``evidence`` holds what was done.
        Exception: whatever else ends it, such as ``progress``, as it was raised, with what was done
            as its attribute ``evidence``.
    """
    picture, detector, plan = usable_image(image), load_detector(detector), planned(plan, settings)
    resume, progress = maybe(EVIDENCE)("resume", resume), maybe(function)("progress", progress)
    masks = Masks(plan.design, picture.shape[1], picture.shape[2], plan.seed)
    if targets is None and plan.n_passes == AUTO:
        targets = find(picture, detector)
    wanted = () if targets is None else as_targets(targets)
    judged = tuple(target.inside(*picture.shape[1:]) for target in wanted)
    recorder = _Recorder(picture, unsuppressed(detector), plan.seed, plan.design, judged)
    if resume is not None:
        recorder.resume(resume)
    try:
        return _observed(recorder, unsuppressed(detector), masks, plan, judged, progress)
    except KeyboardInterrupt as error:
        raise ObservationInterrupted(recorder.so_far()) from error
    except DetectorOutputError as error:
        error.evidence = recorder.so_far()
        raise
    except DetectorError as error:
        reason = error.__cause__ if isinstance(error, DetectorFailedError) else error
        raise DetectorFailedError(
            f"detector {detector.info.name} failed after {recorder.n_masks} masks: "
            f"{type(reason).__name__}: {reason}",
            recorder.so_far(),
        ) from reason
    except Exception as error:
        error.evidence = recorder.so_far()  # type: ignore[attr-defined]
        raise


def _observed(
    recorder: "_Recorder",
    detector: Detector,
    masks: Masks,
    plan: Plan,
    judged: tuple[Target, ...],
    report: Report | None,
) -> Evidence:
    """Pass after pass, until there are as many as planned, or the maps are as sure as wanted."""
    automatic = plan.n_passes == AUTO
    total = MAX_AUTO_PASSES if plan.n_passes == AUTO else plan.n_passes
    look = expected = min(MIN_MASKS, total) if automatic else total
    began, started_at = time.perf_counter(), recorder.n_masks
    pixels = as_unit_floats(recorder.image[None])[0]
    reached: tuple[float, ...] = ()
    while True:
        for batch in observe_masks(
            pixels, detector, masks, recorder.n_masks, look, plan.batch_size, judged
        ):
            recorder.add(batch)
            if report is not None:
                report(
                    Progress(
                        done=recorder.n_masks,
                        total=max(expected, recorder.n_masks),
                        seconds=time.perf_counter() - began,
                        started_at=started_at,
                        fidelity=reached,
                        evidence=recorder.evidence,
                    )
                )
        seen = recorder.evidence().first(look)
        if automatic:
            reached = tuple(seen.explain(judged, estimator=plan.estimator).fidelity.tolist())
        if look == total or all(value >= plan.fidelity for value in reached):
            return seen
        expected = min(total, max(look + 1, _expected_masks(look, reached, plan.fidelity)))
        look = min(total, look + max(MIN_MASKS, look // 8 * 2))  # even: whole pairs


def no_evidence(image: Tensor, detector: Detector, plan: Plan | None = None) -> Evidence:
    """Evidence of no mask at all: the picture, and what would be observed."""
    plan = plan or Plan()
    return _Recorder(image, unsuppressed(detector), plan.seed, plan.design).evidence()


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
    return checked_pixels("image", image if isinstance(image, Tensor) else read_image(image))


class _Recorder:
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
        self.image_sha256 = image_hash(image)
        self.kept_for = tuple(kept(target) for target in targets)
        self.info = detector.info
        self.counts: list[int] = []
        self._columns: dict[str, _Column] | None = None  # None until there is a proposal

    @property
    def n_masks(self) -> int:
        return len(self.counts)

    def so_far(self) -> Evidence | None:
        """The evidence; None before the first mask."""
        return self.evidence() if self.n_masks else None

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
        """Start from earlier evidence; an InputError names what differs."""
        evidence.check_of(self.evidence())
        if bool(evidence.capped.any()):
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
            **{name: getattr(whole, name) for name in COLUMNS},
            counts=torch.tensor(self.counts, dtype=torch.int64),
            seed=self.seed,
            design=self.design,
            detector=self.info.name,
            before_nms=self.info.before_nms,
            kept_for=self.kept_for,
            image_sha256=self.image_sha256,
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

"""Explain targets by any method: the front door."""

import time
from dataclasses import replace
from typing import Any, Literal, Unpack

import attrs
import torch
from torch import Tensor

from chiaroscuro.core.checks import function, maybe
from chiaroscuro.core.plan import AUTO, Plan, PlanSettings, Selection, planned
from chiaroscuro.core.progress import Progress, Report
from chiaroscuro.core.records import Target, TargetsLike
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.evidence.evidence import EVIDENCE, Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.observe import no_evidence, observe, usable_image
from chiaroscuro.evidence.targets import choose
from chiaroscuro.methods.catalogue import method_named
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question


def explain(
    image: Any,
    detector: Any,
    targets: TargetsLike | None = None,
    *,
    plan: Plan | None = None,
    target_class: str | None = None,
    evidence: Evidence | None = None,
    progress: Report | None = None,
    **settings: Unpack[PlanSettings],
) -> Explanation:
    """Explain targets in a picture, by D-RISE unless the plan names another method.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        detector: a detector, or anything ``load_detector`` takes.
        targets: Proposals, Targets or boxes; the detections of score 0.3 and more when not given.
            With no target at all the result is empty and no pass is made.
        plan: how: method, estimator, number of passes, seed, masks.
        target_class: name of a class, of a detector with several: boxes are explained as this
            class, and found objects of others left out. Without it a box over a found object takes
            that object's class, and the notes say so; any other matches proposals of every class.
        evidence: of a D-RISE run of this picture, detector, seed and design: used by the methods
            that can, in place of as many passes.
        progress: called after every batch.
        settings: fields of ``plan`` to change, such as ``n_passes=400``.

    Raises:
        TargetError: on a box that is no box or lies outside the picture; before any pass.
        UnknownNameError: on a method, estimator or class of another name.
        UnsupportedMethodError: on a method that this detector's architecture does not allow.
        MissingDependencyError: if the method needs a package that is not installed.
        InputError: on values out of range, or evidence of something else.
    """
    picture, detector, plan = usable_image(image), load_detector(detector), planned(plan, settings)
    evidence, progress = (
        maybe(EVIDENCE)("evidence", evidence),
        maybe(function)("progress", progress),
    )
    method_named(plan.method)
    chosen = choose(picture, detector, targets, Selection(target_class=target_class))
    evidence = observe_for(picture, detector, chosen.targets, plan, evidence, progress)
    made = explain_from(evidence, detector, chosen.targets, plan, progress)
    return made.with_notes(*chosen.notes)


def observe_for(
    image: Tensor,
    detector: Detector,
    targets: tuple[Target, ...],
    plan: Plan,
    earlier: Evidence | None = None,
    progress: Report | None = None,
) -> Evidence:
    """As much of a D-RISE run as the plan's method begins with; what is there already counts."""
    method = method_named(plan.method)
    n_passes = passes_to_observe(method, plan.n_passes) if targets else 0
    if not n_passes:
        nothing = no_evidence(image, detector, plan)
        if earlier is not None:
            earlier.check_of(nothing)
        return earlier or nothing
    return observe(
        image,
        detector,
        plan=attrs.evolve(
            plan,
            n_passes=n_passes,
            windows=plan.windows and method.stops_itself,
            closeup=plan.closeup and method.stops_itself,
        ),
        targets=targets,
        progress=progress,
        resume=earlier,
    )


def explain_from(
    evidence: Evidence,
    detector: Detector,
    targets: tuple[Target, ...],
    plan: Plan,
    progress: Report | None = None,
) -> Explanation:
    """Explain targets by the plan's method, from what ``observe_for`` observed."""
    method = method_named(plan.method)
    if not targets:
        empty = torch.zeros(0, *evidence.image.shape[1:], dtype=torch.float32)
        answer = Answer(saliency=empty, n_passes=0, estimator=_estimator(method, plan))
        return _explanation(answer, method, (), evidence)
    question = Question(
        image=evidence.image,
        detector=detector,
        targets=targets,
        n_passes=_n_passes(method, plan, len(targets)),
        plan=plan,
        evidence=evidence,
        progress=_reporting(progress, evidence),
    )
    made = _explanation(method.answer(question), method, targets, evidence)
    if not method.stops_itself or plan.n_passes != AUTO:
        return made
    return replace(made, settings=attrs.evolve(made.settings, fidelity=plan.fidelity))


def passes_to_observe(method: Method, n_passes: int | Literal["auto"]) -> int | Literal["auto"]:
    """How much of a D-RISE run a method begins with; 0 for one that does not use any."""
    if method.stops_itself:
        return n_passes
    return int(method.observes * (method.n_passes if n_passes == AUTO else n_passes))


def _estimator(method: Method, plan: Plan) -> str | None:
    return plan.estimator if method.stops_itself else None


def _n_passes(method: Method, plan: Plan, n_targets: int) -> int:
    if plan.n_passes != AUTO:
        return plan.n_passes
    return method.n_passes * (1 if method.shared else n_targets)


def _reporting(report: Report | None, evidence: Evidence) -> Any:
    """Passes done and to do, as ``Progress``."""
    if report is None:
        return None
    began = time.perf_counter()

    def tell(done: int, total: int) -> None:
        seconds = time.perf_counter() - began
        report(Progress(done=done, total=total, seconds=seconds, evidence=lambda: evidence))

    return tell


def _explanation(
    answer: Answer, method: Method, targets: tuple[Target, ...], evidence: Evidence
) -> Explanation:
    settings = evidence.settings(answer.estimator)
    if not method.stops_itself:
        settings = attrs.evolve(settings, cost=float(answer.n_passes), windows=(), closeups=())
    unknown = torch.full((len(targets),), float("nan"), dtype=torch.float32)
    error = answer.standard_error
    return Explanation(
        targets=targets,
        saliency=answer.saliency.float(),
        standard_error=torch.zeros_like(answer.saliency) if error is None else error,
        fidelity=unknown if answer.fidelity is None else answer.fidelity,
        mean_weight=unknown if answer.mean_weight is None else answer.mean_weight,
        settings=attrs.evolve(
            settings,
            method=method.name,
            n_passes=answer.n_passes,
            choices=dict(answer.choices),
        ),
        meaning=answer.meaning or method.meaning,
        notes=answer.notes,
        sources=answer.sources,
        closeups=answer.closeups,
    )

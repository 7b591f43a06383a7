"""Explain targets by any method: the front door."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from chiaroscuro.core import limits
from chiaroscuro.core.checks import function, maybe
from chiaroscuro.core.masks import DESIGN, MaskDesign
from chiaroscuro.core.records import TargetsLike, as_targets
from chiaroscuro.detectors import Detector, load_detector
from chiaroscuro.evidence import estimators
from chiaroscuro.evidence.evidence import (
    EVIDENCE,
    Evidence,
    Progress,
    find,
    find_targets,
    no_evidence,
    observe,
    usable_image,
)
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.target_classes import with_classes
from chiaroscuro.methods.catalogue import method_named
from chiaroscuro.methods.method import Method
from chiaroscuro.methods.question import Answer, Question


def explain(
    image: Any,
    detector: Any,
    targets: TargetsLike | None = None,
    *,
    target_class: str | None = None,
    method: str = "drise",
    estimator: str = "surrogate",
    n_masks: int | Literal["auto"] = "auto",
    fidelity: float = 0.9,
    seed: int = 0,
    design: MaskDesign | None = None,
    batch_size: int | None = None,
    evidence: Evidence | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Explanation:
    """Explain targets in a picture, by D-RISE unless told otherwise.

    Args:
        image: ``3 height width``, uint8 or float32 in [0, 1]; or anything ``read_image`` takes.
        detector: a detector, or anything ``load_detector`` takes.
        targets: Proposals, Targets or boxes; the detections of score 0.3 and more when not given.
            With no target at all the result is empty and no pass is made.
        target_class: name of a class, of a detector with several: boxes are explained as this
            class, and found objects of others left out. Without it a box over a found object takes
            that object's class, and the notes say so; any other matches proposals of every class.
        method: a name of ``METHODS``.
        estimator: of D-RISE: ``"surrogate"``, ``"centred"`` or ``"paper"``; see ``estimators``.
        n_masks: detector passes, all targets together. ``"auto"`` is, for D-RISE, until every
            target has reached ``fidelity``, at most 5000; for another method its own default, for
            every target anew where targets cannot share passes.
        fidelity: wanted by D-RISE's ``"auto"``, in (0, 1).
        seed: whole number; the same seed gives the same map.
        design: fill, and of methods with masks their grid and keep probability.
        batch_size: pictures a detector call; chosen from the picture's size when not given.
        evidence: of a D-RISE run of this picture, detector, seed and design: used by the methods
            that can, in place of as many passes.
        progress: called after every batch.

    Raises:
        TargetError: on a box that is no box or lies outside the picture; before any pass.
        UnknownNameError: on a method, estimator or class of another name.
        UnsupportedMethodError: on a method that this detector's architecture does not allow.
        MissingDependencyError: if the method needs a package that is not installed.
        InputError: on values out of range, or evidence of something else.
    """
    picture = usable_image(image)
    detector = load_detector(detector)
    chosen = method_named(method)
    estimators.check_name(estimator)
    design = DESIGN("design", design) or MaskDesign()
    evidence = maybe(EVIDENCE)("evidence", evidence)
    progress = maybe(function)("progress", progress)
    n_masks = limits.masks_or_auto("n_masks", n_masks)
    fidelity = limits.FIDELITY("fidelity", fidelity)
    seed = limits.SEED("seed", seed)
    batch_size = limits.BATCH_SIZE("batch_size", batch_size)
    wanted = find_targets(picture, detector) if targets is None else as_targets(targets)
    wanted = tuple(target.inside(*picture.shape[1:]) for target in wanted)
    wanted, notes = with_classes(
        wanted, detector.info.class_names, lambda: find(picture, detector), target_class
    )
    if not wanted:
        return _nothing(picture, detector, chosen, estimator, seed, design)
    to_observe = masks_to_observe(chosen, n_masks)
    if to_observe:
        evidence = observe(
            picture,
            detector,
            n_masks=to_observe,
            fidelity=fidelity,
            targets=wanted,
            estimator=estimator,
            seed=seed,
            design=design,
            batch_size=batch_size,
            progress=progress,
            resume=evidence,
        )
    if chosen.name == "drise" and evidence is not None:
        result = evidence.explain(
            wanted, estimator=estimator, wanted_fidelity=fidelity if n_masks == "auto" else None
        )
        return replace(result, notes=notes + result.notes)
    nothing = no_evidence(picture, detector, seed, design)
    began = time.perf_counter()

    def told(done: int, total: int) -> None:
        if progress is not None:
            seconds = time.perf_counter() - began
            progress(Progress(done=done, total=total, seconds=seconds, evidence=lambda: nothing))

    answer = chosen.answer(
        Question(
            image=picture,
            detector=detector,
            targets=wanted,
            budget=_budget(chosen, n_masks, len(wanted)),
            seed=seed,
            design=design,
            evidence=evidence,
            estimator=estimator,
            batch_size=batch_size,
            progress=told,
        )
    )
    result = _explanation(answer, chosen, wanted, nothing)
    return replace(result, notes=notes + result.notes)


def masks_to_observe(method: Method, n_masks: int | Literal["auto"]) -> int | Literal["auto"]:
    """How much of a D-RISE run a method begins with; 0 for one that does not use any."""
    if method.name == "drise":
        return n_masks
    whole = method.budget if n_masks == "auto" else n_masks
    return int(method.observes * whole)


def _budget(method: Method, n_masks: int | Literal["auto"], n_targets: int) -> int:
    if n_masks != "auto":
        return n_masks
    return method.budget * (1 if method.shared else n_targets)


def _explanation(
    answer: Answer, method: Method, targets: tuple[Any, ...], nothing: Evidence
) -> Explanation:
    unknown = torch.full((len(targets),), float("nan"), dtype=torch.float32)
    error = answer.standard_error
    described = nothing.describe()
    del described["n_masks"]
    return Explanation(
        targets=targets,
        saliency=answer.saliency.float(),
        standard_error=torch.zeros_like(answer.saliency) if error is None else error,
        fidelity=unknown if answer.fidelity is None else answer.fidelity,
        mean_weight=unknown,
        settings={
            "method": method.name,
            **answer.settings,
            **described,
            "passes": answer.passes,
        },
        meaning=method.meaning,
        notes=answer.notes,
    )


def _nothing(
    image: Tensor,
    detector: Detector,
    method: Method,
    estimator: str,
    seed: int,
    design: MaskDesign,
) -> Explanation:
    empty = no_evidence(image, detector, seed, design).explain((), estimator=estimator)
    if method.name == "drise":
        return empty
    settings = {**empty.settings, "method": method.name}
    return replace(empty, meaning=method.meaning, settings=settings)

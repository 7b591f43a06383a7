"""The two methods with random masks, from one and the same evidence.

RISE uses how sure the detector is of the class anywhere in the picture; D-RISE how much of the
target it still reports. What differs is the weight of a mask, so one run serves both.
"""

import torch

from chiaroscuro.core.errors import InputError
from chiaroscuro.core.notes import Note
from chiaroscuro.core.plan import AUTO
from chiaroscuro.evidence import estimators
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.methods.method import BLACK_BOX_PASSES, Method
from chiaroscuro.methods.question import Answer, Question


def drise(question: Question) -> Answer:
    """D-RISE from evidence that is at hand."""
    evidence, plan = _evidence(question), question.plan
    made = evidence.explain(
        question.targets,
        estimator=plan.estimator,
        wanted_fidelity=plan.fidelity if plan.n_passes == AUTO else None,
    )
    return Answer(
        saliency=made.saliency,
        n_passes=evidence.n_masks,
        standard_error=made.standard_error,
        fidelity=made.fidelity,
        mean_weight=made.mean_weight,
        estimator=plan.estimator,
        meaning=made.meaning,
        notes=made.notes,
        sources=made.sources,
        closeups=made.closeups if plan.closeup else (),
    )


def rise(question: Question) -> Answer:
    """RISE as published, from the evidence of a D-RISE run.

    Less the mean weight, which that sum has everywhere: the order of the pixels is the same, and 0
    means that showing the pixel changes nothing.

    The weight of a mask is the highest score of a proposal of the target's class, wherever it is;
    of any class for a target without label. Targets of one class have one and the same map.
    """
    evidence = _evidence(question)
    index = torch.repeat_interleave(torch.arange(evidence.n_masks), evidence.counts)
    rows = []
    for target in question.targets:
        scores = evidence.scores
        if target.label is not None:
            scores = scores * (evidence.labels == target.label)
        empty = torch.zeros(evidence.n_masks, dtype=torch.float32)
        rows.append(empty.scatter_reduce_(0, index, scores, "amax"))
    weights = torch.stack(rows)
    estimates = estimators.estimate(
        evidence.masks, question.pixels, weights, question.targets, "paper"
    )
    scale = evidence.n_masks * evidence.design.keep_probability
    labels = [target.label for target in question.targets]
    return Answer(
        saliency=torch.stack([one.saliency for one in estimates]) / scale
        - weights.mean(dim=1)[:, None, None],
        n_passes=evidence.n_masks,
        standard_error=torch.stack([one.standard_error for one in estimates]) / scale,
        fidelity=torch.tensor([one.fidelity for one in estimates], dtype=torch.float32),
        estimator="paper",
        notes=(Note("one map per class"),) if len(set(labels)) < len(labels) else (),
    )


def _evidence(question: Question) -> Evidence:
    if question.evidence is None or not question.evidence.n_masks:
        raise InputError("evidence: wanted at least one mask to explain from, got none")
    return question.evidence


DRISE = Method(
    name="drise",
    title="random masks, weighted by how much of the target the detector still reports",
    family="perturbation",
    signed=True,
    meaning="covariance of mask weight and mask",
    n_passes=BLACK_BOX_PASSES,
    shared=True,
    random=True,
    observes=1,
    stops_itself=True,
    source="Petsiuk et al. 2021, arXiv:2006.03204; our estimator",
    run=drise,
)

RISE = Method(
    name="rise",
    title="random masks, weighted by the highest score of the class anywhere",
    family="perturbation",
    signed=True,
    meaning="mean highest score where masks show the pixel, less that of all masks",
    n_passes=BLACK_BOX_PASSES,
    shared=True,
    random=True,
    observes=1,
    source="Petsiuk et al. 2018, arXiv:1806.07421, equation 6",
    run=rise,
)

"""Similarity of a proposal and a target: IoU x class agreement x objectness.

Petsiuk et al., D-RISE, CVPR 2021, arXiv:2006.03204, section 3.2. Where target and proposals both
have full class vectors, class agreement is their cosine and objectness is the proposal's own, or
its score where the detector reports none. Otherwise (one-class detectors, label-only detectors,
plain boxes) class agreement is 1 for the same label, 0 for another, 1 for a target without label,
and objectness is the score.

A two-column vector ``[s, 1 - s]`` holds a single number. Its cosine would reward weak boxes (a
target of score 0.30 is closer to a proposal of 0.05 than to one of 0.9), so it counts as a
one-class detector's.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import ProposalsError
from chiaroscuro.core.records import Proposals, Target


def similarity(
    targets: Sequence[Target], proposals: Proposals
) -> Float32[Tensor, "targets proposals"]:
    """``IoU x class agreement x objectness`` of every target with every proposal, in [0, 1].

    Raises:
        ProposalsError: if class vectors differ in length.
    """
    device = proposals.boxes.device
    if not targets or not len(proposals):
        return torch.zeros(len(targets), len(proposals), dtype=torch.float32, device=device)
    wanted = torch.stack([target.box for target in targets]).to(device)
    overlap = boxes.iou(wanted, proposals.boxes)
    rows = [_class_and_objectness(target, proposals) for target in targets]
    return overlap * torch.stack(rows)


def mask_weights(
    targets: Sequence[Target],
    proposals: Proposals,
    mask_index: Tensor,
    n_masks: int,
) -> Float32[Tensor, "targets n_masks"]:
    """Weight of every mask: the best match to each target that the detector still finds.

    ``weight[t, i] = max_j similarity(t, j)`` over the proposals ``j`` under mask ``i``; 0 where the
    masked picture has no proposals.

    Args:
        targets: what is explained.
        proposals: those of all masks, one after the other.
        mask_index: ``proposals``, int64: the mask that each proposal was found under.
        n_masks: number of masks, including those without proposals.
    """
    weights = torch.zeros(len(targets), n_masks, dtype=torch.float32, device=proposals.boxes.device)
    scores = similarity(targets, proposals)
    return weights.scatter_reduce_(1, mask_index.expand_as(scores), scores, "amax")


def _class_and_objectness(target: Target, proposals: Proposals) -> Tensor:
    vector, vectors = target.class_probabilities, proposals.class_probabilities
    if vector is not None and vectors is not None and not is_one_class(vectors):
        if len(vector) != vectors.shape[1]:
            raise ProposalsError(
                f"class_probabilities: the target has {len(vector)} classes, the proposals "
                f"{vectors.shape[1]}; a target must come from the same detector, or be a plain box"
            )
        cosine = torch.nn.functional.cosine_similarity(vectors, vector.to(vectors)[None], dim=1)
        objectness = proposals.scores if proposals.objectness is None else proposals.objectness
        return cosine.clamp(0, 1) * objectness
    if target.label is None:
        return proposals.scores
    return proposals.scores * (proposals.labels == target.label)


def is_one_class(class_probabilities: Float32[Tensor, "n classes"]) -> bool:
    """Whether class vectors carry a single number: one column, or two that sum to 1."""
    if class_probabilities.shape[1] == 2:
        return bool(((class_probabilities.sum(dim=1) - 1).abs() < 1e-3).all())
    return class_probabilities.shape[1] < 2

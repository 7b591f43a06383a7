"""Why was an annotated face missed? What the evidence of all masks says.

Bengamra et al. 2023, section 5.2, ask whether a missed face is lost in the features or in a later
stage. A black box shows no features, but under thousands of masks it shows what it proposes near
the face, how sure it ever gets, and what has to be hidden for that. Each reading states the figures
it rests on.
"""

from typing import Literal

import torch
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.metrics.localisation import SUPPORTED
from chiaroscuro.store.schema import Miss
from chiaroscuro.studies.matching import TOUCHES, highest

Reading = Literal["suppressed", "unsteady", "crowded out", "weak", "badly placed", "unseen"]

_BEST = (
    "the best proposal in its place has a score of {whole_score:z.2f} in the whole picture and of "
    "{best_score:z.2f} under the best of the masks"
)
SENTENCES: dict[Reading, str] = {
    # found once other parts of the picture are hidden, and the map shows which
    "suppressed": f"The face is seen but suppressed by its surroundings: {_BEST}, and under "
    "{share_found:z.0%} of the masks it would count as found. What the detector makes of the face "
    "can suffice; something that those masks hide speaks against it.",
    # found under some masks, and the map shows nothing that hinders it
    "unsteady": f"The face is found under some masks only: {_BEST}, and under {{share_found:z.0%}} "
    "of the masks it would count as found. The map shows nothing whose hiding brings it back "
    "beyond chance: several things may have to be hidden together, or it is chance.",
    # the detection that has it matches another face
    "crowded out": f"The detection that overlaps it matches another face; {_BEST}.",
    # proposed in its place, with too low a score
    "weak": f"The face is proposed but its score is too low: {_BEST}. So it is lost when proposals "
    "are scored, not before.",
    # detected, but the box is off
    "badly placed": "Something near it is detected, with a box that is off: the highest IoU of any "
    "proposal with the annotated face is {best_iou:z.2f}. So it is lost when the box is placed.",
    # nothing proposed in its place, whatever is hidden
    "unseen": "Nothing is proposed in its place, whatever is hidden: the highest IoU of any "
    "proposal is {best_iou:z.2f}. So it is lost early: the features do not respond to it.",
}


def read_miss(
    target: Target,
    whole: Proposals,
    evidence: Evidence,
    saliency: Tensor,
    standard_error: Tensor,
    *,
    min_score: float,
    min_iou: float,
) -> Miss:
    """Read a missed face from its evidence.

    Args:
        target: the annotated face.
        whole: all that the detector reports in the whole picture, weak proposals too.
        evidence: what it reported under masks.
        saliency: the face's map, ``height width``.
        standard_error: of the map.
        min_score: lowest score of a detection that counts.
        min_iou: minimum IoU for a detection to match the face.
    """
    box = target.box[None]
    overlap = boxes.iou(box, whole.boxes)[0]
    masked = boxes.iou(box, evidence.boxes)[0]
    in_place, masked_in_place = overlap >= min_iou, masked >= min_iou
    whole_score = highest(whole.scores[in_place])
    scores = torch.where(masked_in_place, evidence.scores, 0.0)
    best_score = highest(scores)
    mask_of = torch.repeat_interleave(torch.arange(evidence.n_masks), evidence.counts)
    found_under = set(mask_of[scores >= min_score].tolist())
    supported = torch.where(saliency.abs() > SUPPORTED * standard_error, saliency, 0).double()
    reading: Reading
    if whole_score >= min_score:
        reading = "crowded out"
    elif best_score >= min_score:
        reading = "suppressed" if bool((supported < 0).any()) else "unsteady"
    elif best_score > 0 or whole_score > 0:
        reading = "weak"
    elif bool((overlap[whole.scores >= min_score] >= TOUCHES).any()):
        reading = "badly placed"
    else:
        reading = "unseen"
    total = float(supported.abs().sum())
    figures = {
        "whole_score": whole_score,
        "best_score": best_score,
        "share_found": len(found_under) / max(1, evidence.n_masks),
        "best_iou": max(highest(overlap), highest(masked)),
        "negative_share": float(supported.clamp(max=0).abs().sum()) / total if total > 0 else 0.0,
    }
    return Miss(
        reading=reading,
        sentence=SENTENCES[reading].format(**figures),
        best_mask=int(mask_of[int(scores.argmax())]) if best_score > 0 else None,
        **figures,
    )

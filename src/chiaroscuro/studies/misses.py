"""Why was a marked face missed? What the evidence of all masks says.

Bengamra et al. 2023, section 5.2, ask whether a missed face is lost in the features or in a later
stage. A black box shows no features, but under thousands of masks it shows what it proposes near
the face, how sure it ever gets, and what has to be hidden for that. Each reading states the figures
it rests on.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.records import Proposals, Target
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.metrics.context import SUPPORTED
from chiaroscuro.studies.matching import TOUCHES

Reading = Literal["suppressed", "unsteady", "crowded out", "weak", "badly placed", "unseen"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """What is known of a missed face.

    Attributes:
        reading: ``"suppressed"``: found once other parts of the picture are hidden, and the map
            shows which;
            ``"unsteady"``: found under some masks, and the map shows nothing that hinders it;
            ``"crowded out"``: the detection that has it counts for another face;
            ``"weak"``: proposed in its place, with too low a score;
            ``"badly placed"``: detected, but the box is off;
            ``"unseen"``: nothing proposed in its place, whatever is hidden.
        whole_score: highest score of a proposal in its place in the whole picture; 0 without one.
        best_score: the same under any mask.
        best_mask: the mask that reached it; None without one.
        share_found: share of masks, in [0, 1], under which it would count as found.
        best_iou: highest IoU with the face of any proposal, in the picture or under masks.
        negative_share: share of the map's supported evidence, in [0, 1], that suppresses the face.
    """

    reading: Reading
    whole_score: float
    best_score: float
    best_mask: int | None
    share_found: float
    best_iou: float
    negative_share: float

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, with a sentence."""
        return {**asdict(self), "sentence": self.sentence()}

    def sentence(self) -> str:
        """The reading and the figures that it rests on, in words."""
        best = (
            f"the best proposal in its place has a score of {self.whole_score:z.2f} in the whole "
            f"picture and of {self.best_score:z.2f} under the best of the masks"
        )
        if self.reading == "suppressed":
            return (
                f"The face is seen but suppressed by its surroundings: {best}, and under "
                f"{self.share_found:z.0%} of the masks it would count as found. What the detector "
                "makes of the face can suffice; something that those masks hide speaks against it."
            )
        if self.reading == "unsteady":
            return (
                f"The face is found now and then: {best}, and under {self.share_found:z.0%} of the "
                "masks it would count as found. The map shows nothing whose hiding brings it back "
                "beyond chance: several things may have to be hidden at once, or it is luck."
            )
        if self.reading == "crowded out":
            return f"The detection that overlaps it counts for another face; {best}."
        if self.reading == "weak":
            return (
                f"The face is proposed but scored too low: {best}. So it is lost when proposals "
                "are scored, not before."
            )
        if self.reading == "badly placed":
            return (
                "Something near it is detected, with a box that is off: the highest IoU of any "
                f"proposal with the marked face is {self.best_iou:z.2f}. So it is lost when the "
                "box is placed."
            )
        return (
            "Nothing is proposed in its place, whatever is hidden: the highest IoU of any proposal "
            f"is {self.best_iou:z.2f}. So it is lost early: the features do not respond to it."
        )


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
        target: the marked face.
        whole: all that the detector reports in the whole picture, weak proposals too.
        evidence: what it reported under masks.
        saliency: the face's map, ``height width``.
        standard_error: of the map.
        min_score: from which a detection counts.
        min_iou: from which it has the face.
    """
    box = target.box[None]
    overlap = boxes.iou(box, whole.boxes)[0]
    masked = boxes.iou(box, evidence.boxes)[0]
    in_place, masked_in_place = overlap >= min_iou, masked >= min_iou
    whole_score = _highest(whole.scores[in_place])
    scores = torch.where(masked_in_place, evidence.scores, 0.0)
    best_score = _highest(scores)
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
    return Miss(
        reading=reading,
        whole_score=whole_score,
        best_score=best_score,
        best_mask=int(mask_of[int(scores.argmax())]) if best_score > 0 else None,
        share_found=len(found_under) / max(1, evidence.n_masks),
        best_iou=max(_highest(overlap), _highest(masked)),
        negative_share=float(supported.clamp(max=0).abs().sum()) / total if total > 0 else 0.0,
    )


def _highest(values: Tensor) -> float:
    return float(values.max()) if len(values) else 0.0

"""Which detections are right, and what was missed: greedy by score, as COCO evaluates."""

from dataclasses import dataclass
from typing import Literal

import torch

from chiaroscuro.core import boxes
from chiaroscuro.core.records import Proposals, Truth

Kind = Literal["hit", "background", "badly placed", "duplicate", "ignored"]
FALSE_POSITIVES: tuple[Kind, ...] = ("background", "badly placed", "duplicate")
TOUCHES = 0.1  # IoU at which a false positive is a badly placed detection of an annotated box


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What became of one detection.

    Attributes:
        kind: ``"hit"``; a false positive: ``"background"`` (touches no annotated box of its class),
            ``"badly placed"`` (overlaps one, too little) or ``"duplicate"`` (of a box that a better
            detection matches); or ``"ignored"``, neither right nor wrong.
        truth: index of the annotated box it is about, None for background.
        iou: with that box, in [0, 1].
    """

    kind: Kind
    truth: int | None
    iou: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Detections of one picture against its annotated boxes.

    Attributes:
        detections: one a detection, in their order.
        missed: indices of the annotated boxes that no detection matches, boxes to ignore left out.
    """

    detections: tuple[Match, ...]
    missed: tuple[int, ...]


def match(found: Proposals, truth: Truth, min_iou: float = 0.5) -> Matches:
    """Match detections, all above the score that counts, to annotated boxes of the same class.

    The best detection by score chooses first, the free annotated box that it overlaps most, and
    only if none of those to be scored is left, one to be ignored (Lin et al., Microsoft COCO, ECCV
    2014; the rule of its evaluation code). Of equal scores the first comes first, of equal overlaps
    the last. A crowd is never taken: any number of detections may match it, and their overlap is
    the share of the detection that lies in it.
    """
    inside, of = found.boxes.double(), truth.boxes.double()
    overlap = torch.where(truth.crowd[None], boxes.share_inside(inside, of), boxes.iou(inside, of))
    overlap = torch.where(found.labels[:, None] == truth.labels[None], overlap, -1.0)
    taken = torch.zeros(len(truth), dtype=torch.bool)
    decided: dict[int, Match] = {}
    for i in torch.argsort(found.scores, descending=True, stable=True).tolist():
        decided[i] = _decide(overlap[i], taken, truth, min_iou)
        if decided[i].kind in ("hit", "ignored"):
            taken[decided[i].truth] = True
            taken &= ~truth.crowd
    missed = (~taken & ~truth.ignore).nonzero()[:, 0].tolist()
    return Matches(detections=tuple(decided[i] for i in range(len(found))), missed=tuple(missed))


def _decide(overlap: torch.Tensor, taken: torch.Tensor, truth: Truth, min_iou: float) -> Match:
    least = min(min_iou, 1 - 1e-10)  # as COCO's evaluation code has it
    for free, kind in ((~taken & ~truth.ignore, "hit"), (~taken & truth.ignore, "ignored")):
        candidates = (overlap >= least) & free
        if bool(candidates.any()):
            most = overlap[candidates].max()
            best = int((candidates & (overlap == most)).nonzero()[-1])
            return Match(kind=kind, truth=best, iou=float(most))  # type: ignore[arg-type]
    overlap = torch.where(truth.crowd, -1.0, overlap)  # a share of the detection, no IoU
    if len(overlap) == 0 or float(overlap.max()) < TOUCHES:
        return Match(kind="background", truth=None, iou=max(0.0, highest(overlap)))
    best = int(overlap.argmax())
    kind = "duplicate" if float(overlap[best]) >= least else "badly placed"
    return Match(kind=kind, truth=best, iou=float(overlap[best]))  # type: ignore[arg-type]


def highest(values: torch.Tensor) -> float:
    """The highest value, 0 where there is none."""
    return float(values.max()) if len(values) else 0.0

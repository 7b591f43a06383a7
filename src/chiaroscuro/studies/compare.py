"""Two detectors on the same pictures under the same masks: what does each look at?

Both runs must have studied the same pictures with the same seed and mask design; then mask i hid
the same pixels from both, and the difference of two maps of one box is the detectors' own.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.errors import BundleError, UndefinedMetricError
from chiaroscuro.core.records import Proposals, Target, Truth
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.metrics.agreement import agreement
from chiaroscuro.metrics.average_precision import average_precision
from chiaroscuro.metrics.context import context_share
from chiaroscuro.metrics.stats import bootstrap_interval
from chiaroscuro.results.folder import SavedResult
from chiaroscuro.studies.averages import AverageMap, Averager
from chiaroscuro.studies.examine import FALSE_ALARM, HIT, UNMARKED, detections_of, truth_of
from chiaroscuro.studies.run import Run

Status = Literal["both", "only first", "only second", "neither"]
PARTS = ("in_box", "in_ring", "beyond")
_SAME_BOX = 0.5  # IoU from which false alarms of two detectors are one
_RESAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A box that two detectors are compared on, with both maps.

    Attributes:
        picture: its name.
        title: what people call it; the name where the data set has no title.
        what: ``"face"``, a marked box; ``"false alarm"``; or ``"found"`` in a set without marks.
        status: which of the two found it.
        target: the box that both maps explain: the marked one, or the better-scored detection's.
        scores: what each detector gave it; None where it was not found.
        image: ``3 height width``.
        explanation: two maps, the first detector's and the second's, from the same masks.
    """

    picture: str
    title: str
    what: str
    status: Status
    target: Target
    scores: tuple[float | None, float | None]
    image: Tensor
    explanation: Explanation

    def row(self) -> dict[str, Any]:
        """What a table says of it."""
        x1, y1, x2, y2 = self.target.box.tolist()
        row: dict[str, Any] = {
            "picture": self.picture,
            "title": self.title,
            "what": self.what,
            "status": self.status,
            **{"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        }
        for i, which in enumerate(("first", "second")):
            row[f"score_{which}"] = self.scores[i]
            fidelity = float(self.explanation.fidelity[i])
            row[f"fidelity_{which}"] = None if math.isnan(fidelity) else fidelity
            row[f"trust_{which}"] = self.explanation.trust(i)
            row[f"mean_weight_{which}"] = float(self.explanation.mean_weight[i])
            try:
                share = context_share(
                    self.explanation.saliency[i], self.target, self.explanation.standard_error[i]
                )
                values: tuple[float | None, ...] = (share.box, share.ring, share.beyond)
            except UndefinedMetricError:
                values = (None, None, None)
            row |= {f"{part}_{which}": value for part, value in zip(PARTS, values, strict=True)}
        try:
            same = agreement(
                self.explanation.saliency[0], self.explanation.saliency[1], self.target
            )
            row |= {"linear": same.linear, "rank": same.rank}
        except UndefinedMetricError:
            row |= {"linear": None, "rank": None}
        return row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What a comparison shows.

    Attributes:
        names: of the two detectors.
        rows: one a subject.
        figures: counts, precision of both and its difference, context shares of both and their
            paired difference, with intervals; plain JSON values.
        averages: average map of the faces that both found, for each detector.
    """

    names: tuple[str, str]
    rows: list[dict[str, Any]]
    figures: dict[str, Any]
    averages: tuple[AverageMap, AverageMap]


def check_comparable(first: Run, second: Run) -> None:
    """Refuse two runs whose masks or pictures differ.

    Raises:
        BundleError: saying what differs.
    """
    one, other = first.asked, second.asked
    for setting in ("seed", "design", "max_side", "min_score", "match_iou"):
        values = one["settings"][setting], other["settings"][setting]
        if values[0] != values[1]:
            raise BundleError(
                f"{first.folder} and {second.folder} cannot be compared: {setting} is {values[0]} "
                f"in one and {values[1]} in the other; study again with the same"
            )
    if one["data"]["pictures"] != other["data"]["pictures"]:
        raise BundleError(
            f"{first.folder} and {second.folder} cannot be compared: they are of different "
            "pictures or marks"
        )


def detector_names(first: Run, second: Run) -> tuple[str, str]:
    """What the detectors of two runs are called."""
    return str(first.asked["detector"]["name"]), str(second.asked["detector"]["name"])


def subjects(
    first: Run, second: Run, progress: Callable[[str, int, int], None] | None = None
) -> Iterator[Subject]:
    """Every box worth comparing, with the maps of both detectors from the same masks.

    Pictures that either run does not have complete are passed over.
    """
    names = [name for name in first.names if first.done(name) and second.done(name)]
    for done, name in enumerate(names):
        if progress is not None:
            progress(name, done, len(names))
        yield from _of_picture(first, second, name)
    if progress is not None:
        progress("", len(names), len(names))


def compare(
    first: Run,
    second: Run,
    each: Callable[[Subject], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Compare two runs.

    Args:
        first: a run of ``study``.
        second: another, of the same pictures and masks.
        each: called with every subject as it comes, for figures; maps are not kept.
        progress: called with a picture's name, pictures done and pictures in all.

    Raises:
        BundleError: if they cannot be compared, or have no complete picture in common.
    """
    check_comparable(first, second)
    rows: list[dict[str, Any]] = []
    averagers = (Averager(), Averager())
    for subject in subjects(first, second, progress):
        rows.append(subject.row())
        if each is not None:
            each(subject)
        if subject.status == "both" and subject.what != FALSE_ALARM:
            for i, averager in enumerate(averagers):
                maps = subject.explanation
                averager.add(
                    subject.image, maps.saliency[i], subject.target, maps.standard_error[i]
                )
    if not rows:
        raise BundleError(
            f"{first.folder} and {second.folder} have no explained box of a picture in common"
        )
    return Comparison(
        names=detector_names(first, second),
        rows=rows,
        figures={
            "faces": dict(Counter(r["status"] for r in rows if r["what"] != FALSE_ALARM)),
            "false_alarms": dict(Counter(r["status"] for r in rows if r["what"] == FALSE_ALARM)),
            "context": _context(rows),
            "average_precision": _precision(first, second),
        },
        averages=(averagers[0].result(), averagers[1].result()),
    )


def _of_picture(first: Run, second: Run, name: str) -> Iterator[Subject]:
    sides = [_Side(run, name) for run in (first, second)]
    evidences = [side.evidence() for side in sides]
    if evidences[0] is None or evidences[1] is None:
        return
    if not torch.equal(evidences[0].image, evidences[1].image):
        raise BundleError(f"{name} is not the same picture in both runs; study it again")
    n = min(evidence.n_masks for evidence in evidences if evidence is not None)
    pairs = [evidence.first(n) for evidence in evidences if evidence is not None]
    wanted = list(_wanted(sides[0], sides[1]))
    if not wanted:
        return
    targets = [target for target, _, _ in wanted]
    made = [
        pair.explain(targets, estimator=str(side.explanation.settings["estimator"]))
        for pair, side in zip(pairs, sides, strict=True)
    ]
    for i, (target, what, scores) in enumerate(wanted):
        found = tuple(score is not None for score in scores)
        status: Status = "neither"
        if any(found):
            status = "both" if all(found) else "only first" if found[0] else "only second"
        yield Subject(
            picture=name,
            title=str(sides[0].manifest["about"].get("title") or name),
            what=what,
            status=status,
            target=target,
            scores=scores,
            image=pairs[0].image,
            explanation=Explanation(
                targets=(target, target),
                saliency=torch.stack([one.saliency[i] for one in made]),
                standard_error=torch.stack([one.standard_error[i] for one in made]),
                fidelity=torch.stack([one.fidelity[i] for one in made]),
                mean_weight=torch.stack([one.mean_weight[i] for one in made]),
                settings=made[0].settings,
                meaning=made[0].meaning,
            ),
        )


class _Side:
    """One run's view of a picture."""

    def __init__(self, run: Run, name: str) -> None:
        self._saved = SavedResult.load(run.picture(name))
        self.explanation = self._saved.explanation
        self.manifest = run.manifest(name)

    def evidence(self) -> Evidence | None:
        there = (self._saved.folder / "evidence.npz").is_file()
        return self._saved.evidence() if there else None

    def found(self, kinds: tuple[str, ...]) -> list[tuple[Target, Mapping[str, Any]]]:
        return [
            (target, about)
            for target, about in zip(self.explanation.targets, self.manifest["study"], strict=True)
            if about["kind"] in kinds
        ]


def _wanted(
    first: _Side, second: _Side
) -> Iterator[tuple[Target, str, tuple[float | None, float | None]]]:
    """Boxes, what they are, and the score that each detector gave them."""
    truth = truth_of(first.manifest)
    if truth is not None:
        hits = [
            {about["truth"]: target.score for target, about in side.found((HIT,))}
            for side in (first, second)
        ]
        height, width = first.explanation.height, first.explanation.width
        for i in range(len(truth)):
            x1, y1, x2, y2 = truth.boxes[i].tolist()
            outside = x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0
            if bool(truth.ignore[i]) or outside:
                continue
            target = Target(box=truth.boxes[i].numpy(), label=int(truth.labels[i]), origin="truth")
            yield target.inside(height, width), "face", (hits[0].get(i), hits[1].get(i))
    for kind in (FALSE_ALARM, UNMARKED):
        yield from _paired(first.found((kind,)), second.found((kind,)), kind)


def _paired(
    first: list[tuple[Target, Mapping[str, Any]]],
    second: list[tuple[Target, Mapping[str, Any]]],
    kind: str,
) -> Iterator[tuple[Target, str, tuple[float | None, float | None]]]:
    """Detections that are no marked face; those of both that overlap are one."""
    free = [target for target, _ in second]
    for target, _ in first:
        overlap = [float(boxes.iou(target.box[None], other.box[None])) for other in free]
        best = max(range(len(free)), key=overlap.__getitem__, default=None)
        if best is None or overlap[best] < _SAME_BOX:
            yield target, kind, (target.score, None)
            continue
        other = free.pop(best)
        better = target if (target.score or 0) >= (other.score or 0) else other
        yield better, kind, (target.score, other.score)
    for other in free:
        yield other, kind, (None, other.score)


def _context(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean shares over the faces that both found, and their paired difference."""
    both = [
        row
        for row in rows
        if row["status"] == "both"
        and row["what"] != FALSE_ALARM
        and row["in_box_first"] is not None
        and row["in_box_second"] is not None
    ]
    pictures = {name: i for i, name in enumerate(dict.fromkeys(row["picture"] for row in both))}
    context: dict[str, Any] = {"n": len(both), "pictures": len(pictures)}
    for part in PARTS if both else ():
        values = {
            "first": [row[f"{part}_first"] for row in both],
            "second": [row[f"{part}_second"] for row in both],
            "difference": [row[f"{part}_second"] - row[f"{part}_first"] for row in both],
        }
        context[part] = {
            name: _mean([pictures[row["picture"]] for row in both], of, len(pictures))
            for name, of in values.items()
        }
    return context


def _mean(place: list[int], values: list[float], n_pictures: int) -> dict[str, Any]:
    total = np.bincount(place, values, n_pictures)
    count = np.bincount(place, minlength=n_pictures)

    def of(drawn: Any) -> float:
        return float(total[drawn].sum() / count[drawn].sum())

    return {
        "value": float(np.mean(values)),
        "interval": bootstrap_interval(of, n_pictures) if n_pictures >= 5 else None,
    }


def _precision(first: Run, second: Run) -> dict[str, Any] | None:
    """Average precision of both on the pictures that both have, and its difference."""
    found: tuple[list[Proposals], list[Proposals]] = ([], [])
    truth: tuple[list[Truth], list[Truth]] = ([], [])  # each in its detector's own labels
    for name in first.names:
        if not (first.done(name) and second.done(name)):
            continue
        for side, own, run in zip(found, truth, (first, second), strict=True):
            manifest = run.manifest(name)
            annotated = truth_of(manifest)
            if annotated is None:
                return None
            side.append(detections_of(manifest))
            own.append(annotated)
    try:
        whole = [
            average_precision(side, own, n_resamples=_RESAMPLES)
            for side, own in zip(found, truth, strict=True)
        ]
    except UndefinedMetricError:
        return None
    return {
        "first": {"ap": whole[0].ap, "ap50": whole[0].ap50, "interval": whole[0].ap50_interval},
        "second": {"ap": whole[1].ap, "ap50": whole[1].ap50, "interval": whole[1].ap50_interval},
        "difference": {"ap": whole[1].ap - whole[0].ap, "ap50": whole[1].ap50 - whole[0].ap50},
    }

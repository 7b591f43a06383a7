"""Two detectors on the same pictures under the same masks: what does each look at?

Both runs must have studied the same pictures with the same seed and mask design; then mask i hid
the same pixels from both, and the difference of two maps of one box is the detectors' own.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import reduce
from operator import getitem
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from chiaroscuro.core import boxes
from chiaroscuro.core.declared import plain
from chiaroscuro.core.errors import BundleError, UndefinedMetricError
from chiaroscuro.core.progress import Report, Steps
from chiaroscuro.core.records import Target
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.metrics.agreement import agreement_or_none
from chiaroscuro.metrics.average_precision import average_precision
from chiaroscuro.metrics.localisation import evidence_shares
from chiaroscuro.metrics.stats import paired_means
from chiaroscuro.results.folder import ResultFolder
from chiaroscuro.studies.averages import AverageMap, Averager
from chiaroscuro.studies.completing import Completing
from chiaroscuro.studies.examine import FALSE_POSITIVE, FOUND, HIT, MISSED
from chiaroscuro.studies.run import Run
from chiaroscuro.studies.summary import SHARES, title_of

Status = Literal["both", "only first", "only second", "neither"]
Sides = tuple[ResultFolder, ResultFolder]
Further = tuple[Completing, Completing]
_SAME_BOX = 0.5  # IoU at which false positives of two detectors are one
_RESAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A box that two detectors are compared on, with both maps.

    Attributes:
        title: what people call the picture; its name where the data set has no title.
        what: ``"face"``, an annotated box; ``"false positive"``; ``"found"`` without annotations.
        target: the box that both maps explain: the annotated one, or the better-scored detection's.
        scores: what each detector gave it; None where it was not found.
        image: ``3 height width``.
        explanation: two maps, the first detector's and the second's, from the same masks; and the
            close-ups of the box that each detector found or missed there.
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
        row: dict[str, Any] = {
            "picture": self.picture,
            "title": self.title,
            "what": self.what,
            "status": self.status,
            **dict(zip(("x1", "y1", "x2", "y2"), self.target.box.tolist(), strict=True)),
        }
        for i, which in enumerate(("first", "second")):
            row[f"score_{which}"] = self.scores[i]
            fidelity = float(self.explanation.fidelity[i])
            row[f"fidelity_{which}"] = None if math.isnan(fidelity) else fidelity
            row[f"trust_{which}"] = self.explanation.trust(i)
            row[f"mean_weight_{which}"] = float(self.explanation.mean_weight[i])
            share = evidence_shares(self.explanation, i)
            values = (None, None, None) if share is None else astuple(share)
            row |= {f"{part}_{which}": value for part, value in zip(SHARES, values, strict=True)}
        one, other = self.explanation.saliency
        same = agreement_or_none(one, other, self.target)
        row |= {name: getattr(same, name, None) for name in ("linear", "rank")}
        return row


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """What a comparison shows.

    Attributes:
        rows: one per subject.
        figures: counts, average precision and context shares of both, and their paired differences
            with intervals; plain JSON values.
        averages: for each detector, the average map of the faces that both found.
    """

    names: tuple[str, str]
    rows: list[dict[str, Any]]
    figures: dict[str, Any]
    averages: tuple[AverageMap, AverageMap]


def check_comparable(first: Run, second: Run) -> None:
    """Refuse two runs whose masks or pictures differ; the BundleError says in what."""
    one, other = (plain(run.record.settings) for run in (first, second))
    for names in ("plan.seed", "plan.design", "reading.max_side", "min_score", "match_iou"):
        mine, theirs = (reduce(getitem, names.split("."), settings) for settings in (one, other))
        if mine != theirs:
            raise BundleError(
                f"{first.folder} and {second.folder} cannot be compared: "
                f"{names.rpartition('.')[2]} is {mine} in one and {theirs} in the other; study "
                "again with the same"
            )
    if first.record.data.pictures != second.record.data.pictures:
        raise BundleError(
            f"{first.folder} and {second.folder} cannot be compared: they are of different "
            "pictures or annotations"
        )


def detector_names(first: Run, second: Run) -> tuple[str, str]:
    """What the detectors of two runs are called."""
    return first.record.detector, second.record.detector


def subjects(
    first: Run, second: Run, progress: Report | None = None, further: Further | None = None
) -> Iterator[Subject]:
    """The boxes of the pictures complete in both runs, with both maps from the same masks.

    ``further`` makes the passes for boxes that only one run explained; without it, their second map
    is from what the other run has: few passes on the whole picture, or none, and then they are left
    out.
    """
    names = both_done(first, second)
    steps = Steps(progress, len(names), "pictures")
    classes = _classes(first), _classes(second)
    for name in names:
        steps.at(name)
        sides = first.picture(name), second.picture(name)
        yield from _of_picture(sides, classes, further, steps.within)
        steps.advance()


def _classes(run: Run) -> dict[int, str]:
    """A run's class names, by label."""
    return {one.label: one.name for one in run.record.data.classes}


def both_done(first: Run, second: Run) -> list[str]:
    """Names of the pictures that are complete in both runs."""
    return [name for name in first.names if first.done(name) and second.done(name)]


def compare(
    first: Run,
    second: Run,
    each: Callable[[Subject], None] | None = None,
    progress: Report | None = None,
    further: Further | None = None,
) -> Comparison:
    """Compare two runs; ``each`` is called with every subject as it comes, and maps are not kept.

    ``further`` makes passes for boxes that only one run explained; see ``subjects``.

    Raises:
        BundleError: if they cannot be compared, or have no complete picture in common.
    """
    check_comparable(first, second)
    rows: list[dict[str, Any]] = []
    averagers = (Averager(), Averager())
    for subject in subjects(first, second, progress, further):
        rows.append(subject.row())
        if each is not None:
            each(subject)
        if subject.status == "both" and subject.what != FALSE_POSITIVE:
            for i, averager in enumerate(averagers):
                averager.add_map(subject.image, subject.explanation, i)
    if not rows:
        raise BundleError(
            f"{first.folder} and {second.folder} have no explained box of a picture in common"
        )
    faces = [row for row in rows if row["what"] != FALSE_POSITIVE]
    false_positives = [row for row in rows if row["what"] == FALSE_POSITIVE]
    return Comparison(
        names=detector_names(first, second),
        rows=rows,
        figures={
            "faces": dict(Counter(row["status"] for row in faces)),
            "false_positives": dict(Counter(row["status"] for row in false_positives)),
            "context": _context(rows),
            "average_precision": _precision(first, second),
            "further_passes": None if further is None else _passes(further),
        },
        averages=(averagers[0].result(), averagers[1].result()),
    )


def _passes(further: Further) -> dict[str, Any]:
    """The boxes that each detector saw beyond its run, and their cost in full passes."""
    return {
        which: {"boxes": one.boxes, "cost": round(one.cost, 2)}
        for which, one in zip(("first", "second"), further, strict=True)
    }


def _of_picture(
    sides: Sides,
    classes: Sequence[Mapping[int, str]],
    further: Further | None,
    progress: Report | None,
) -> Iterator[Subject]:
    evidences = [side.evidence() if side.has_evidence else None for side in sides]
    images = [one.image for one in evidences if one is not None]
    if not images:
        return
    if not torch.equal(images[0], images[-1]):
        raise BundleError(f"{sides[0].name} is not the same picture in both runs; study it again")
    wanted = list(_wanted(*sides))
    targets = [_in_labels_of(run, wanted, classes) for run in (0, 1)]
    if further is not None:
        for i, one in enumerate(further):
            unasked = [n for n, each in enumerate(wanted) if each.numbers[i] is None]
            if unasked:
                evidences[i] = one.observe(
                    sides[i].name,
                    images[0],
                    evidences[i],
                    [targets[i][n] for n in unasked],
                    progress,
                )
    known = [one for one in evidences if one is not None]
    if not wanted or len(known) < len(sides):
        return
    n = min(evidence.most_masks for evidence in known)
    made = [
        _explained(sides[i], known[i], targets[i], [one.numbers[i] for one in wanted], n)
        for i in (0, 1)
    ]
    for i, each in enumerate(wanted):
        yield _subject(sides[0], each, i, images[0], made)


def _in_labels_of(
    run: int, wanted: Sequence["_Wanted"], classes: Sequence[Mapping[int, str]]
) -> list[Target]:
    """The boxes in the labels of a run; a class that its detector lacks becomes any class."""
    labels = {name: label for label, name in classes[run].items()}
    return [
        one.target.labelled(
            None if one.target.label is None else labels.get(classes[one.run][one.target.label])
        )
        for one in wanted
    ]


def _explained(
    side: ResultFolder,
    evidence: Evidence,
    targets: Sequence[Target],
    numbers: Sequence[int | None],
    n_masks: int,
) -> Explanation:
    """The maps of a run from so many masks, and the close-ups that it has of its own boxes."""
    estimator = side.manifest.settings.estimator or "surrogate"
    made = evidence.first(n_masks).explain(targets, estimator=estimator)
    closeups = tuple(
        evidence.closeup(target) if number is None else side.explanation.closeup(number)
        for target, number in zip(targets, numbers, strict=True)
    )
    return replace(made, closeups=closeups if any(closeups) else ())


def _subject(
    picture: ResultFolder, one: "_Wanted", i: int, image: Tensor, made: Sequence[Explanation]
) -> Subject:
    found = tuple(score is not None for score in one.scores)
    status: Status = "neither"
    if any(found):
        status = "both" if all(found) else "only first" if found[0] else "only second"
    closeups = tuple(each.closeup(i) for each in made)
    return Subject(
        picture=picture.name,
        title=title_of(picture),
        what=one.what,
        status=status,
        target=one.target,
        scores=one.scores,
        image=image,
        explanation=Explanation(
            targets=(one.target, one.target),
            saliency=torch.stack([each.saliency[i] for each in made]),
            standard_error=torch.stack([each.standard_error[i] for each in made]),
            fidelity=torch.stack([each.fidelity[i] for each in made]),
            mean_weight=torch.stack([each.mean_weight[i] for each in made]),
            settings=made[0].settings,
            meaning=made[0].meaning,
            closeups=closeups if any(closeups) else (),
        ),
    )


Numbers = tuple[int | None, int | None]  # of a target in either run


class _Wanted(NamedTuple):
    """A box, what it is, the score that each detector gave it, and its number in either run.

    Its label is that of ``run``: 0 for the first, 1 for the second.
    """

    target: Target
    what: str
    scores: tuple[float | None, float | None]
    numbers: Numbers
    run: int = 0


def _wanted(first: ResultFolder, second: ResultFolder) -> Iterator[_Wanted]:
    truth = first.truth
    if truth is not None:
        of_truth = [
            {one.truth: i for i, one in enumerate(side.study.targets) if one.kind in (HIT, MISSED)}
            for side in (first, second)
        ]
        size = first.manifest.height, first.manifest.width
        for i in (truth.inside(*size) & ~truth.ignore).nonzero()[:, 0].tolist():
            target = Target(box=truth.boxes[i].numpy(), label=int(truth.labels[i]), origin="truth")
            numbers = of_truth[0].get(i), of_truth[1].get(i)
            scores = _hit_score(first, numbers[0]), _hit_score(second, numbers[1])
            yield _Wanted(target.inside(*size), "face", scores, numbers)
    for kind in (FALSE_POSITIVE, FOUND):
        yield from _paired(_numbered(first, kind), _numbered(second, kind), kind)


def _hit_score(side: ResultFolder, number: int | None) -> float | None:
    if number is None or side.study.targets[number].kind != HIT:
        return None
    return side.manifest.targets[number].score


def _numbered(side: ResultFolder, kind: str) -> list[tuple[int, Target]]:
    pairs = zip(side.explanation.targets, side.study.targets, strict=True)
    return [(i, target) for i, (target, one) in enumerate(pairs) if one.kind == kind]


def _paired(
    first: list[tuple[int, Target]], second: list[tuple[int, Target]], kind: str
) -> Iterator[_Wanted]:
    """Detections that are no annotated face; those of both that overlap are one."""
    free = list(second)
    for i, target in first:
        overlap = [float(boxes.iou(target.box[None], other.box[None])) for _, other in free]
        best = max(range(len(free)), key=overlap.__getitem__, default=None)
        if best is None or overlap[best] < _SAME_BOX:
            yield _Wanted(target, kind, (target.score, None), (i, None))
            continue
        j, other = free.pop(best)
        run = int((target.score or 0) < (other.score or 0))
        yield _Wanted((target, other)[run], kind, (target.score, other.score), (i, j), run)
    for j, other in free:
        yield _Wanted(other, kind, (None, other.score), (None, j), run=1)


def _context(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean shares over the faces that both found, and their paired difference."""
    both = [
        row
        for row in rows
        if row["status"] == "both"
        and row["what"] != FALSE_POSITIVE
        and None not in (row["in_box_first"], row["in_box_second"])
    ]
    names = list(dict.fromkeys(row["picture"] for row in both))
    place = [names.index(row["picture"]) for row in both]
    context: dict[str, Any] = {"n": len(both), "pictures": len(names)}
    for part in SHARES if both else ():
        first, second = ([row[f"{part}_{which}"] for row in both] for which in ("first", "second"))
        context[part] = paired_means(first, second, place, len(names)).describe()
    return context


def _precision(first: Run, second: Run) -> dict[str, Any] | None:
    """Average precision of both on the pictures that both have, and its difference."""
    names, of = both_done(first, second), []
    for run in (first, second):
        pictures = [run.picture(name) for name in names]
        found = [picture.detections for picture in pictures]
        truth = [picture.truth for picture in pictures if picture.truth is not None]  # own labels
        if len(truth) < len(names):
            return None
        try:
            of.append(average_precision(found, truth, n_resamples=_RESAMPLES))
        except UndefinedMetricError:
            return None
    one, other = of
    return {
        "first": {"ap": one.ap, "ap50": one.ap50, "interval": one.ap50_interval},
        "second": {"ap": other.ap, "ap50": other.ap50, "interval": other.ap50_interval},
        "difference": {"ap": other.ap - one.ap, "ap50": other.ap50 - one.ap50},
    }

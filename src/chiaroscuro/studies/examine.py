"""One picture of a study: detect, match, explain, read, write.

The unit of work, of resuming, and of scaling out.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chiaroscuro.core import limits
from chiaroscuro.core.checks import maybe, settle, whole
from chiaroscuro.core.errors import ChiaroscuroError, UndefinedMetricError
from chiaroscuro.core.records import Proposals, Target, Truth, as_targets
from chiaroscuro.data.datasets import Entry
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.evidence.evidence import Evidence, Progress
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.passes import detect_whole
from chiaroscuro.images.read import read_image
from chiaroscuro.images.resize import shrink
from chiaroscuro.metrics.average_precision import MAX_DETECTIONS
from chiaroscuro.metrics.context import context_share
from chiaroscuro.results.explaining import Picture, Settings, explain_into
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.studies.matching import FALSE_ALARMS, Match, Matches, match
from chiaroscuro.studies.misses import read_miss

HIT, FALSE_ALARM, MISSED, UNMARKED = "hit", "false alarm", "missed", "found"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """How a collection is studied.

    Attributes:
        explain: how every picture is explained; ``min_score`` is what counts as found.
        match_iou: from which a detection has a marked box.
        max_side: larger pictures are reduced to this longer side; None keeps them.
        max_pixels: pictures with more are refused.

    Raises:
        InputError: on a setting of another kind or out of range; it names the setting.
    """

    explain: Settings = Settings()  # noqa: RUF009  (frozen)
    match_iou: float = 0.5
    max_side: int | None = 1280
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        settle(
            self,
            {
                "match_iou": limits.MATCH_IOU,
                "max_side": maybe(limits.SIDE),
                "max_pixels": whole(1),
            },
        )

    def describe(self) -> dict[str, Any]:
        """What two runs must share to belong together, as plain JSON values."""
        return {
            "min_score": self.explain.min_score,
            "n_masks": self.explain.n_masks,
            "fidelity": self.explain.fidelity,
            "seed": self.explain.seed,
            "design": self.explain.design.describe(),
            "estimator": self.explain.estimator,
            "match_iou": self.match_iou,
            "max_side": self.max_side,
        }


def examine(
    entry: Entry,
    detector: Detector,
    folder: AnyPath,
    settings: StudySettings,
    labels: Mapping[int, int],
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Study one picture and write ``folder``, its manifest last.

    A picture that cannot be read, or on which the detector fails, leaves ``failed.json`` there with
    the reason instead; what was observed before is kept for the next try.

    Args:
        entry: the picture and its marks.
        detector: what is studied.
        folder: of this picture's results.
        settings: how.
        labels: the detector's label of every class of the data set.
        progress: called after every batch of masks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _examine(entry, detector, folder, settings, labels, progress)
        (folder / "failed.json").unlink(missing_ok=True)
    except ChiaroscuroError as error:
        bundle.write_json(
            folder / "failed.json", {"picture": str(entry.path), "reason": str(error)}
        )


def _examine(
    entry: Entry,
    detector: Detector,
    folder: AnyPath,
    settings: StudySettings,
    labels: Mapping[int, int],
    progress: Callable[[Progress], None] | None,
) -> None:
    began = time.perf_counter()
    image = read_image(entry.path, max_pixels=settings.max_pixels)
    entry.check(width=image.shape[2], height=image.shape[1])
    scale = 1.0
    if settings.max_side is not None:
        image, scale = shrink(image, settings.max_side)
    picture = Picture(source=str(entry.path), image=image, scale=scale)
    everything = detect_whole(detector, image)
    whole = everything.best(MAX_DETECTIONS)
    found = whole.above(settings.explain.min_score)
    truth = None if entry.truth is None else entry.truth.relabelled(labels).scaled(scale)
    matches = None if truth is None else match(found, truth, settings.match_iou)
    targets, kinds = _targets(found, truth, matches, image)
    result, evidence = explain_into(
        folder, image, detector, targets, settings.explain, progress=progress
    )
    about = [
        _about(i, result, evidence, kinds[i], matches, everything, settings)
        for i in range(len(result))
    ]
    result.save(
        folder,
        manifest={
            "picture": picture.describe(),
            "about": entry.about,
            "asked": settings.explain.asked(detector),
            "captions": [kind for kind, _ in kinds],
            "study": about,
            "detections": _rows(whole),
            "truth": None if truth is None else _marks(truth),
            "seconds": round(time.perf_counter() - began, 3),
        },
    )


def _targets(
    found: Proposals, truth: Truth | None, matches: Matches | None, image: Tensor
) -> tuple[list[Target], list[tuple[str, Match | None]]]:
    """What is explained: all that was found, and the marked boxes that were missed."""
    targets = list(as_targets(found))
    if truth is None or matches is None:
        return targets, [(UNMARKED, None)] * len(targets)
    kinds: list[tuple[str, Match | None]] = [(_word(one), one) for one in matches.detections]
    height, width = image.shape[1:]
    for index in matches.missed:
        target = Target(
            box=truth.boxes[index].numpy(), label=int(truth.labels[index]), origin="truth"
        )
        x1, y1, x2, y2 = target.box.tolist()
        if x1 < width and y1 < height and x2 > 0 and y2 > 0:  # a mark outside explains nothing
            targets.append(target)
            kinds.append((MISSED, None))
    return targets, kinds


def _word(one: Match) -> str:
    return FALSE_ALARM if one.kind in FALSE_ALARMS else one.kind


def _about(
    index: int,
    result: Explanation,
    evidence: Evidence | None,
    kind: tuple[str, Match | None],
    matches: Matches | None,
    whole: Proposals,
    settings: StudySettings,
) -> dict[str, Any]:
    """What a study knows of one target beyond its map, as plain JSON values."""
    saliency, error = result.saliency[index], result.standard_error[index]
    word, one = kind
    about: dict[str, Any] = {"kind": word}
    if one is not None:
        about |= {"match": one.kind, "truth": one.truth, "iou": one.iou}
    try:
        share = context_share(saliency, result.targets[index], error)
        about |= {"in_box": share.box, "in_ring": share.ring, "beyond": share.beyond}
    except UndefinedMetricError:
        about |= {"in_box": None, "in_ring": None, "beyond": None}
    if word == MISSED and matches is not None and evidence is not None:
        n_found = len(matches.detections)
        about["truth"] = matches.missed[index - n_found] if index >= n_found else None
        about["miss"] = read_miss(
            result.targets[index],
            whole,
            evidence,
            saliency,
            error,
            min_score=settings.explain.min_score,
            min_iou=settings.match_iou,
        ).describe()
    return about


def _rows(found: Proposals) -> list[dict[str, Any]]:
    return [
        {"box": box, "score": score, "label": label}
        for box, score, label in zip(
            _short(found.boxes), _short(found.scores), found.labels.tolist(), strict=True
        )
    ]


def _marks(truth: Truth) -> list[dict[str, Any]]:
    columns = (truth.labels.tolist(), truth.ignore.tolist(), truth.crowd.tolist())
    return [
        {"box": box, "label": label, "ignore": ignore, "crowd": crowd}
        for box, label, ignore, crowd in zip(_short(truth.boxes), *columns, strict=True)
    ]


def _short(values: Tensor) -> list[Any]:
    """32-bit floats as the shortest decimals that are the same numbers when read back."""
    texts = values.cpu().numpy().astype(str)
    numbers: list[Any] = texts.astype(np.float64).tolist()
    return numbers


def detections_of(manifest: Mapping[str, Any]) -> Proposals:
    """The detections of a picture, as ``examine`` wrote them."""
    rows: Sequence[Mapping[str, Any]] = manifest["detections"]
    return Proposals(
        boxes=torch.tensor([row["box"] for row in rows], dtype=torch.float32).reshape(-1, 4),
        scores=[row["score"] for row in rows],
        labels=[row["label"] for row in rows],
    )


def truth_of(manifest: Mapping[str, Any]) -> Truth | None:
    """The marks of a picture, as ``examine`` wrote them; None in a set without marks."""
    rows: Sequence[Mapping[str, Any]] | None = manifest["truth"]
    if rows is None:
        return None
    return Truth(
        boxes=torch.tensor([row["box"] for row in rows], dtype=torch.float32).reshape(-1, 4),
        labels=[row["label"] for row in rows],
        ignore=[row["ignore"] for row in rows],
        crowd=[row.get("crowd", False) for row in rows],
    )

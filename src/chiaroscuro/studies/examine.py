"""One picture of a study: detect, match, explain, read, write.

The unit of work, of resuming, and of scaling out.
"""

import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from torch import Tensor

from chiaroscuro.core.errors import ChiaroscuroError
from chiaroscuro.core.notes import Note
from chiaroscuro.core.plan import StudySettings
from chiaroscuro.core.progress import Report
from chiaroscuro.core.records import Proposals, Target, Truth, as_targets
from chiaroscuro.data.datasets import Entry
from chiaroscuro.detectors.protocol import Detector
from chiaroscuro.evidence.evidence import Evidence
from chiaroscuro.evidence.explanation import Explanation
from chiaroscuro.evidence.passes import detect_whole
from chiaroscuro.metrics.average_precision import MAX_DETECTIONS
from chiaroscuro.metrics.localisation import evidence_shares
from chiaroscuro.results.explaining import explain_into
from chiaroscuro.results.picture import open_picture
from chiaroscuro.store import bundle
from chiaroscuro.store.bundle import AnyPath
from chiaroscuro.store.schema import (
    AnnotationRecord,
    DetectionRecord,
    Failed,
    StudiedPicture,
    StudiedTarget,
)
from chiaroscuro.studies.matching import FALSE_POSITIVES, Match, match
from chiaroscuro.studies.misses import read_miss

HIT, FALSE_POSITIVE, MISSED, FOUND = "hit", "false positive", "missed", "found"


def examine(
    entry: Entry,
    detector: Detector,
    folder: AnyPath,
    settings: StudySettings,
    labels: Mapping[int, int],
    progress: Report | None = None,
) -> None:
    """Study one picture and write ``folder``, its manifest last.

    A picture that cannot be read, or on which the detector fails, leaves ``failed.json`` there with
    the reason instead; what was observed before is kept for the next try. ``labels`` maps the data
    set's classes to the detector's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _examine(entry, detector, folder, settings, labels, progress)
        (folder / "failed.json").unlink(missing_ok=True)
    except ChiaroscuroError as error:
        write_failed(folder, entry, str(error))


def write_failed(folder: AnyPath, entry: Entry, reason: str) -> None:
    """Note that a picture could not be studied."""
    bundle.write_record(folder / "failed.json", Failed(picture=str(entry.path), reason=reason))


def _examine(
    entry: Entry,
    detector: Detector,
    folder: AnyPath,
    settings: StudySettings,
    labels: Mapping[int, int],
    progress: Report | None,
) -> None:
    began = time.perf_counter()
    picture = open_picture(entry.path, settings.reading)
    entry.check(width=picture.file_size[1], height=picture.file_size[0])
    image, size = picture.image, picture.image.shape[1:]
    everything = detect_whole(detector, image)
    whole = everything.best(MAX_DETECTIONS)
    found = whole.above(settings.min_score)
    truth = None if entry.truth is None else entry.truth.relabelled(labels).scaled(picture.scale)
    subjects = _subjects(found, truth, settings.match_iou, *size)
    targets = [one.target.inside(*size) for one in subjects]
    result, evidence = explain_into(
        folder, image, detector, targets, settings.plan, progress=progress
    )
    if not targets:
        result = result.with_notes(Note("nothing found", min_score=settings.min_score))
    studied = [
        _studied(one, result, i, evidence, everything, settings) for i, one in enumerate(subjects)
    ]
    result.save(
        folder,
        picture=picture.record(),
        detector=settings.choice,
        captions=tuple(one.kind for one in subjects),
        study=StudiedPicture(
            about=entry.about,
            targets=tuple(studied),
            detections=_detection_records(whole),
            truth=None if truth is None else _annotation_records(truth),
        ),
        seconds=round(time.perf_counter() - began, 3),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is explained: a detection or a missed annotation, and what it was matched to."""

    target: Target
    kind: str
    match: Match | None = None
    truth: int | None = None


def _subjects(
    found: Proposals, truth: Truth | None, min_iou: float, height: int, width: int
) -> list[_Subject]:
    """All that was found, and the annotated boxes in the picture that were missed."""
    targets = as_targets(found)
    if truth is None:
        return [_Subject(target=target, kind=FOUND) for target in targets]
    matches = match(found, truth, min_iou)
    subjects = [
        _Subject(target=target, kind=_kind(one), match=one, truth=one.truth)
        for target, one in zip(targets, matches.detections, strict=True)
    ]
    inside = truth.inside(height, width).tolist()
    for i in matches.missed:
        if inside[i]:  # an annotation outside the picture explains nothing
            target = Target(box=truth.boxes[i].numpy(), label=int(truth.labels[i]), origin="truth")
            subjects.append(_Subject(target=target, kind=MISSED, truth=i))
    return subjects


def _kind(one: Match) -> str:
    return FALSE_POSITIVE if one.kind in FALSE_POSITIVES else one.kind


def _studied(
    subject: _Subject,
    result: Explanation,
    index: int,
    evidence: Evidence | None,
    whole: Proposals,
    settings: StudySettings,
) -> StudiedTarget:
    """What a study knows of one target beyond its map."""
    saliency, error = result.saliency[index], result.standard_error[index]
    target, one = result.targets[index], subject.match
    share = evidence_shares(result, index)
    shares = (None, None, None) if share is None else astuple(share)
    miss = None
    if subject.kind == MISSED and evidence is not None:
        miss = read_miss(
            target,
            whole,
            evidence.part_for(target)[0],
            saliency,
            error,
            min_score=settings.min_score,
            min_iou=settings.match_iou,
        )
    return StudiedTarget(
        kind=subject.kind,
        in_box=shares[0],
        in_ring=shares[1],
        beyond=shares[2],
        match=None if one is None else one.kind,
        iou=None if one is None else one.iou,
        truth=subject.truth,
        miss=miss,
    )


def _detection_records(found: Proposals) -> tuple[DetectionRecord, ...]:
    columns = (_short(found.boxes), _short(found.scores), found.labels.tolist())
    return tuple(
        DetectionRecord(box=box, score=score, label=label)
        for box, score, label in zip(*columns, strict=True)
    )


def _annotation_records(truth: Truth) -> tuple[AnnotationRecord, ...]:
    columns = (truth.labels.tolist(), truth.ignore.tolist(), truth.crowd.tolist())
    return tuple(
        AnnotationRecord(box=box, label=label, ignore=ignore, crowd=crowd)
        for box, label, ignore, crowd in zip(_short(truth.boxes), *columns, strict=True)
    )


def _short(values: Tensor) -> list[Any]:
    """32-bit floats as the shortest decimals that are the same numbers when read back."""
    numbers: list[Any] = values.cpu().numpy().astype(str).astype(np.float64).tolist()
    return numbers

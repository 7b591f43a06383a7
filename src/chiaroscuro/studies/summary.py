"""What a whole run shows: counts, precision, context, averages, and why faces were missed."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chiaroscuro.core.errors import BundleError, UndefinedMetricError
from chiaroscuro.evidence.explanation import trust_words
from chiaroscuro.metrics.average_precision import average_precision
from chiaroscuro.metrics.stats import mean_by_picture, ratio
from chiaroscuro.results.folder import ResultFolder
from chiaroscuro.studies.averages import AverageMap, Averager
from chiaroscuro.studies.examine import FALSE_POSITIVE, FOUND, HIT, MISSED
from chiaroscuro.studies.run import Run

KINDS = (HIT, FALSE_POSITIVE, MISSED, FOUND)
SHARES = ("in_box", "in_ring", "beyond")  # of the evidence
_CORNERS = ("x1", "y1", "x2", "y2")
_OF_MISS = {  # by column of the table
    "reading": "reading",
    "why": "sentence",
    **{name: name for name in ("whole_score", "best_score", "share_found", "negative_share")},
}
_RESAMPLES, _RESAMPLES_OF_MANY = 400, 50  # the second from a thousand pictures on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """Figures and tables of a run.

    Attributes:
        targets: one row per target.
        pictures: one row per picture, those that failed too.
        figures: counts, precision, recall, average precision, context shares, readings of misses;
            plain JSON values, each with its interval where it has one.
        averages: average map of every kind of target that occurs.
    """

    targets: list[dict[str, Any]]
    pictures: list[dict[str, Any]]
    figures: dict[str, Any]
    averages: dict[str, AverageMap]


def summarise(run: Run) -> Summary:
    """Add up what a run's pictures show; a BundleError if none is complete, or one is damaged."""
    targets: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    averagers: dict[str, Averager] = defaultdict(Averager)
    found, truth = [], []
    for one in run.pictures():
        rows = _target_rows(one)
        targets += rows
        pictures.append(_picture_row(one, rows))
        if one.truth is not None:
            found.append(one.detections)
            truth.append(one.truth)
        if rows:
            _add_maps(averagers, one, rows)
    failed = run.failed()
    if not pictures:
        raise BundleError(f"{run.folder}: no picture is complete{_why_none(failed)}")
    pictures += [{"picture": name, "failed": reason} for name, reason in failed.items()]
    complete = [row for row in pictures if "failed" not in row]
    figures: dict[str, Any] = {
        "pictures": len(complete),
        "failed": len(failed),
        "not_done": len(run.names) - len(complete) - len(failed),
        "missing": len(run.record.data.missing),
        "targets": dict(Counter(row["kind"] for row in targets)),
        "false_positives": dict(
            Counter(row["match"] for row in targets if row["kind"] == FALSE_POSITIVE)
        ),
        "misses": dict(Counter(row["reading"] for row in targets if row["kind"] == MISSED)),
        "n_passes": sum(row["n_passes"] for row in complete),
        "cost": round(sum(row["cost"] for row in complete)),
        "context": _context(targets, [row["picture"] for row in complete]),
    }
    if truth:
        figures |= _detection_figures(complete, found, truth)
    return Summary(
        targets=targets,
        pictures=pictures,
        figures=figures,
        averages={kind: averagers[kind].result() for kind in KINDS if kind in averagers},
    )


def _why_none(failed: Mapping[str, str]) -> str:
    if not failed:
        return " yet"
    return f": all {len(failed)} that were tried failed; pictures/*/failed.json there says why"


def summarise_targets(run: Run) -> list[dict[str, Any]]:
    """One row per target of the complete pictures, in the files' pixels; reads no map."""
    return [row for one in run.pictures() for row in _target_rows(one)]


def image_id(one: ResultFolder) -> Any:
    """The data set's own id of a picture; the picture's name where it has none."""
    given = one.study.image_id
    return one.name if given is None else given


def _add_maps(
    averagers: Mapping[str, Averager], one: ResultFolder, rows: Sequence[Mapping[str, Any]]
) -> None:
    explanation, image = one.explanation, one.image()
    for i, row in enumerate(rows):
        if row["kind"] in KINDS:
            averagers[row["kind"]].add_map(image, explanation, i)


def _target_rows(one: ResultFolder) -> list[dict[str, Any]]:
    manifest, study = one.manifest, one.study
    settings = manifest.settings
    rows = []
    for i, (target, about) in enumerate(zip(manifest.targets, study.targets, strict=True), start=1):
        n_masks = None if target.mean_weight is None else target.source.n_masks
        rows.append(
            {
                "picture": one.name,
                "title": title_of(one),
                "image_id": image_id(one),
                "detector": settings.detector,
                "target": i,
                "kind": about.kind,
                "match": about.match,
                "iou": about.iou,
                "score": target.score,
                "label": target.label,
                **{
                    corner: value / one.scale
                    for corner, value in zip(_CORNERS, target.box, strict=True)
                },
                "fidelity": target.fidelity,
                "trust": trust_words(target.fidelity, n_masks),
                "mean_weight": target.mean_weight,
                **{part: getattr(about, part) for part in SHARES},
                **{column: getattr(about.miss, name, None) for column, name in _OF_MISS.items()},
            }
        )
    return rows


def title_of(one: ResultFolder) -> str:
    """The title of a picture; its name where the data set has no title."""
    return one.study.about.get("title") or one.name


def _picture_row(one: ResultFolder, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kinds = Counter(row["kind"] for row in rows)
    return {
        "picture": one.name,
        "title": title_of(one),
        "source": one.source,
        "hits": kinds[HIT],
        "false_positives": kinds[FALSE_POSITIVE],
        "missed": kinds[MISSED],
        "found": kinds[FOUND],
        "n_passes": one.manifest.settings.n_passes if rows else 0,
        "cost": one.manifest.settings.cost or 0.0 if rows else 0.0,
        "seconds": one.manifest.seconds,
    }


def _detection_figures(
    pictures: Sequence[Mapping[str, Any]], found: Sequence[Any], truth: Sequence[Any]
) -> dict[str, Any]:
    hits, false, missed = (
        np.array([row[name] for row in pictures]) for name in ("hits", "false_positives", "missed")
    )
    figures: dict[str, Any] = {
        "precision": ratio(hits, hits + false).describe(),
        "recall": ratio(hits, hits + missed).describe(),
    }
    try:
        n = _RESAMPLES if len(truth) < 1000 else _RESAMPLES_OF_MANY
        precision = average_precision(found, truth, n_resamples=n)
    except UndefinedMetricError:
        return {**figures, "average_precision": None}
    return {**figures, "average_precision": asdict(precision)}


def _context(
    targets: Sequence[Mapping[str, Any]], pictures: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Mean shares of the evidence by kind of target, with intervals over pictures."""
    index = {name: i for i, name in enumerate(pictures)}
    context = {}
    for kind in KINDS:
        rows = [row for row in targets if row["kind"] == kind]
        known = [row for row in rows if row["in_box"] is not None]
        if not rows:
            continue
        place = [index[row["picture"]] for row in known]
        shares = {
            part: mean_by_picture([row[part] for row in known], place, len(pictures)).describe()
            for part in (SHARES if known else ())
        }
        context[kind] = {"n": len(known), "undefined": len(rows) - len(known), **shares}
    return context

"""What a whole run shows: counts, precision, context, averages, and why faces were missed."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chiaroscuro.core.errors import BundleError, UndefinedMetricError
from chiaroscuro.evidence.explanation import trust_words
from chiaroscuro.metrics.average_precision import average_precision
from chiaroscuro.metrics.stats import bootstrap_interval
from chiaroscuro.results.folder import SavedResult
from chiaroscuro.studies.averages import AverageMap, Averager
from chiaroscuro.studies.examine import FALSE_ALARM, HIT, MISSED, UNMARKED, detections_of, truth_of
from chiaroscuro.studies.run import Run

KINDS = (HIT, FALSE_ALARM, MISSED, UNMARKED)
_PICTURES_FOR_AN_INTERVAL = 5  # with targets of the kind; fewer say nothing about the next one
_RESAMPLES, _RESAMPLES_OF_MANY = 400, 50  # the second from a thousand pictures on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Summary:
    """Figures and tables of a run.

    Attributes:
        targets: one row a target.
        pictures: one row a picture, those that failed too.
        figures: counts, precision, recall, average precision, context shares, readings of misses;
            plain JSON values, each with its interval where it has one.
        averages: average map of every kind of target that occurs.
    """

    targets: list[dict[str, Any]]
    pictures: list[dict[str, Any]]
    figures: dict[str, Any]
    averages: dict[str, AverageMap]


def summarise(run: Run) -> Summary:
    """Go through a run's pictures once and add up what they show.

    Raises:
        BundleError: if no picture is complete, or one is damaged.
    """
    targets: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    averagers: dict[str, Averager] = defaultdict(Averager)
    found, truth = [], []
    for name, manifest in run.manifests():
        rows = _target_rows(name, manifest)
        targets += rows
        pictures.append(_picture_row(name, manifest, rows))
        marked = truth_of(manifest)
        if marked is not None:
            found.append(detections_of(manifest))
            truth.append(marked)
        if rows:
            saved = SavedResult.load(run.picture(name))
            explanation, image = saved.explanation, saved.image()
            for i, row in enumerate(rows):
                if row["kind"] in KINDS:
                    averagers[row["kind"]].add(
                        image,
                        explanation.saliency[i],
                        explanation.targets[i],
                        explanation.standard_error[i],
                    )
    failed = run.failed()
    if not pictures:
        raise BundleError(f"{run.folder}: no picture is complete{_why_none(failed)}")
    pictures += [{"picture": name, "failed": reason} for name, reason in failed.items()]
    complete = [row for row in pictures if "failed" not in row]
    figures: dict[str, Any] = {
        "pictures": len(complete),
        "failed": len(failed),
        "not_done": len(run.names) - len(complete) - len(failed),
        "missing": len(run.asked["data"]["missing"]),
        "targets": dict(Counter(row["kind"] for row in targets)),
        "false_alarms": dict(
            Counter(row["match"] for row in targets if row["kind"] == FALSE_ALARM)
        ),
        "misses": dict(Counter(row["reading"] for row in targets if row["kind"] == MISSED)),
        "passes": sum(row["passes"] for row in complete),
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
    """One row a target of the complete pictures, as in the table; reads no map.

    Boxes are in the pixels of the picture's file.
    """
    return [row for name, manifest in run.manifests() for row in _target_rows(name, manifest)]


def image_id(name: str, manifest: Mapping[str, Any]) -> Any:
    """The data set's own id of a picture; the picture's name where it has none."""
    given = manifest["about"].get("id")
    return name if given is None else given


def _target_rows(name: str, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    scale = manifest["picture"]["scale"]
    rows = []
    for i, (target, about) in enumerate(
        zip(manifest["targets"], manifest["study"], strict=True), start=1
    ):
        x1, y1, x2, y2 = (value / scale for value in target["box"])
        miss = about.get("miss") or {}
        rows.append(
            {
                "picture": name,
                "title": manifest["about"].get("title") or name,
                "image_id": image_id(name, manifest),
                "detector": manifest["settings"]["detector"],
                "target": i,
                "kind": about["kind"],
                "match": about.get("match"),
                "iou": about.get("iou"),
                "score": target["score"],
                "label": target["label"],
                **{"x1": x1, "y1": y1, "x2": x2, "y2": y2},
                "fidelity": target["fidelity"],
                "trust": trust_words(target["fidelity"], manifest["settings"].get("n_masks")),
                "mean_weight": target["mean_weight"],
                "in_box": about["in_box"],
                "in_ring": about["in_ring"],
                "beyond": about["beyond"],
                "reading": miss.get("reading"),
                "why": miss.get("sentence"),
                "whole_score": miss.get("whole_score"),
                "best_score": miss.get("best_score"),
                "share_found": miss.get("share_found"),
                "negative_share": miss.get("negative_share"),
            }
        )
    return rows


def _picture_row(
    name: str, manifest: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    kinds = Counter(row["kind"] for row in rows)
    return {
        "picture": name,
        "title": manifest["about"].get("title") or name,
        "source": manifest["picture"]["source"],
        "hits": kinds[HIT],
        "false_alarms": kinds[FALSE_ALARM],
        "missed": kinds[MISSED],
        "found": kinds[UNMARKED],
        "passes": manifest["settings"]["n_masks"] if rows else 0,
        "seconds": manifest["seconds"],
    }


def _detection_figures(
    pictures: Sequence[Mapping[str, Any]], found: Sequence[Any], truth: Sequence[Any]
) -> dict[str, Any]:
    hits, alarms, missed = (
        np.array([row[name] for row in pictures]) for name in ("hits", "false_alarms", "missed")
    )

    def share(part: Any, rest: Any) -> dict[str, Any]:
        def of(drawn: Any) -> float:
            whole = int(part[drawn].sum() + rest[drawn].sum())
            return float(part[drawn].sum() / whole) if whole else float("nan")

        value = of(np.arange(len(pictures)))
        several = int((part + rest > 0).sum()) > 1  # pictures that have any
        return {
            "value": value if np.isfinite(value) else None,
            "interval": bootstrap_interval(of, len(pictures)) if several else None,
        }

    figures: dict[str, Any] = {"precision": share(hits, alarms), "recall": share(hits, missed)}
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
    place = {name: i for i, name in enumerate(pictures)}
    context = {}
    for kind in KINDS:
        rows = [row for row in targets if row["kind"] == kind]
        known = [row for row in rows if row["in_box"] is not None]
        if not rows:
            continue
        shares = {}
        for part in ("in_box", "in_ring", "beyond") if known else ():
            total, count = np.zeros(len(pictures)), np.zeros(len(pictures))
            for row in known:
                total[place[row["picture"]]] += row[part]
                count[place[row["picture"]]] += 1
            enough = int((count > 0).sum()) >= _PICTURES_FOR_AN_INTERVAL
            shares[part] = {
                "value": float(total.sum() / count.sum()),
                "interval": bootstrap_interval(_ratio(total, count), len(pictures))
                if enough
                else None,
            }
        context[kind] = {"n": len(known), "undefined": len(rows) - len(known), **shares}
    return context


def _ratio(total: Any, count: Any) -> Any:
    def of(drawn: Any) -> float:
        n = count[drawn].sum()
        return float(total[drawn].sum() / n) if n else float("nan")

    return of

"""Average precision over a set of pictures, by the COCO reference evaluator (pycocotools)."""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from chiaroscuro.core.errors import InputError, UndefinedMetricError
from chiaroscuro.core.records import Proposals, Truth
from chiaroscuro.core.threads import PROCESS_WIDE
from chiaroscuro.metrics import stats

MAX_DETECTIONS = 100  # per picture, the best by score: COCO's rule


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Mean over classes, 101-point interpolated, in [0, 1].

    Attributes:
        ap: mean over IoU thresholds of 0.50, 0.55, ..., 0.95.
        ap50: at an IoU of 0.50.
        ap75: at an IoU of 0.75.
        ap50_interval: 95 % bootstrap interval of ``ap50`` (resampling pictures), where resamples
            were requested and two pictures or more have a box that is scored.
    """

    ap: float
    ap50: float
    ap75: float
    ap50_interval: tuple[float, float] | None = None


def average_precision(
    found: Sequence[Proposals], truth: Sequence[Truth], *, n_resamples: int = 0, seed: int = 0
) -> AveragePrecision:
    """COCO average precision of detections in a set of pictures.

    A detection that matches only an ignored box is neither a true nor a false positive.

    Args:
        found: one per picture, down to a low score; the best 100 of each count.
        truth: one per picture, in the same order.
        n_resamples: for the interval of AP50, number of sets of pictures; 0 for no interval.
        seed: of those sets.

    Raises:
        InputError: if the two differ in number.
        UndefinedMetricError: if no picture has an annotation that is scored.
    """
    evaluator = _evaluated(found, truth)
    ap, ap50, ap75 = _accumulated(evaluator)
    bounds = None
    if n_resamples and n_scored(truth) > 1:
        bounds = stats.bootstrap_interval(
            _ap50_of(evaluator, len(truth)), len(truth), n_resamples=n_resamples, seed=seed
        )
    return AveragePrecision(ap=ap, ap50=ap50, ap75=ap75, ap50_interval=bounds)


def n_scored(truth: Sequence[Truth]) -> int:
    """Number of pictures with an annotation that is scored; one alone cannot be resampled."""
    return sum(bool((~one.ignore).any()) for one in truth)


def resampled_ap50(
    found: Sequence[Proposals], truth: Sequence[Truth], *, n_resamples: int, seed: int = 0
) -> npt.NDArray[np.float64]:
    """AP50 of resampled sets of pictures; NaN for a set without an annotation to score."""
    ap50 = _ap50_of(_evaluated(found, truth), len(truth))
    return stats.resampled(ap50, len(truth), n_resamples=n_resamples, seed=seed)


def _ap50_of(evaluator: COCOeval, n_pictures: int) -> Callable[[npt.NDArray[np.int64]], float]:
    """AP50 of the pictures with some indices, from the matches of all pictures."""
    matches = np.array(evaluator.evalImgs, dtype=object).reshape(
        len(evaluator.params.catIds), len(evaluator.params.areaRng), n_pictures
    )

    def ap50(chosen: npt.NDArray[np.int64]) -> float:
        evaluator.evalImgs = matches[:, :, chosen].ravel().tolist()
        return _accumulated(evaluator)[1]

    return ap50


def _evaluated(found: Sequence[Proposals], truth: Sequence[Truth]) -> COCOeval:
    """The evaluator with every detection of every picture matched."""
    if len(found) != len(truth):
        raise InputError(
            f"average_precision: wanted detections for {len(truth)} pictures, got {len(found)}"
        )
    if not n_scored(truth):
        raise UndefinedMetricError("average_precision: no picture has an annotation that is scored")
    true_rows: list[dict[str, Any]] = []
    found_rows: list[dict[str, Any]] = []
    for picture, (proposals, true) in enumerate(zip(found, truth, strict=True)):
        for i in range(len(true)):
            row = _row(picture, true.boxes[i], int(true.labels[i]), len(true_rows) + 1)
            crowd, unscored = bool(true.crowd[i]), bool(true.ignore[i])
            true_rows.append({**row, "iscrowd": int(crowd), "unscored": unscored})
        best = proposals.best(MAX_DETECTIONS)
        for i in range(len(best)):
            row = _row(picture, best.boxes[i], int(best.labels[i]), len(found_rows) + 1)
            found_rows.append({**row, "iscrowd": 0, "score": float(best.scores[i])})
    classes = sorted({row["category_id"] for row in true_rows if not row["unscored"]})
    pictures = range(len(truth))
    with PROCESS_WIDE, contextlib.redirect_stdout(io.StringIO()):  # the evaluator prints
        evaluator = _Evaluator(
            _dataset(true_rows, classes, pictures),
            _dataset(found_rows, classes, pictures),
            "bbox",
        )
        evaluator.evaluate()
    return evaluator


def _accumulated(evaluator: COCOeval) -> tuple[float, float, float]:
    """AP, AP50 and AP75 of what was evaluated; NaN without an annotation to score."""
    with PROCESS_WIDE, contextlib.redirect_stdout(io.StringIO()):
        evaluator.accumulate()
    # thresholds, recalls, classes, area ranges (the first is all), detection limits (the last, 100)
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    scored = precision[:, :, (precision > -1).all(axis=(0, 1))]  # -1: a class without annotations
    if scored.shape[2] == 0:
        return float("nan"), float("nan"), float("nan")
    return float(scored.mean()), float(scored[0].mean()), float(scored[5].mean())


class _Evaluator(COCOeval):  # type: ignore[misc]
    """COCOeval overwrites what is ignored by what is a crowd; this one keeps the two apart.

    A crowd is a region that any number of detections may match.
    """

    def _prepare(self) -> None:
        super()._prepare()
        for rows in self._gts.values():
            for row in rows:
                row["ignore"] = int(row["unscored"])


def _dataset(rows: list[dict[str, Any]], classes: Sequence[int], pictures: range) -> COCO:
    dataset = COCO()
    dataset.dataset = {
        "images": [{"id": picture} for picture in pictures],
        "categories": [{"id": label} for label in classes],
        "annotations": rows,
    }
    dataset.createIndex()
    return dataset


def _row(picture: int, box: Tensor, label: int, number: int) -> dict[str, Any]:
    x1, y1, x2, y2 = np.asarray(box.tolist())
    width, height = x2 - x1, y2 - y1
    return {
        "id": number,
        "image_id": picture,
        "category_id": label,
        "bbox": [x1, y1, width, height],
        "area": width * height,
    }

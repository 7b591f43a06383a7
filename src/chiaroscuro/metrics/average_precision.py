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
from chiaroscuro.metrics.resampling import interval

MAX_DETECTIONS = 100  # a picture, the best by score: COCO's rule


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Mean over classes, 101-point interpolated, in [0, 1].

    Attributes:
        ap: mean over IoU thresholds of 0.50, 0.55, ..., 0.95.
        ap50: at an IoU of 0.50.
        ap75: at an IoU of 0.75.
        ap50_interval: 95 % interval of ``ap50`` by resampling pictures, where it was asked for
            and two pictures or more have a box that is scored.
    """

    ap: float
    ap50: float
    ap75: float
    ap50_interval: tuple[float, float] | None = None


def average_precision(
    found: Sequence[Proposals], truth: Sequence[Truth], *, n_resamples: int = 0, seed: int = 0
) -> AveragePrecision:
    """COCO average precision of detections in a set of pictures.

    A detection that matches only a box to be ignored counts neither way.

    Args:
        found: one a picture, down to a low score; the best 100 of each count.
        truth: one a picture, in the same order.
        n_resamples: for the interval of AP50, how many sets of pictures are drawn; 0 for none.
        seed: of those draws.

    Raises:
        InputError: if the two differ in number.
        UndefinedMetricError: if no picture has a box that is to be scored.
    """
    judge = _judged(found, truth)
    ap, ap50, ap75 = _accumulated(judge)
    bounds = None
    if n_resamples and n_scored(truth) > 1:
        of_drawn = _of_drawn(judge, len(truth))
        bounds = interval(of_drawn, len(truth), n_resamples=n_resamples, seed=seed)
    return AveragePrecision(ap=ap, ap50=ap50, ap75=ap75, ap50_interval=bounds)


def n_scored(truth: Sequence[Truth]) -> int:
    """How many pictures have a box that is to be scored; of one alone nothing can be resampled."""
    return sum(bool((~one.ignore).any()) for one in truth)


def resampled(
    found: Sequence[Proposals], truth: Sequence[Truth], *, n_resamples: int, seed: int = 0
) -> npt.NDArray[np.float64]:
    """AP50 of sets of as many pictures, drawn with replacement.

    The same seed draws the same sets, so that two detectors can be compared set by set.

    Returns:
        ``n_resamples``, NaN for a set without a box to score.

    Raises:
        As ``average_precision`` does.
    """
    of_drawn = _of_drawn(_judged(found, truth), len(truth))
    generator = np.random.default_rng(seed)
    n = len(truth)
    return np.array([of_drawn(generator.integers(0, n, n)) for _ in range(n_resamples)])


def _of_drawn(judge: COCOeval, n_pictures: int) -> Callable[[npt.NDArray[np.int64]], float]:
    """AP50 of the pictures with these indices, from what was evaluated already."""
    judged = np.array(judge.evalImgs, dtype=object).reshape(
        len(judge.params.catIds), len(judge.params.areaRng), n_pictures
    )

    def of_drawn(drawn: npt.NDArray[np.int64]) -> float:
        judge.evalImgs = judged[:, :, drawn].ravel().tolist()
        return _accumulated(judge)[1]

    return of_drawn


def _judged(found: Sequence[Proposals], truth: Sequence[Truth]) -> COCOeval:
    """The evaluator with every detection of every picture matched."""
    if len(found) != len(truth):
        raise InputError(
            f"average_precision: wanted detections for {len(truth)} pictures, got {len(found)}"
        )
    if not any(bool((~marked.ignore).any()) for marked in truth):
        raise UndefinedMetricError(
            "average_precision: no picture has a marked box that is to be scored"
        )
    marked_rows: list[dict[str, Any]] = []
    found_rows: list[dict[str, Any]] = []
    for picture, (proposals, marked) in enumerate(zip(found, truth, strict=True)):
        for i in range(len(marked)):
            row = _row(picture, marked.boxes[i], int(marked.labels[i]), len(marked_rows) + 1)
            crowd, unscored = bool(marked.crowd[i]), bool(marked.ignore[i])
            marked_rows.append({**row, "iscrowd": int(crowd), "unscored": unscored})
        best = proposals.best(MAX_DETECTIONS)
        for i in range(len(best)):
            row = _row(picture, best.boxes[i], int(best.labels[i]), len(found_rows) + 1)
            found_rows.append({**row, "iscrowd": 0, "score": float(best.scores[i])})
    classes = sorted({row["category_id"] for row in marked_rows if not row["unscored"]})
    pictures = range(len(truth))
    with PROCESS_WIDE, contextlib.redirect_stdout(io.StringIO()):  # the evaluator prints as it goes
        judge = _Evaluator(
            _dataset(marked_rows, classes, pictures),
            _dataset(found_rows, classes, pictures),
            "bbox",
        )
        judge.evaluate()
    return judge


def _accumulated(judge: COCOeval) -> tuple[float, float, float]:
    """AP, AP50 and AP75 of what was evaluated; NaN without a box to score."""
    with PROCESS_WIDE, contextlib.redirect_stdout(io.StringIO()):
        judge.accumulate()
    # thresholds, recalls, classes, area ranges (the first is all), detection limits (the last, 100)
    precision = judge.eval["precision"][:, :, :, 0, -1]
    scored = precision[:, :, (precision > -1).all(axis=(0, 1))]  # -1: a class without a box
    if scored.shape[2] == 0:
        return float("nan"), float("nan"), float("nan")
    return float(scored.mean()), float(scored[0].mean()), float(scored[5].mean())


class _Evaluator(COCOeval):  # type: ignore[misc]
    """COCOeval ignores crowds alone: it overwrites what else a data set says is to be ignored.

    A crowd is another thing: a region that any number of detections may fall into.
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

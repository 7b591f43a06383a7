"""K-fold evaluation: what training gains on pictures that it did not see, and how sure that is.

Small collections have no test set to spare. So the pictures are cut into folds, each is judged by a
detector trained on the others, and the judgements of all are pooled.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chiaroscuro.core.errors import DivergedError, TrainingError
from chiaroscuro.core.records import Proposals, Truth
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.metrics.average_precision import (
    AveragePrecision,
    average_precision,
    n_scored,
    resampled,
)
from chiaroscuro.training.loop import Step, detections, train
from chiaroscuro.training.notes import Tell, warn
from chiaroscuro.training.pictures import TrainingPicture
from chiaroscuro.training.settings import TrainingSettings
from chiaroscuro.training.state import remove_fold_states


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """Before and after, out of fold.

    Attributes:
        max_side: longer side of the pictures judged.
        before: average precision of the detector as it came.
        after: pooled over folds, each picture judged by the detector that has not seen it.
        gain: of AP50, ``after - before``.
        interval: 90 % bootstrap interval of that gain (resampling pictures, both on the same).
        folds: AP50 before and after in every fold.
    """

    max_side: int
    before: AveragePrecision
    after: AveragePrecision
    gain: float
    interval: tuple[float, float] | None
    folds: tuple[tuple[float, float], ...]

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "max_side": self.max_side,
            "before": _precision(self.before),
            "after": _precision(self.after),
            "gain_ap50": self.gain,
            "gain_ap50_interval_90": self.interval,
            "folds_ap50": [list(fold) for fold in self.folds],
        }


def cross_validate(
    detector: Trainable,
    pictures: Sequence[TrainingPicture],
    settings: TrainingSettings,
    *,
    n_folds: int = 5,
    max_sides: Sequence[int] = (640, 1000),
    folder: Path | None = None,
    progress: Callable[[int, Step], None] | None = None,
    tell: Tell = warn,
) -> list[FoldResult]:
    """Train on all folds but one, judge on that one, in turn.

    Args:
        detector: where training starts; copied, not changed.
        pictures: all of them, one painting each.
        settings: how each fold is trained.
        n_folds: how many.
        max_sides: picture sizes at which precision is measured.
        folder: gets ``fold-1``, ``fold-2`` ... with the log and state of each, from which the same
            call goes on: a fold that was trained is only judged.
        progress: called with the fold and its step.
        tell: as in ``train``.

    Raises:
        TrainingError: if there are fewer pictures than folds, or as ``train`` does.
        DivergedError: as ``train`` does; all folds are to be trained alike, so with another
            learning rate all begin again, and the states of all are removed.
    """
    if not 2 <= n_folds <= len(pictures):
        raise TrainingError(
            f"folds: wanted 2 to {len(pictures)}, the pictures there are, got {n_folds}"
        )
    order = np.random.default_rng(settings.seed).permutation(len(pictures))
    parts = [sorted(part.tolist()) for part in np.array_split(order, n_folds)]
    before: dict[int, dict[int, Proposals]] = {side: {} for side in max_sides}
    after: dict[int, dict[int, Proposals]] = {side: {} for side in max_sides}
    for number, part in enumerate(parts):
        trained = copy.deepcopy(detector)
        rest = [pictures[i] for i in range(len(pictures)) if i not in part]
        try:
            train(
                trained,
                rest,
                settings,
                folder=None if folder is None else folder / f"fold-{number + 1}",
                progress=None if progress is None else _numbered(progress, number),
                tell=tell,
            )
        except DivergedError:
            if folder is not None:
                remove_fold_states(folder)
            raise
        for side in max_sides:
            for i in part:
                before[side][i] = detections(detector, pictures[i], side)[0]
                after[side][i] = detections(trained, pictures[i], side)[0]
    return [_judge(side, before[side], after[side], pictures, parts) for side in max_sides]


def _judge(
    side: int,
    before: Mapping[int, Proposals],
    after: Mapping[int, Proposals],
    pictures: Sequence[TrainingPicture],
    parts: Sequence[Sequence[int]],
) -> FoldResult:
    truth = [_scaled(picture, side) for picture in pictures]
    found = [[one[i] for i in range(len(pictures))] for one in (before, after)]
    whole = [average_precision(rows, truth) for rows in found]
    draws = [resampled(rows, truth, n_resamples=400) for rows in found]
    gains = draws[1] - draws[0]
    gains = gains[np.isfinite(gains)]
    enough = len(gains) >= 200 and n_scored(truth) > 1
    low_high = np.quantile(gains, (0.05, 0.95)).tolist() if enough else None
    folds = []
    for part in parts:
        marks = [truth[i] for i in part]
        if any(bool((~one.ignore).any()) for one in marks):
            pair = [average_precision([rows[i] for i in part], marks).ap50 for rows in found]
            folds.append((pair[0], pair[1]))
    return FoldResult(
        max_side=side,
        before=whole[0],
        after=whole[1],
        gain=whole[1].ap50 - whole[0].ap50,
        interval=None if low_high is None else (low_high[0], low_high[1]),
        folds=tuple(folds),
    )


def _scaled(picture: TrainingPicture, side: int) -> Truth:
    longest = max(picture.image.shape[1:])
    return picture.truth.scaled(min(1.0, side / longest))


def _precision(of: AveragePrecision) -> dict[str, float]:
    return {"ap": of.ap, "ap50": of.ap50, "ap75": of.ap75}


def _numbered(progress: Callable[[int, Step], None], number: int) -> Callable[[Step], None]:
    return lambda step: progress(number, step)

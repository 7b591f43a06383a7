"""Cross-validation: the gain by training on pictures not trained on, with its interval.

Small collections have no test set to spare. So the pictures are split into folds, each is evaluated
by a detector trained on the others, and the detections of all are pooled.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chiaroscuro.core.errors import DivergedError, TrainingError
from chiaroscuro.core.progress import Report, naming
from chiaroscuro.core.records import Proposals
from chiaroscuro.detectors.protocol import Trainable
from chiaroscuro.metrics import stats
from chiaroscuro.metrics.average_precision import (
    AveragePrecision,
    average_precision,
    n_scored,
    resampled_ap50,
)
from chiaroscuro.training.loop import train
from chiaroscuro.training.measure import detections
from chiaroscuro.training.pictures import TrainingPicture
from chiaroscuro.training.settings import TrainingSettings
from chiaroscuro.training.state import remove_fold_states

N_RESAMPLES = 400  # for the interval of the gain


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """Precision before and after training, out of fold.

    Attributes:
        max_side: longer side of the pictures.
        before: average precision of the detector before training.
        after: pooled over folds, each picture by the detector that was not trained on it.
        gain: of AP50, ``after - before``.
        interval: 90 % bootstrap interval of the gain (resampling pictures, the same for both).
        folds: AP50 before and after in every fold.
    """

    max_side: int
    before: AveragePrecision
    after: AveragePrecision
    gain: float
    interval: stats.Interval | None
    folds: tuple[tuple[float, float], ...]

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        before, after = (
            {"ap": one.ap, "ap50": one.ap50, "ap75": one.ap75} for one in (self.before, self.after)
        )
        return {
            "max_side": self.max_side,
            "before": before,
            "after": after,
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
    progress: Report | None = None,
) -> list[FoldResult]:
    """Train on all folds but one and evaluate on that one, in turn.

    Args:
        detector: the start of training; copied, not changed.
        pictures: all of them, one per painting.
        settings: how each fold is trained.
        n_folds: how many.
        max_sides: picture sizes at which precision is measured.
        folder: for ``fold-1``, ``fold-2`` ... with the log and state of each, from which the same
            call resumes: a fold that was trained is only evaluated.
        progress: called after every step; it names the fold.

    Raises:
        TrainingError: if there are fewer pictures than folds, or as ``train`` does.
        DivergedError: as ``train`` does. All folds need the same settings, so another learning rate
            starts all of them again: their states are removed.
    """
    if not 2 <= n_folds <= len(pictures):
        raise TrainingError(
            f"folds: wanted 2 to {len(pictures)}, the pictures there are, got {n_folds}"
        )
    order = np.random.default_rng(settings.seed).permutation(len(pictures))
    parts = [sorted(part.tolist()) for part in np.array_split(order, n_folds)]
    found: dict[int, tuple[dict[int, Proposals], ...]] = {side: ({}, {}) for side in max_sides}
    for number, part in enumerate(parts, start=1):
        trained = copy.deepcopy(detector)
        rest = [picture for i, picture in enumerate(pictures) if i not in part]
        own = None if folder is None else folder / f"fold-{number}"
        report = progress and naming(progress, f"fold {number} of {n_folds}")
        try:
            train(trained, rest, settings, folder=own, progress=report)
        except DivergedError:
            if folder is not None:
                remove_fold_states(folder)
            raise
        for side, both in found.items():
            for one, known in zip((detector, trained), both, strict=True):
                known |= {i: detections(one, pictures[i], side)[0] for i in part}
    return [
        _result(side, [[known[i] for i in range(len(pictures))] for known in both], pictures, parts)
        for side, both in found.items()
    ]


def _result(
    side: int,
    found: Sequence[Sequence[Proposals]],
    pictures: Sequence[TrainingPicture],
    parts: Sequence[Sequence[int]],
) -> FoldResult:
    """Of what was found before and after training, each in the order of the pictures."""
    truth = [
        picture.truth.scaled(min(1.0, side / max(picture.image.shape[1:]))) for picture in pictures
    ]
    before, after = (average_precision(rows, truth) for rows in found)
    interval = None
    if n_scored(truth) > 1:
        ap50 = [resampled_ap50(rows, truth, n_resamples=N_RESAMPLES) for rows in found]
        interval = stats.percentile_interval(ap50[1] - ap50[0], level=0.9)
    folds = []
    for part in parts:
        of_part = [truth[i] for i in part]
        if n_scored(of_part):
            pair = [average_precision([rows[i] for i in part], of_part).ap50 for rows in found]
            folds.append((pair[0], pair[1]))
    gain = after.ap50 - before.ap50
    return FoldResult(
        max_side=side, before=before, after=after, gain=gain, interval=interval, folds=tuple(folds)
    )

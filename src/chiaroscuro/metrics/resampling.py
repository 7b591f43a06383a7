"""Confidence intervals by resampling pictures with replacement.

Targets of one picture are not independent, so pictures are drawn, never targets (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13: percentile intervals).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt


def interval(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    n_pictures: int,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile interval of a figure of a set of pictures.

    Args:
        statistic: the figure of the pictures with these indices, NaN where it has no value.
        n_pictures: how many there are.
        n_resamples: how many sets are drawn.
        level: of the interval, in (0, 1).
        seed: of the draws.

    Returns:
        Low and high end; None with fewer than two pictures, or where most draws have no value.
    """
    if n_pictures < 2:
        return None
    generator = np.random.default_rng(seed)
    values = np.array(
        [statistic(generator.integers(0, n_pictures, n_pictures)) for _ in range(n_resamples)]
    )
    known = values[np.isfinite(values)]
    if len(known) < n_resamples / 2:
        return None
    low, high = np.quantile(known, ((1 - level) / 2, (1 + level) / 2)).tolist()
    return low, high

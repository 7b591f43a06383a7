"""Statistics of figures over targets and pictures: spreads, bootstrap intervals, paired values.

Targets of one picture are not independent, so bootstrap intervals resample pictures, never targets
(Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13: percentile intervals).
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Key = TypeVar("Key", bound=Hashable)

Interval = tuple[float, float]
"""Low and high end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Location and spread of some values.

    Attributes:
        n: how many are known.
        undefined: how many are not.
        mean: of the known ones; None without any.
        median: likewise.
        low: lower quartile; None with fewer than two values.
        high: upper quartile; likewise.
    """

    n: int
    undefined: int
    mean: float | None = None
    median: float | None = None
    low: float | None = None
    high: float | None = None

    def describe(self) -> dict[str, Any]:
        """As plain JSON values, without what is None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def spread(values: Sequence[float | int | None]) -> Spread:
    """Mean, median and quartiles of the values that are known; None is not known."""
    known = np.array([value for value in values if value is not None])
    n, undefined = len(known), len(values) - len(known)
    if not n:
        return Spread(n=n, undefined=undefined)
    mean, median = float(known.mean()), float(np.median(known))
    low, high = np.quantile(known, (0.25, 0.75)).tolist() if n > 1 else (None, None)
    return Spread(n=n, undefined=undefined, mean=mean, median=median, low=low, high=high)


def paired_spreads(
    values: Mapping[Key, Mapping[Hashable, float | None]], everyone: Collection[Any]
) -> dict[Key, Spread]:
    """Spread of every row over the targets with a value in all rows; others count as undefined."""
    paired = [
        target
        for target in sorted(everyone)
        if all(row.get(target) is not None for row in values.values())
    ]
    unknown = [None] * (len(everyone) - len(paired))
    return {key: spread([*(row[t] for t in paired), *unknown]) for key, row in values.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure of a set of pictures.

    Attributes:
        value: None where it is not defined.
        interval: bootstrap interval (resampling pictures); None where there are too few.
    """

    value: float | None
    interval: Interval | None = None

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def ratio(
    totals: npt.NDArray[Any], counts: npt.NDArray[Any], *, least_pictures: int = 2, **options: Any
) -> Estimate:
    """Sum of totals over sum of counts, one of each per picture, such as hits over annotations.

    Undefined where the counts sum to 0; no interval where few counts are above 0.
    """

    def of(chosen: Any) -> float:
        n = counts[chosen].sum()
        return float(totals[chosen].sum() / n) if n else float("nan")

    value = of(slice(None))
    several = int((counts > 0).sum()) >= least_pictures
    return Estimate(
        value=value if np.isfinite(value) else None,
        interval=bootstrap_interval(of, len(totals), **options) if several else None,
    )


def mean_by_picture(
    values: Sequence[float | int],
    pictures: Sequence[int],
    n_pictures: int,
    *,
    least_pictures: int = 5,
    **options: Any,
) -> Estimate:
    """Mean of values of targets; ``pictures`` has the index of every target's picture."""
    totals = np.bincount(pictures, values, n_pictures)
    counts = np.bincount(pictures, minlength=n_pictures)
    return ratio(totals, counts, least_pictures=least_pictures, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedMeans:
    """Means of two values of the same targets, and of their difference.

    Attributes:
        first: mean of the first values.
        second: mean of the second values.
        difference: mean of second minus first.
    """

    first: Estimate
    second: Estimate
    difference: Estimate

    def describe(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def paired_means(
    first: Sequence[float | int],
    second: Sequence[float | int],
    pictures: Sequence[int],
    n_pictures: int,
    **options: Any,
) -> PairedMeans:
    """Means of two values of the same targets, as of ``mean_by_picture``."""

    def mean(values: Sequence[float | int]) -> Estimate:
        return mean_by_picture(values, pictures, n_pictures, **options)

    differences = [b - a for a, b in zip(first, second, strict=True)]
    return PairedMeans(first=mean(first), second=mean(second), difference=mean(differences))


def resampled(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    n_pictures: int,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """A figure of sets of as many pictures, chosen at random with replacement.

    The same seed gives the same sets, so that two detectors can be compared set by set.

    Args:
        statistic: the figure of the pictures with these indices, NaN where it has no value.
        n_pictures: how many there are.
        n_resamples: how many sets.
        seed: of the sets.
    """
    generator = np.random.default_rng(seed)
    return np.array(
        [statistic(generator.integers(0, n_pictures, n_pictures)) for _ in range(n_resamples)]
    )


def percentile_interval(values: npt.NDArray[np.float64], *, level: float = 0.95) -> Interval | None:
    """Interval between two percentiles of resampled values; None where most are not finite."""
    known = values[np.isfinite(values)]
    if len(known) < len(values) / 2:
        return None
    low, high = np.quantile(known, ((1 - level) / 2, (1 + level) / 2)).tolist()
    return low, high


def bootstrap_interval(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    n_pictures: int,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Percentile interval of a figure of a set of pictures; None where most sets have no value."""
    if n_pictures < 2:
        return None
    values = resampled(statistic, n_pictures, n_resamples=n_resamples, seed=seed)
    return percentile_interval(values, level=level)

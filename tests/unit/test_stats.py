"""Spreads, bootstrap intervals and paired values, by hand."""

import math

import numpy as np
import pytest

from chiaroscuro.metrics import stats


def test_spread_of_known_values() -> None:
    of_four = stats.spread([1, None, 2.0, 3, 10])
    assert (of_four.n, of_four.undefined, of_four.mean, of_four.median) == (4, 1, 4, 2.5)
    assert (of_four.low, of_four.high) == (1.75, 4.75)
    assert list(of_four.describe()) == ["n", "undefined", "mean", "median", "low", "high"]
    assert stats.spread([7]).describe() == {"n": 1, "undefined": 0, "mean": 7, "median": 7}
    assert stats.spread([None]).describe() == {"n": 0, "undefined": 1}
    assert stats.spread([0, 0]).describe()["mean"] == 0


def test_paired_spreads_are_over_the_same_targets() -> None:
    values = {"ours": {"a": 1.0, "b": 3.0, "c": 9.0}, "theirs": {"a": 2.0, "b": 4.0, "c": None}}
    found = stats.paired_spreads(values, {"a", "b", "c", "d"})
    assert {name: (one.n, one.undefined, one.mean) for name, one in found.items()} == {
        "ours": (2, 2, 2),
        "theirs": (2, 2, 3),
    }


def test_ratio_is_of_sums_and_has_an_interval_from_enough_pictures() -> None:
    hits, boxes = np.array([3, 0, 1]), np.array([4, 0, 4])
    found = stats.ratio(hits, boxes)
    assert found.value == 0.5
    assert found.interval is not None
    assert found.interval[0] == 0.25
    assert found.interval[1] == 0.75
    assert stats.ratio(hits, boxes, least_pictures=3).interval is None
    nothing = stats.ratio(np.zeros(3), np.zeros(3))
    assert nothing.describe() == {"value": None, "interval": None}


def test_means_count_targets_and_resample_pictures() -> None:
    first, second, pictures = [0.0, 1.0, 1.0, 2.0], [1.0, 2.0, 2.0, 3.0], [0, 0, 1, 2]
    paired = stats.paired_means(first, second, pictures, 3, least_pictures=2)
    assert (paired.first.value, paired.second.value) == (1, 2)
    assert paired.difference.describe() == {"value": 1, "interval": (1, 1)}
    assert set(paired.describe()) == {"first", "second", "difference"}
    assert stats.mean_by_picture(first, pictures, 3).interval is None


def test_the_same_seed_resamples_the_same_pictures() -> None:
    one, other = (
        stats.resampled(lambda chosen: float(chosen.sum()), 9, n_resamples=20, seed=seed)
        for seed in (1, 1)
    )
    assert one.tolist() == other.tolist()
    assert len(one) == 20


def test_an_interval_needs_values_for_half_of_the_sets() -> None:
    values = np.array([1.0, 2.0, math.nan, math.nan])
    assert stats.percentile_interval(values, level=0.9) == pytest.approx((1.05, 1.95))
    assert stats.percentile_interval(np.append(values, math.nan)) is None

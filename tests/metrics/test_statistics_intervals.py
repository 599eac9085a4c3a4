"""Intervals that a slip of one operator or number would change."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from metrics.statistics import (
    Estimate,
    band,
    estimate,
    estimate_crossed,
    interquartile_mean,
    mean,
    paired_difference,
)

SKEWED = np.random.default_rng(8).exponential(size=20) ** 2


@pytest.mark.parametrize(
    ("low", "high", "certain"),
    [
        (0.5, 0.9, True), (-0.9, -0.5, True), (0.0, 1.0, False), (-1.0, 0.0, False),
        (-0.5, 0.5, False), (np.nan, np.nan, False),
    ],
)  # fmt: skip
def test_a_sign_is_certain_where_the_interval_leaves_out_zero(
    low: float, high: float, certain: bool
) -> None:
    assert Estimate(0.0, low, high).certain is certain


def test_intervals_are_bias_corrected_and_accelerated() -> None:
    def ends(method: str) -> np.ndarray:
        how = {"confidence_level": 0.95, "n_resamples": 20_000, "rng": np.random.default_rng(1)}
        found = stats.bootstrap((SKEWED,), np.mean, method=method, **how).confidence_interval
        return np.array([found.low, found.high])

    found = estimate(SKEWED, mean, resamples=20_000)
    to_bca, to_percentile = (
        np.abs(ends(method) - [found.low, found.high]) for method in ("BCa", "percentile")
    )
    assert (3 * to_bca < to_percentile).all()


def test_the_level_is_that_of_the_interval() -> None:
    half, most = (estimate(SKEWED, mean, level=level) for level in (0.5, 0.95))
    assert most.low < half.low < half.value < half.high < most.high


def test_episodes_that_differ_by_one_have_an_interval() -> None:
    found = estimate([0.0, 1.0, 0.0, 1.0, 1.0, 0.0], mean)
    assert 0.0 <= found.low < 0.5 < found.high <= 1.0


def test_a_sample_for_which_bca_has_no_answer_gets_percentiles_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = estimate([1.0] * 9 + [1e6])
    assert np.isfinite([found.low, found.high]).all()


def test_a_single_training_seed_is_judged_by_its_episodes() -> None:
    assert estimate_crossed(SKEWED[None, :], mean) == estimate(SKEWED, mean)


def test_crossed_intervals_are_of_two_point_five_per_cent_at_either_end() -> None:
    """Seeds alone differ: the mean of 40 normal seeds has a known interval."""
    seeds = np.random.default_rng(2).normal(3.0, 1.0, 40)
    found = estimate_crossed(np.repeat(seeds[:, None], 4, axis=1), mean, resamples=20_000)
    half = 1.96 * seeds.std() / np.sqrt(40)
    assert found.value == pytest.approx(seeds.mean())
    assert (found.low, found.high) == pytest.approx(
        (found.value - half, found.value + half), abs=0.02
    )


def test_a_table_without_values_is_refused() -> None:
    for shape in ((0, 3), (3, 0), (3,)):
        with pytest.raises(ValueError, match="finite values of some training seeds"):
            estimate_crossed(np.zeros(shape))


def test_a_difference_is_of_values_less_the_reference() -> None:
    found = paired_difference([[3.0, 5.0, 4.0], [3.0, 5.0, 4.0]], [1.0, 2.0, 3.0])
    assert found.value == pytest.approx(2.0)
    with pytest.raises(ValueError, match="3 episodes against 2"):
        paired_difference([[3.0, 5.0, 4.0]], [1.0, 2.0])


def test_a_band_of_two_samples_lies_between_them_and_of_one_is_unknown() -> None:
    low, high = band(np.array([[0.0, 4.0], [1.0, 8.0]]))
    assert (low.tolist(), high.tolist()) == ([0.0, 4.0], [1.0, 8.0])
    wide = band(SKEWED[:, None], level=0.95, resamples=4000)
    narrow = band(SKEWED[:, None], level=0.5, resamples=4000)
    assert wide[0] < narrow[0] < SKEWED.mean() < narrow[1] < wide[1]
    half = 1.96 * SKEWED.std() / np.sqrt(len(SKEWED))
    assert float((wide[1] - wide[0])[0]) == pytest.approx(2 * half, rel=0.1)
    alone = band(np.array([[1.0, 2.0]]))
    assert alone[0].shape == (2,)
    assert np.isnan(alone).all()


@pytest.mark.parametrize(
    ("values", "middle"),
    [
        ([-90, -5, 10, 20, 40, 90, 300, 900], 40.0), ([1, 2, 4], 7 / 3),
        ([0, 1, 2, 3, 10, 20, 30, 40, 50, 60, 70, 999], 25.5),
    ],
)  # fmt: skip
def test_a_quarter_and_no_more_is_cut_off_at_either_end(values: list[float], middle: float) -> None:
    assert interquartile_mean(values) == pytest.approx(middle)
    assert interquartile_mean(values[::-1]) == pytest.approx(middle)

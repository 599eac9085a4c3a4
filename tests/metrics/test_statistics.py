"""Interquartile means, bootstrap intervals and paired differences against what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metrics.statistics import (
    band,
    estimate,
    estimate_crossed,
    interquartile_mean,
    mean,
    paired_difference,
)


def test_interquartile_mean_of_known_values() -> None:
    assert interquartile_mean([1, 2, 3, 4]) == 2.5
    assert interquartile_mean([0, 0, 10, 20, 30, 40, 50, 1e9]) == 25.0
    # A quarter of five is one: the middle three stay.
    assert interquartile_mean([1e9, 1, 2, 3, -1e9]) == 2.0
    assert interquartile_mean([7.0]) == 7.0
    rows = np.array([[1, 2, 3, 100], [4, 5, 6, -100]])
    np.testing.assert_allclose(interquartile_mean(rows, axis=1), [2.5, 4.5])


def test_one_episode_has_no_interval_and_equal_ones_have_an_empty_one() -> None:
    alone, equal = estimate([3.0]), estimate([2.0] * 5)
    assert alone.value == 3.0
    assert np.isnan([alone.low, alone.high]).all()
    assert not alone.certain
    assert (equal.value, equal.low, equal.high) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [1.0, np.inf]])
def test_what_is_no_sample(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        estimate(values)


def test_interval_of_a_mean_is_about_that_of_student() -> None:
    sample = np.random.default_rng(1).normal(5.0, 2.0, 60)
    found = estimate(sample, mean)
    half = 2.0 * sample.std(ddof=1) / np.sqrt(60)
    assert found.value == pytest.approx(sample.mean())
    assert found.low == pytest.approx(sample.mean() - half, abs=0.1)
    assert found.high == pytest.approx(sample.mean() + half, abs=0.1)


@pytest.mark.parametrize("statistic", [mean, interquartile_mean])
def test_intervals_cover_the_truth_about_as_often_as_they_say(
    statistic: Callable[..., Any],
) -> None:
    """16 normal episodes, whose mean and interquartile mean are 0; 95 % is nominal."""
    rng, covered, trials = np.random.default_rng(3), 0, 300
    for _ in range(trials):
        found = estimate(rng.normal(size=16), statistic, resamples=400)
        covered += found.low <= 0.0 <= found.high
    assert 0.88 <= covered / trials <= 0.985


def test_same_sample_same_interval() -> None:
    sample = np.random.default_rng(4).exponential(size=16)
    assert estimate(sample) == estimate(sample)


def test_pairs_tell_what_two_means_cannot() -> None:
    rng = np.random.default_rng(5)
    episode = rng.normal(10.0, 3.0, 16)
    other = episode + 0.2 + rng.normal(0.0, 0.05, 16)
    difference = paired_difference(other.tolist(), episode.tolist())
    assert difference.value == pytest.approx(0.2, abs=0.05)
    assert difference.certain
    assert difference.high - difference.low < 0.1
    assert estimate(other).low < estimate(episode).high
    with pytest.raises(ValueError, match="2 episodes against 1"):
        paired_difference([1.0, 2.0], [1.0])


def test_few_training_seeds_make_a_wide_interval() -> None:
    rng = np.random.default_rng(6)
    episodes = rng.normal(0.0, 0.1, (1, 16))
    alike = episodes + rng.normal(0.0, 0.01, (5, 1))
    apart = episodes + rng.normal(0.0, 1.0, (5, 1))
    narrow, wide = estimate_crossed(alike), estimate_crossed(apart)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert wide.low < float(apart.mean()) < wide.high
    assert estimate_crossed(episodes) == estimate(episodes[0]), "one seed: episodes alone"
    with pytest.raises(ValueError, match="finite"):
        estimate_crossed(np.full((2, 3), np.nan))


def test_band_is_the_interval_of_every_point() -> None:
    table = np.random.default_rng(3).normal([[0.0, 10.0, -4.0]], [[1.0, 2.0, 0.0]], (40, 3))
    low, high = band(table, resamples=4000)
    for k, column in enumerate(table.T):
        found = estimate(column, mean)
        assert low[k] == pytest.approx(found.low, abs=0.1)
        assert high[k] == pytest.approx(found.high, abs=0.1)
    assert np.isnan(band(table[:1])).all()

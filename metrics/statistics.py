"""What can be said of a few episodes: a robust mean, its interval, and paired differences.

Interquartile means as Agarwal et al. (NeurIPS 2021) recommend for few and heavy-tailed runs; their
intervals by the bias-corrected and accelerated bootstrap (Efron 1987) over episodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from model.aliases import FloatArray

LEVEL = 0.95
RESAMPLES = 5000
_SEED = 20
"""Of the resampling: the same episodes always give the same interval."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; ``low`` and ``high`` are NaN after a single episode."""

    value: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0: the sign is known."""
        return self.low > 0.0 or self.high < 0.0


def interquartile_mean(values: ArrayLike, axis: int = -1) -> Any:
    """Mean of what is left when a quarter (rounded down) is cut off at either end."""
    # A second to import, which the help of a verb need not wait for.
    from scipy import stats

    return stats.trim_mean(np.asarray(values, dtype=np.float64), 0.25, axis=axis)


def mean(values: ArrayLike, axis: int = -1) -> Any:
    """Arithmetic mean."""
    return np.mean(np.asarray(values, dtype=np.float64), axis=axis)


def estimate(
    values: Sequence[float] | FloatArray,
    statistic: Callable[..., Any] = interquartile_mean,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic of independent episodes with its bootstrap interval.

    Args:
        values: one per episode, shape (episodes,).
        statistic: takes ``values`` and ``axis``; ``interquartile_mean`` or ``mean``.
        level: of the interval.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    # A second to import, which the help of a verb need not wait for.
    from scipy import stats

    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not len(sample) or not np.isfinite(sample).all():
        raise ValueError(f"expected finite values of some episodes, not {values!r}")
    value = float(statistic(sample))
    if len(sample) == 1:
        return Estimate(value, np.nan, np.nan)
    if np.ptp(sample) == 0.0:
        return Estimate(value, value, value)
    options: dict[str, Any] = {"confidence_level": level, "n_resamples": resamples}
    with warnings.catch_warnings():
        # BCa has no answer where leaving out an episode changes nothing; percentiles have.
        warnings.simplefilter("ignore")
        for method in ("BCa", "percentile"):
            interval = stats.bootstrap(
                (sample,), statistic, method=method, rng=np.random.default_rng(_SEED), **options
            ).confidence_interval
            if np.isfinite(interval).all():
                break
    return Estimate(value, float(interval.low), float(interval.high))


def estimate_crossed(
    values: FloatArray,
    statistic: Callable[..., Any] = interquartile_mean,
    *,
    resamples: int = RESAMPLES,
) -> Estimate:
    """A statistic over training seeds and episodes, with an interval that knows of both.

    Every resample draws training seeds and episodes anew, each with replacement (the percentile
    bootstrap of a crossed design), so that few training seeds make a wide interval.

    Args:
        values: one per training seed and episode, shape (training seeds, episodes).
        statistic: takes ``values`` and ``axis``; ``interquartile_mean`` or ``mean``.
        resamples: number of bootstrap resamples.

    Raises:
        ValueError: there are no values, or some are not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ValueError("expected finite values of some training seeds and episodes")
    if len(table) == 1:
        return estimate(table[0], statistic, resamples=resamples)
    random = np.random.default_rng(_SEED)
    seeds, episodes = table.shape
    rows = random.integers(seeds, size=(resamples, seeds, 1))
    columns = random.integers(episodes, size=(resamples, 1, episodes))
    drawn = statistic(table[rows, columns].reshape(resamples, -1), axis=1)
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(drawn, [tail, 100.0 - tail])
    return Estimate(float(statistic(table.ravel())), float(low), float(high))


def paired_difference(
    values: ArrayLike, reference: ArrayLike, *, resamples: int = RESAMPLES
) -> Estimate:
    """Mean of ``values - reference`` over the same episodes, with its bootstrap interval.

    Common random numbers make the pairs alike, so that the interval is much narrower than those
    of the two means. ``values`` has shape (training seeds, episodes), one row for a rule. Raises
    ``ValueError`` if the numbers of episodes differ.
    """
    table, other = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if table.shape[-1:] != other.shape:
        raise ValueError(f"{table.shape[-1]} episodes against {len(other)}")
    return estimate_crossed(np.atleast_2d(table) - other, mean, resamples=resamples)


def band(
    values: FloatArray, *, level: float = LEVEL, resamples: int = 1000
) -> tuple[FloatArray, FloatArray]:
    """Percentile bootstrap interval of the mean over the first axis, point by point.

    Args:
        values: shape (samples, points).
        level: of the interval.
        resamples: number of bootstrap resamples.

    Returns:
        Lower and upper ends, (points,); NaN after a single sample.
    """
    table = np.asarray(values, dtype=np.float64)
    if len(table) < 2:
        nothing = np.full(table.shape[1], np.nan)
        return nothing, nothing
    drawn = np.random.default_rng(_SEED).multinomial(
        len(table), np.full(len(table), 1.0 / len(table)), size=resamples
    )
    means = drawn @ table / len(table)
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(means, [tail, 100.0 - tail], axis=0)
    return low, high

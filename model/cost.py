"""The cost of a decision and the estimated stochastic optimisation, eqs. (5)-(7), (14), (22)-(24).

Arrays have one entry per target, in ``DeviceProfile.targets`` order. An estimate that an agent
does not have is NaN, which makes that target's value NaN; ``best_known`` never chooses it. Rates go
in and out in Mbps; inside they are in MB/s, as the paper's x is.

Signs: the paper writes argmax in (17), (18), (23) and (24) for what (8) and (12) minimise, and
omits the positive part in (4) and (20). What is meant, and done here, is the minimum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from model.aliases import FloatArray
from model.observation import DeviceProfile, TaskView
from model.rates import BITS_PER_BYTE


def processing_delay_s(queue_ghz_s: ArrayLike, work_ghz_s: float, ghz: ArrayLike) -> FloatArray:
    """P_{i,u} of eq. (5), s: (Q_u + s_i) / F_u. Exact only while F_u does not change."""
    queue = np.asarray(queue_ghz_s, dtype=np.float64)
    return np.asarray((queue + work_ghz_s) / np.asarray(ghz, dtype=np.float64))


def path_delay_s(backlog_bytes: ArrayLike, rate_mbps: ArrayLike) -> float:
    """D_i of eq. (14), s: the sum of V_l / c_l over the links of one path (0 for an empty path)."""
    bits = np.asarray(backlog_bytes, dtype=np.float64) * BITS_PER_BYTE
    return float(np.sum(bits / (np.asarray(rate_mbps, dtype=np.float64) * 1e6)))


def task_cost(
    delay_s: ArrayLike, price: ArrayLike, work_ghz_s: ArrayLike, alpha: float, beta: float
) -> FloatArray:
    """Eq. (7): α E + β R_u s. Arrays broadcast; NaN where an input is NaN."""
    fee = np.asarray(price, dtype=np.float64) * np.asarray(work_ghz_s, dtype=np.float64)
    return np.asarray(alpha * np.asarray(delay_s, dtype=np.float64) + beta * fee)


def best_rate_mbps(
    data_mb: float | FloatArray,
    delay_s: ArrayLike,
    alpha: float,
    min_rate_mbps: float,
    max_rate_mbps: float,
) -> FloatArray:
    """x̂ of eq. (24) for each target, Mbps: clip(√(α o / D̂_u), x_min, x_max).

    The terms of f' that depend on x are α o / x + D̂ x; their sum is convex for x > 0, with its
    minimum at √(α o / D̂). Without queues on the path (D̂ = 0) nothing speaks against x_max.
    NaN where ``delay_s`` is NaN.
    """
    delay = np.asarray(delay_s, dtype=np.float64)
    # A picosecond instead of nothing: no division by 0, and NaN stays NaN.
    free = np.sqrt(alpha * data_mb / np.maximum(delay, 1e-12)) * BITS_PER_BYTE
    clipped = np.minimum(np.maximum(free, min_rate_mbps), max_rate_mbps)
    return np.where(delay <= 0.0, max_rate_mbps, clipped)


@dataclass(frozen=True, slots=True)
class Estimates:
    """What an agent believes about its targets; shape (targets,) each, NaN where it knows nothing.

    Attributes:
        processing_s: P̂_u, waiting and service of *this* task at the unit, s.
        delay_s: D̂_u, queueing on the links of the path, s (0 for itself).
    """

    processing_s: FloatArray
    delay_s: FloatArray


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """The solution of (22)-(24): the chosen target, and x̂ (Mbps) and f'_u of every target."""

    target: int
    rates_mbps: FloatArray
    values: FloatArray

    @property
    def rate_mbps(self) -> float:
        """x̂ of the chosen target, Mbps."""
        return float(self.rates_mbps[self.target])


def penalised_cost(
    profile: DeviceProfile,
    task: TaskView,
    estimates: Estimates,
    rates_mbps: FloatArray,
    *,
    congestion_price: bool = True,
) -> FloatArray:
    """f'_u of eq. (22): α (P̂_u + o/x + D̂_u) + β R_u s + D̂_u x, for given rates.

    A task that stays on its device crosses no link, so it has neither o/x nor D̂. The last term is
    the price of the drift, D̂ in s times x in MB/s; without it (``congestion_price=False``) an agent
    is greedy.
    """
    remote = np.array([kind != "self" for kind in profile.kinds])
    rate_mb_s = np.asarray(rates_mbps, dtype=np.float64) / BITS_PER_BYTE
    sending = np.where(remote, task.data_mb / rate_mb_s + estimates.delay_s, 0.0)
    cost = task_cost(
        estimates.processing_s + sending,
        np.asarray(profile.prices),
        task.work_ghz_s,
        profile.alpha,
        profile.beta,
    )
    if not congestion_price:
        return cost
    return np.asarray(cost + np.where(remote, estimates.delay_s * rate_mb_s, 0.0))


def best_known(values: FloatArray) -> int:
    """Index of the smallest value that is not NaN; the first of equals; 0 if all are NaN."""
    known = np.where(np.isnan(values), np.inf, values)
    return int(np.argmin(known))


def solve(
    profile: DeviceProfile, task: TaskView, estimates: Estimates, *, congestion_price: bool = True
) -> ClosedForm:
    """ŵ and x̂ of eqs. (22)-(24): the best rate of each target, then the best target.

    Without the congestion price nothing rewards a low rate, so x̂ = x_max everywhere.
    """
    if congestion_price:
        rates = best_rate_mbps(
            task.data_mb,
            estimates.delay_s,
            profile.alpha,
            profile.min_rate_mbps,
            profile.max_rate_mbps,
        )
    else:
        rates = np.full(len(profile.targets), profile.max_rate_mbps)
    values = penalised_cost(profile, task, estimates, rates, congestion_price=congestion_price)
    target = best_known(values)
    # An unknown path has no best rate, but a decision needs a number.
    rates = np.where(np.isnan(rates), profile.max_rate_mbps, rates)
    return ClosedForm(target, rates, values)

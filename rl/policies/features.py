"""What a learned policy is fed: the observation as numbers of order one.

NumPy only, for devices run it; training calls the same functions with leading axes for many
decisions at once. Everything is made from ``model.observation``: nothing hidden can get in here.

Per agent and slot there is a row for the recurrent trunk, per decision and candidate target a row
for the head. The columns from ``AUGMENTED`` on are the paper's D_i(t)-augmentation: what the
estimated stochastic optimisation, eqs. (22)-(24), makes of the observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.aliases import Float32Array, FloatArray
from model.cost import best_rate_mbps
from model.observation import DeviceProfile, Observation
from model.rates import BITS_PER_BYTE
from rl.policies.estimate import DelayEstimator, seconds_per_work

GROUPS = ("self", "peer", "own edge", "other edge", "cloud")
"""Kinds of targets as a policy tells them apart."""
CANDIDATE_COLUMNS = (
    *(f"is {group}" for group in GROUPS),
    "own tasks under way", "own work under way", "own data under way",
    "D by ping", "ping age", "delivery excess", "delivery age",
    "processing", "wait", "processing age", "processing age, slow", "results",
    "work", "data", "no data", "own Q/F", "own F",
    "D", "P", "transfer", "f'", "f' above the least",
)  # fmt: skip
AUGMENTED = CANDIDATE_COLUMNS.index("D")
AGENT_COLUMNS = (
    "own Q/F", "own F", "own F/F max", "own tasks under way", "own data under way",
    *(f"{what} of {group}" for what in ("D", "ping age", "wait", "processing age", "tasks")
      for group in GROUPS[1:]),
)  # fmt: skip

_UNKNOWN_WAIT_S = 0.3
_PING_FADE_S, _FADE_S, _SLOW_FADE_S = 5.0, 10.0, 60.0


def groups_of(profile: DeviceProfile) -> NDArray[np.int64]:
    """Index into ``GROUPS`` of each target, (targets,)."""
    code = {"self": 0, "device": 1, "edge": 3, "cloud": 4}
    groups = np.array([code[kind] for kind in profile.kinds])
    groups[profile.own_edge] = 2
    return groups


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of K decisions, or of one (no K then); float32, as networks take them.

    Attributes:
        exists: which targets there are, (K, targets).
        features: (K, targets, columns).
        cost: f'_u of eq. (22) at its best rate, s, (K, targets).
        delay_s: D̂_u, s, (K, targets).
        toll_s: D̂_u x̂_u, the part of f'_u that is the links' price, s, (K, targets).
        rate_mbps: x̂_u, Mbps, (K, targets).
    """

    exists: NDArray[np.bool_]
    features: Float32Array
    cost: Float32Array
    delay_s: Float32Array
    toll_s: Float32Array
    rate_mbps: Float32Array


class FeatureMaker:
    """Makes the features of one device, or of many whose targets are padded to the same number.

    Args:
        profiles: the devices; they share the scenario's rates and weights.
        targets: the number of targets that rows are padded to; default: the largest of any device.
    """

    def __init__(self, profiles: Sequence[DeviceProfile], targets: int | None = None):
        size = targets or max(len(p.targets) for p in profiles)
        shape = (len(profiles), size)
        self.exists = np.zeros(shape, dtype=np.bool_)
        self._one_hot = np.zeros((*shape, len(GROUPS)))
        self._slowness, self._fees = np.ones(shape), np.zeros(shape)
        for d, profile in enumerate(profiles):
            n = len(profile.targets)
            self.exists[d, :n] = True
            self._one_hot[d, np.arange(n), groups_of(profile)] = 1.0
            self._slowness[d, :n] = seconds_per_work(profile.kinds)
            self._fees[d, :n] = profile.beta * np.asarray(profile.prices)
        self._max_ghz = np.array([[p.max_ghz] for p in profiles])
        self._profile = profiles[0]
        count = self._one_hot[..., 1:].sum(axis=-2)
        self._mean_weights = self._one_hot[..., 1:] / np.maximum(count, 1.0)[..., None, :]

    def candidates(
        self,
        devices: NDArray[np.int64] | int,
        seen: Observation,
        work: FloatArray | float,
        data: FloatArray | float,
    ) -> Candidates:
        """Features of decisions, or of one.

        Args:
            devices: whose they are, (K,), or the one device.
            seen: what they see: scalars have shape (K, 1), arrays (K, targets); or as it is.
            work: s_i, GHz·s, (K, 1), or a number.
            data: o_i, MB, (K, 1), or a number.
        """
        profile, slowness = self._profile, self._slowness[devices]
        estimator = DelayEstimator(
            slowness, profile.max_rate_mbps, memory_s=_FADE_S, unknown_wait_s=_UNKNOWN_WAIT_S
        )
        wait, delay = estimator.wait_s(seen), estimator.network_s(seen)
        processing = estimator.processing_s(seen, work, wait_s=wait)
        rate = best_rate_mbps(
            data, delay, profile.alpha, profile.min_rate_mbps, profile.max_rate_mbps
        )
        rate_mb_s = rate / BITS_PER_BYTE
        transfer = data / rate_mb_s
        transfer[..., 0] = 0.0
        toll = delay * rate_mb_s
        cost = profile.alpha * (processing + transfer + delay) + self._fees[devices] * work + toll
        exists = self.exists[devices]
        least = np.where(exists, cost, np.inf).min(axis=-1, keepdims=True)
        features = np.zeros((*cost.shape, len(CANDIDATE_COLUMNS)), dtype=np.float32)
        logs = features[..., len(GROUPS) : -1]
        _observed(logs, seen, wait, profile.max_rate_mbps)
        k = CANDIDATE_COLUMNS.index("work") - len(GROUPS)
        logs[..., k], logs[..., k + 1], logs[..., k + 2] = work / 4.0, data, data == 0.0
        logs[..., k + 3], logs[..., k + 4] = seen.queue_ghz_s / seen.ghz, seen.ghz / 10.0
        logs[..., k + 5], logs[..., k + 6] = delay, processing
        logs[..., k + 7], logs[..., k + 8] = transfer, cost
        features[..., -1] = np.minimum(cost - least, 20.0)
        _compress(features)
        features[..., : len(GROUPS)] = self._one_hot[devices]
        return Candidates(exists, features, *(_float32(x) for x in (cost, delay, toll, rate)))

    def agents(self, devices: NDArray[np.int64] | int, seen: Observation) -> Float32Array:
        """Rows of the trunk, (K, columns), or the row of one; arguments as of ``candidates``."""
        estimator = DelayEstimator(
            self._slowness[devices], self._profile.max_rate_mbps, memory_s=_FADE_S
        )
        per_target = np.stack(
            [
                seen.network_delay_s,
                np.exp(-seen.rtt_age_s / _PING_FADE_S),
                estimator.wait_s(seen),
                np.exp(-seen.processing_age_s / _FADE_S),
                seen.inflight_tasks,
            ],
            axis=-2,
        )
        means = per_target @ self._mean_weights[devices]
        data = seen.inflight_data_mb
        own = (
            seen.queue_ghz_s / seen.ghz,
            seen.ghz / 10.0,
            seen.ghz / self._max_ghz[devices],
            seen.inflight_tasks.sum(axis=-1, keepdims=True),
            data.sum(axis=-1, keepdims=True) - data[..., :1],
        )
        rows = np.empty((*data.shape[:-1], len(AGENT_COLUMNS)))
        for k, column in enumerate(own):
            rows[..., k : k + 1] = column
        rows[..., len(own) :] = means.reshape(*means.shape[:-2], -1)
        np.log1p(rows, out=rows)
        return rows.astype(np.float32)


def _observed(out: Float32Array, seen: Observation, wait_s: FloatArray, rate_mbps: float) -> None:
    """Fill the columns that are the observation itself, from "own tasks under way" on."""
    excess = seen.delivery_s - seen.delivery_data_mb * (BITS_PER_BYTE / rate_mbps)
    columns = (
        seen.inflight_tasks,
        seen.inflight_work_ghz_s / 4.0,
        seen.inflight_data_mb,
        seen.network_delay_s,
        np.exp(seen.rtt_age_s * (-1.0 / _PING_FADE_S)),
        np.fmax(excess, 0.0),
        np.exp(seen.delivery_age_s * (-1.0 / _FADE_S)),
        np.fmax(seen.processing_s, 0.0),
        wait_s,
        np.exp(seen.processing_age_s * (-1.0 / _FADE_S)),
        np.exp(seen.processing_age_s * (-1.0 / _SLOW_FADE_S)),
        seen.results / 10.0,
    )
    for k, column in enumerate(columns):
        out[..., k] = column


def _compress(features: Float32Array) -> None:
    """log(1 + x) in place: all columns are at least 0, some span decades."""
    np.maximum(features, 0.0, out=features)
    features += 1.0  # log1p is exact near 0, where it does not matter, and several times slower
    np.log(features, out=features)


def _float32(x: FloatArray) -> Float32Array:
    return x.astype(np.float32)


def observation_of(view: FloatArray, own: FloatArray, time_s: float) -> Observation:
    """Many devices' observations at once from the simulator's arrays.

    Args:
        view: (K, 13, targets), rows as ``Observation`` from ``inflight_tasks`` on.
        own: Q and F, (K, 2).
        time_s: now, of no meaning where environments are at different times.
    """
    own = np.asarray(own)
    scalars = own[:, :1], own[:, 1:]
    return Observation(time_s, scalars[0], scalars[1], *view.transpose(1, 0, 2))  # type: ignore[arg-type]

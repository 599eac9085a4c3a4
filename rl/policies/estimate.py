"""Estimated delays from a device's own experience, for targets whose status is hidden.

The paper's case 2: Q_u and F_u of other units are unknown. What a device does know is how long its
own latest task took there and how long ago that was. The estimate reads a wait out of it, lets the
wait fade with age, and adds the work that the device itself has under way.

Everything works for one device, arrays of shape (targets,), and for many at once: leading axes are
kept, and what an observation holds per device then has shape (..., 1).
"""

from __future__ import annotations

import numpy as np

from model.aliases import FloatArray
from model.observation import DeviceProfile, Observation, TargetKind

PEER_GHZ, EDGE_GHZ, CLOUD_GHZ = 5.0, 30.0, 200.0
"""Speeds expected of units whose F_u is hidden, GHz."""


def seconds_per_work(kinds: tuple[TargetKind, ...]) -> FloatArray:
    """Expected 1 / F_u of each target, s per GHz·s; 1 for the device itself, whose F is known."""
    speed = {"self": 1.0, "device": PEER_GHZ, "edge": EDGE_GHZ, "cloud": CLOUD_GHZ}
    return np.array([1.0 / speed[k] for k in kinds])


class DelayEstimator:
    """Estimates waiting + service at every target, and the way there.

    Args:
        slowness: expected s per GHz·s of each target, shape (..., targets): ``seconds_per_work``.
        max_rate_mbps: the full rate, Mbps.
        memory_s: time constant with which an experienced wait is forgotten, s.
        unknown_wait_s: wait assumed where nothing was experienced yet, or long ago, s.
    """

    def __init__(
        self,
        slowness: FloatArray,
        max_rate_mbps: float,
        *,
        memory_s: float = 10.0,
        unknown_wait_s: float = 0.0,
    ):
        self._seconds_per_work = slowness
        self._memory_s = memory_s
        self._unknown_wait_s = unknown_wait_s
        self._s_per_mb = 8.0 / max_rate_mbps

    @classmethod
    def of(
        cls, profile: DeviceProfile, *, memory_s: float = 10.0, unknown_wait_s: float = 0.0
    ) -> DelayEstimator:
        """The estimator of one device."""
        return cls(
            seconds_per_work(profile.kinds),
            profile.max_rate_mbps,
            memory_s=memory_s,
            unknown_wait_s=unknown_wait_s,
        )

    def wait_s(self, observation: Observation) -> FloatArray:
        """Waiting that a task would meet behind others' tasks, s; of no meaning for itself."""
        served = observation.processing_work_ghz_s * self._seconds_per_work
        # fmax and the ages take care of what was never seen: NaN - … with infinite age is weight 0.
        wait = np.fmax(observation.processing_s - served, 0.0)
        weight = np.exp(observation.processing_age_s * (-1.0 / self._memory_s))
        faded: FloatArray = self._unknown_wait_s + weight * (wait - self._unknown_wait_s)
        return faded

    def processing_s(
        self,
        observation: Observation,
        work_ghz_s: float | FloatArray,
        *,
        wait_s: FloatArray | None = None,
    ) -> FloatArray:
        """P̂_u: estimated waiting + service of a task of this work, s, shape (..., targets).

        ``wait_s``: what ``wait_s(observation)`` is, where that is known already.
        """
        wait = self.wait_s(observation) if wait_s is None else wait_s
        own_work = observation.inflight_work_ghz_s + work_ghz_s
        estimate = wait + own_work * self._seconds_per_work
        estimate[..., :1] = (observation.queue_ghz_s + work_ghz_s) / observation.ghz
        if observation.status_queue_ghz_s is not None and observation.status_ghz is not None:
            known = (observation.status_queue_ghz_s + work_ghz_s) / observation.status_ghz
            # Over a network no status is known before the first slot has ended.
            estimate = np.where(np.isfinite(known), known, estimate)
        return estimate

    def network_s(self, observation: Observation) -> FloatArray:
        """D̂_u: the pings' excess, but at least what the device itself still has to send, s."""
        data = observation.inflight_data_mb
        remote_mb = data.sum(axis=-1, keepdims=True) - data[..., :1]
        delay: FloatArray = np.maximum(observation.network_delay_s, remote_mb * self._s_per_mb)
        delay[..., 0] = 0.0
        return delay

    def total_s(self, observation: Observation, work_ghz_s: float, data_mb: float) -> FloatArray:
        """Ê_u at full rate: transfer + network + waiting + service, s, shape (targets,)."""
        total = self.processing_s(observation, work_ghz_s)
        total[1:] += self.network_s(observation)[1:] + data_mb * self._s_per_mb
        return total

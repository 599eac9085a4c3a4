"""Estimated delays from a device's own experience, for targets whose status is hidden.

The paper's case 2: Q_u and F_u of other units are unknown. What a device does know is how long its
own latest task took there and how long ago that was. The estimate reads a wait out of it, lets the
wait fade with age, and adds the work that the device itself has under way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.observation import DeviceProfile, Observation

FloatArray = NDArray[np.float64]


class DelayEstimator:
    """Estimates waiting + service at every target, and the way there.

    Args:
        profile: the device's profile.
        edge_ghz, peer_ghz, cloud_ghz: speeds expected of units whose F_u is hidden, GHz.
        memory_s: time constant with which an experienced wait is forgotten, s.
        unknown_wait_s: wait assumed where nothing was experienced yet, or long ago, s.
    """

    def __init__(
        self,
        profile: DeviceProfile,
        *,
        edge_ghz: float = 30.0,
        peer_ghz: float = 5.0,
        cloud_ghz: float = 200.0,
        memory_s: float = 10.0,
        unknown_wait_s: float = 0.0,
    ):
        speed = {"self": 1.0, "device": peer_ghz, "edge": edge_ghz, "cloud": cloud_ghz}
        self._seconds_per_work = np.array([1.0 / speed[k] for k in profile.kinds])
        self._memory_s = memory_s
        self._unknown_wait_s = unknown_wait_s
        self._s_per_mb = 8.0 / profile.max_rate_mbps

    def processing_s(self, observation: Observation, work_ghz_s: float) -> FloatArray:
        """P̂_u: estimated waiting + service of a task of this work, s, shape (targets,)."""
        if observation.status_queue_ghz_s is not None and observation.status_ghz is not None:
            known: FloatArray = (
                observation.status_queue_ghz_s + work_ghz_s
            ) / observation.status_ghz
            return known
        slowness = self._seconds_per_work
        served = observation.processing_work_ghz_s * slowness
        # fmax and the ages take care of what was never seen: NaN - … with infinite age is weight 0.
        wait = np.fmax(observation.processing_s - served, 0.0)
        weight = np.exp(observation.processing_age_s * (-1.0 / self._memory_s))
        wait = self._unknown_wait_s + weight * (wait - self._unknown_wait_s)
        estimate: FloatArray = wait + (observation.inflight_work_ghz_s + work_ghz_s) * slowness
        estimate[0] = (observation.queue_ghz_s + work_ghz_s) / observation.ghz
        return estimate

    def network_s(self, observation: Observation) -> FloatArray:
        """D̂_u: the pings' excess, but at least what the device itself still has to send, s."""
        remote_mb = observation.inflight_data_mb.sum() - observation.inflight_data_mb[0]
        delay: FloatArray = np.maximum(
            observation.network_delay_s, float(remote_mb) * self._s_per_mb
        )
        delay[0] = 0.0
        return delay

    def total_s(self, observation: Observation, work_ghz_s: float, data_mb: float) -> FloatArray:
        """Ê_u at full rate: transfer + network + waiting + service, s, shape (targets,)."""
        total = self.processing_s(observation, work_ghz_s)
        total[1:] += self.network_s(observation)[1:] + data_mb * self._s_per_mb
        return total

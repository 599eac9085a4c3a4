"""Stay until the own queue is long; then leave for what seems best."""

from __future__ import annotations

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy
from rl.policies.estimate import DelayEstimator


class Threshold(Policy):
    """Local while (Q + s)/F stays below a threshold, else the smallest estimated delay.

    Args:
        local_s: own delay up to which a task stays, s.
        edge_s: estimated delay at the own edge up to which a task that leaves goes there, s.
        memory_s: time constant with which experienced waits are forgotten, s.
    """

    def __init__(self, *, local_s: float = 2.0, edge_s: float = 1.0, memory_s: float = 10.0):
        self.local_s = local_s
        self.edge_s = edge_s
        self.memory_s = memory_s

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Forget everything."""
        super().reset(profile, rng)
        self.estimator = DelayEstimator.of(profile, memory_s=self.memory_s)

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Own device, own edge, or whatever is estimated to be fastest."""
        rate = self.profile.max_rate_mbps
        if (observation.queue_ghz_s + task.work_ghz_s) / observation.ghz <= self.local_s:
            return Decision(0, rate)
        delay = self.estimator.total_s(observation, task.work_ghz_s, task.data_mb)
        if delay[self.profile.own_edge] <= self.edge_s:
            return Decision(self.profile.own_edge, rate)
        return Decision(int(delay.argmin()), rate)

"""Power of two choices: look at two random targets, take the better one."""

from __future__ import annotations

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy
from rl.policies.estimate import DelayEstimator


class PowerOfTwo(Policy):
    """The smaller estimated delay of ``choices`` distinct targets drawn at random.

    Args:
        choices: how many targets are compared.
        memory_s: time constant with which experienced waits are forgotten, s.
    """

    def __init__(self, *, choices: int = 2, memory_s: float = 10.0):
        self.choices = choices
        self.memory_s = memory_s

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Forget everything."""
        super().reset(profile, rng)
        self.estimator = DelayEstimator.of(profile, memory_s=self.memory_s)

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Compare estimated delays at full rate."""
        delay = self.estimator.total_s(observation, task.work_ghz_s, task.data_mb)
        count = min(self.choices, len(delay))
        drawn = np.argsort(self.rng.random(len(delay)))[:count]
        target = int(drawn[np.argmin(delay[drawn])])
        return Decision(target, self.profile.max_rate_mbps)

"""Soft minimum of estimated delays with a bias in favour of the device itself."""

from __future__ import annotations

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy
from rl.policies.estimate import DelayEstimator


class SelfBiased(Policy):
    """Samples a target with probability ∝ exp(-Ê_u / temperature), Ê plus a bias if remote.

    The bias is the price of what an offloaded task adds to others' waiting; the sampling keeps
    devices that saw the same delays from all choosing the same target.

    Args:
        bias_s: added to the estimated delay of every other unit, s.
        peer_bias_s: added to that of other devices on top, s.
        scale: multiplies the estimated delay of other units.
        temperature_s: of the soft minimum, s; 0 takes the minimum.
        memory_s: time constant with which experienced waits are forgotten, s.
        unknown_wait_s: wait assumed where nothing was experienced yet, or long ago, s.
    """

    def __init__(
        self,
        *,
        bias_s: float = 0.25,
        peer_bias_s: float = 2.0,
        scale: float = 1.5,
        temperature_s: float = 0.05,
        memory_s: float = 10.0,
        unknown_wait_s: float = 0.3,
    ):
        self.bias_s = bias_s
        self.peer_bias_s = peer_bias_s
        self.scale = scale
        self.temperature_s = temperature_s
        self.memory_s = memory_s
        self.unknown_wait_s = unknown_wait_s

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Forget everything."""
        super().reset(profile, rng)
        self.estimator = DelayEstimator.of(
            profile, memory_s=self.memory_s, unknown_wait_s=self.unknown_wait_s
        )
        is_peer = np.array([kind == "device" for kind in profile.kinds])
        self.bias = self.bias_s + self.peer_bias_s * is_peer
        self.bias[0] = 0.0

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Sample by Gumbel noise: the argmin of Ê - temperature · Gumbel is the soft minimum."""
        delay = self.estimator.total_s(observation, task.work_ghz_s, task.data_mb)
        delay[1:] *= self.scale
        delay += self.bias
        if self.temperature_s > 0.0:
            delay -= self.temperature_s * self.rng.gumbel(size=len(delay))
        return Decision(int(delay.argmin()), self.profile.max_rate_mbps)

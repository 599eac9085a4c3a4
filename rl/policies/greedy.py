"""The closed form of the estimated stochastic optimisation, eqs. (22)-(24), taken greedily."""

from __future__ import annotations

import numpy as np

from model.cost import ClosedForm, Estimates, solve
from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy
from rl.policies.estimate import DelayEstimator


class Greedy(Policy):
    """argmin_u f'_u = α(P̂_u + o/x̂ + D̂_u) + β R_u s + D̂_u x̂, ``docs/model.md`` 7.

    Args:
        price: with the price D̂ x of the links, and hence x̂ = √(α o / D̂); else at full rate.
        memory_s: time constant with which experienced waits are forgotten, s.
    """

    def __init__(self, *, price: bool = True, memory_s: float = 30.0):
        self.price = price
        self.memory_s = memory_s

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Forget everything."""
        super().reset(profile, rng)
        self.estimator = DelayEstimator.of(profile, memory_s=self.memory_s)

    def solve(self, observation: Observation, task: TaskView) -> ClosedForm:
        """x̂_u and f'_u of every target."""
        processing = self.estimator.processing_s(observation, task.work_ghz_s)
        estimates = Estimates(processing, observation.network_delay_s)
        return solve(self.profile, task, estimates, congestion_price=self.price)

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """The smallest f'_u; ties go to the earlier target."""
        best = self.solve(observation, task)
        return Decision(best.target, best.rate_mbps)

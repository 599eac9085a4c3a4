"""Any target at any rate: the paper's random baseline."""

from __future__ import annotations

from model.observation import Decision, Observation, TaskView
from rl.policies.base import Policy


class Random(Policy):
    """Uniform over the targets and over the discrete rates."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Draw both."""
        target = int(self.rng.integers(len(self.profile.targets)))
        rate = self.profile.rates_mbps[int(self.rng.integers(len(self.profile.rates_mbps)))]
        return Decision(target, rate)

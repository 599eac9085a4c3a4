"""Every task stays on its device."""

from __future__ import annotations

from model.observation import Decision, Observation, TaskView
from rl.policies.base import Policy


class Local(Policy):
    """Never offloads."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Target 0 is the device itself."""
        return Decision(0, self.profile.max_rate_mbps)

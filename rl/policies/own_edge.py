"""Every task goes to the edge server of the device's own cell."""

from __future__ import annotations

from model.observation import Decision, Observation, TaskView
from rl.policies.base import Policy


class OwnEdge(Policy):
    """Classical edge computing, without the crowd."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """The own edge at full rate."""
        return Decision(self.profile.own_edge, self.profile.max_rate_mbps)

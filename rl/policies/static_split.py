"""A fixed split between the kinds of targets, whatever happens."""

from __future__ import annotations

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy


class StaticSplit(Policy):
    """Draws each task's target from fixed shares; within a kind all targets are alike.

    Args:
        own, peers, own_edge, other_edges, cloud: weights of the kinds (they need not sum to 1);
            kinds without a target are left out.
    """

    def __init__(
        self,
        *,
        own: float = 0.5,
        peers: float = 0.05,
        own_edge: float = 0.3,
        other_edges: float = 0.15,
        cloud: float = 0.0,
    ):
        self.shares = {
            "self": own,
            "device": peers,
            "own": own_edge,
            "edge": other_edges,
            "cloud": cloud,
        }

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Spread the shares over the targets."""
        super().reset(profile, rng)
        kinds = [str(k) for k in profile.kinds]
        kinds[profile.own_edge] = "own"
        weights = np.array([self.shares[k] / kinds.count(k) for k in kinds])
        if not weights.sum() > 0.0:
            weights[0] = 1.0
        self.cumulative = np.cumsum(weights / weights.sum())

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Draw a target."""
        drawn = int(np.searchsorted(self.cumulative, self.rng.random(), side="right"))
        target = min(drawn, len(self.cumulative) - 1)
        return Decision(target, self.profile.max_rate_mbps)

"""Policies that misbehave, as a user's own might by mistake."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from model.observation import Decision, Observation, TaskView
from rl.policies.base import Policy

_CHUNK_BYTES = 64 * 1024 * 1024
_FIRST_GOOD = 2


class _ToTheEdge(Policy):
    """Everything to the own edge; good for two decisions, then ``misbehave``."""

    def __init__(self) -> None:
        self.decisions = 0

    def misbehave(self) -> Decision:
        """What comes instead of a decision."""
        raise NotImplementedError

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """To the edge, or worse."""
        self.decisions += 1
        if self.decisions > _FIRST_GOOD:
            return self.misbehave()
        return Decision(self.profile.own_edge, self.profile.max_rate_mbps)


class Raises(_ToTheEdge):
    """Has a bug."""

    def misbehave(self) -> Decision:
        """Divide by nothing."""
        return Decision(1 // 0, 1.0)


class Garbage(_ToTheEdge):
    """Decides on nonsense."""

    def misbehave(self) -> Decision:
        """No target, no rate."""
        return Decision(10**9, float("nan"))


class Hangs(_ToTheEdge):
    """Never decides."""

    def misbehave(self) -> Decision:
        """Compute for ever."""
        while True:
            time.sleep(1.0)


class Leaks(_ToTheEdge):
    """Keeps everything."""

    def misbehave(self) -> Decision:
        """Take memory until there is none; none of it is touched, so that nobody else lacks it."""
        self.kept: list[NDArray[np.uint8]] = []
        while True:
            self.kept.append(np.empty(_CHUNK_BYTES, dtype=np.uint8))

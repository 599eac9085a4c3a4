"""Policies that misbehave, for checks of sweeps.

A policy sees neither files nor other processes. What it sees of the test is the time, and limits
that its process inherits.
"""

from __future__ import annotations

import resource
import time

from model.observation import Decision, Observation, TaskView
from rl.policies.base import Policy

REAL_TIME_US = 987_654_321
"""A limit that nothing here comes near: of a real-time process's time without a system call."""


class Slow(Policy):
    """Takes its time until a moment, in seconds of ``time.time()``; none later."""

    def __init__(self, until_s: float = 0.0) -> None:
        self.until_s = until_s

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        time.sleep(max(0.0, self.until_s - time.time()))
        return Decision(0, self.profile.max_rate_mbps)


class Broken(Policy):
    """Raises in a process that has inherited ``REAL_TIME_US`` as a limit."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        if resource.getrlimit(resource.RLIMIT_RTTIME)[0] == REAL_TIME_US:
            raise ZeroDivisionError("no\nidea")
        return Decision(0, self.profile.max_rate_mbps)

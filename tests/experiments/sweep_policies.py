"""Policies that misbehave, for checks of sweeps.

A policy sees neither files nor other processes. What it sees of the test is signals to its process,
and limits that this inherits.
"""

from __future__ import annotations

import resource
import signal
import time

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies.base import Policy

REAL_TIME_US = 987_654_321
"""A limit that nothing here comes near: of a real-time process's time without a system call."""
LONGEST_S = 120.0
"""After so long without a signal, ``Slow`` raises."""


class Slow(Policy):
    """Takes its time until its process gets SIGCONT (``tests.commands.released``)."""

    def __init__(self) -> None:
        self._waits = True

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        super().reset(profile, rng)
        signal.signal(signal.SIGCONT, self._go)

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        end = time.monotonic() + LONGEST_S
        while self._waits:
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.02)
        return Decision(0, self.profile.max_rate_mbps)

    def _go(self, *_: object) -> None:
        self._waits = False


class Broken(Policy):
    """Raises in a process that has inherited ``REAL_TIME_US`` as a limit."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        if resource.getrlimit(resource.RLIMIT_RTTIME)[0] == REAL_TIME_US:
            raise ZeroDivisionError("no\nidea")
        return Decision(0, self.profile.max_rate_mbps)

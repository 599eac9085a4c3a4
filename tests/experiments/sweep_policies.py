"""Policies that misbehave, for checks of sweeps."""

from __future__ import annotations

import os
import time
from pathlib import Path

from model.observation import Decision, Observation, TaskView
from rl.policies.base import Policy


class Slow(Policy):
    """Says where it runs, then takes its time, once in a run; afterwards as `own edge`."""

    def __init__(self, note: str = "", seconds: float = 0.0) -> None:
        self.note, self.seconds = note, seconds

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        if self.note and not Path(self.note).exists():
            Path(self.note).write_text(str(os.getpid()))
            time.sleep(self.seconds)
        return Decision(0, self.profile.max_rate_mbps)


class Broken(Policy):
    """Raises as long as a file is not there."""

    def __init__(self, until: str = "") -> None:
        self.until = until

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        if not Path(self.until).exists():
            raise ZeroDivisionError("no\nidea")
        return Decision(0, self.profile.max_rate_mbps)

"""Policies that misbehave, for checks of sweeps.

A parameter that names a file stands for its content, so these are given folders.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from model.observation import Decision, Observation, TaskView
from rl.policies.base import Policy


class Slow(Policy):
    """Says in ``folder/pid`` where it runs and then takes its time, for whoever comes first."""

    def __init__(self, folder: str = "", seconds: float = 0.0) -> None:
        self.folder, self.seconds = folder, seconds

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        note = Path(self.folder) / "pid"
        if not note.exists():
            note.write_text(str(os.getpid()))
            time.sleep(self.seconds)
        return Decision(0, self.profile.max_rate_mbps)


class Broken(Policy):
    """Raises as long as ``folder/mended`` is not there."""

    def __init__(self, folder: str = "") -> None:
        self.folder = folder

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        if not (Path(self.folder) / "mended").exists():
            raise ZeroDivisionError("no\nidea")
        return Decision(0, self.profile.max_rate_mbps)

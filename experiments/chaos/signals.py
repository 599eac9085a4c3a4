"""Signals to a run's processes, by pid."""

from __future__ import annotations

import os
import signal

from experiments.chaos.fault import Scene


def send(scene: Scene, name: str, number: signal.Signals) -> None:
    """Send a signal to one of the run's processes, named as ``Running.pid`` has it."""
    os.kill(scene.running.pid(name), number)

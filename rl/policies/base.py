"""The policy protocol: ``observation -> (target, rate)``, the same in both worlds.

A policy is created once per device and lives there; it keeps what memory it wants, but it is given
nothing beyond ``model.observation.Observation``. Devices import this package: no torch here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from model.observation import Decision, DeviceProfile, Observation, TaskView

Needs = Literal["observation", "state", "truth"]
"""What a policy must be given: its observation only; the operator's state S = {Q, V, F}, gathered
once per slot; or the truth of the very moment, which only a simulator has."""


class Policy:
    """Base of all policies; a policy of your own overrides ``decide``.

    Parameters of a policy are keyword arguments of its constructor with defaults; the constructor
    must not do more than keep them.
    """

    needs: ClassVar[Needs] = "observation"

    def reset(self, profile: DeviceProfile, rng: np.random.Generator) -> None:
        """Start of a run on a device. ``rng`` is the only randomness a policy may use."""
        self.profile = profile
        self.rng = rng

    def begin_slot(self, observation: Observation) -> None:
        """Once per slot, before the slot's tasks: recurrent policies advance their state here."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """Where a task goes and at what rate; called when the task is born."""
        raise NotImplementedError

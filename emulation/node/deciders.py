"""What decides for a device: one protocol, behind which a policy, or a caller outside, may sit."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Protocol

from emulation.protocol.briefing import Agent
from model.observation import Decision, Observation, TaskView
from rl.policies.calls import decision_of, policy_of
from rl.policies.checking import PolicyError, raised

Complain = Callable[[str], None]
"""Takes what a policy did wrong; it costs no task."""


See = Callable[[], Observation]
"""What the device sees now."""
Placing = Callable[[Decision | PolicyError], None]
"""Takes the decision for a task, or why there is none."""


class Decider(Protocol):
    """Decides where tasks go.

    Attributes:
        decision_ns: how long each decision took, ns.
        undecided: tasks whose decision did not come in time, so that they stay on the device.
    """

    decision_ns: array[int]
    undecided: int

    def await_ready(self) -> None:
        """Wait until it can decide. Raises ``UserError`` with the reason if it cannot."""

    def show(self, boundary: int, seen: See) -> None:
        """A slot boundary, the last one included."""

    def begin_slot(self, slot: int, seen: See) -> None:
        """The start of a slot, before its tasks."""

    def ask(self, task_id: int, task: TaskView, seen: See, place: Placing) -> None:
        """Have a task placed, now or later."""


class InProcess:
    """A policy of the lab, in the device's own process."""

    def __init__(self, agent: Agent, complain: Complain):
        """Make it and reset it. Raises ``UserError`` if it cannot decide for a device."""
        self._policy = policy_of(agent.policy, agent.params, agent.profile, agent.policy_key)
        self._profile, self._complain = agent.profile, complain
        self.decision_ns = array("q")
        self.undecided = 0

    def await_ready(self) -> None:
        """It can."""

    def show(self, boundary: int, seen: See) -> None:
        """A policy decides at births."""

    def begin_slot(self, slot: int, seen: See) -> None:
        """Call the policy's ``begin_slot``."""
        try:
            self._policy.begin_slot(seen())
        except Exception as error:  # noqa: BLE001 - its fault, not the device's
            self._complain(str(raised("begin_slot", error)))

    def ask(self, task_id: int, task: TaskView, seen: See, place: Placing) -> None:
        """Call the policy's ``decide``."""
        observation = seen()
        begin = time.perf_counter_ns()
        try:
            answer: Decision | PolicyError = decision_of(
                self._policy, self._profile, observation, task
            )
            self.decision_ns.append(time.perf_counter_ns() - begin)
        except PolicyError as error:
            answer = error
        place(answer)

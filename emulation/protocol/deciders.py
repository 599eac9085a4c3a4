"""What decides for a device: one protocol, behind which a policy, or a caller outside, may sit."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping
from typing import Protocol

from emulation.protocol.briefing import Agent, generator
from model.errors import UserError
from model.observation import Decision, DeviceProfile, Observation, TaskView
from rl.policies import Value, create
from rl.policies.base import Policy
from rl.policies.checking import PolicyError, checked, raised

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


def policy_of(
    name: str, params: Mapping[str, Value], profile: DeviceProfile, key: tuple[int, ...]
) -> Policy:
    """A policy, made and reset. ``key`` is of its random stream.

    Raises ``UserError`` if it cannot decide for a device.
    """
    policy = create(name, params)
    if policy.needs != "observation":
        raise UserError(
            f"policy '{name}' needs the {policy.needs} of the whole system, "
            "which no device has; it runs in the simulator only"
        )
    try:
        policy.reset(profile, generator(key))
    except Exception as error:
        raise UserError(f"policy: {raised('reset', error)}") from error
    return policy


def decision_of(
    policy: Policy, profile: DeviceProfile, seen: Observation, task: TaskView
) -> Decision:
    """A legal decision. Raises ``PolicyError`` for what a policy raises or decides otherwise."""
    try:
        found = policy.decide(seen, task)
    except Exception as error:
        raise raised("decide", error) from error
    return checked(found, profile)


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

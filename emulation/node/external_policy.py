"""Decisions that come from outside a device, once per slot, instead of from a policy inside.

What the device sees goes to the orchestrator at the start of a slot, as a report like any other,
and back come the decisions on this device's tasks of the slot. Tasks that are born before they have
come wait for them; that is part of their delay.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping

import numpy as np

from emulation.node.deciders import Placing, See
from emulation.node.event_loop import Clock, Loop
from emulation.protocol.messages import Record, Seen
from model.observation import Decision, DeviceProfile, TaskView
from rl.environment.encoding import table
from rl.policies.checking import checked

PATIENCE = 0.3
"""Share of a slot after which a task no longer waits for a decision, but stays where it was born:
the own device is always there, and sends nothing that others would have to wait for."""
_DIGITS = 6


class ExternalPolicy:
    """Asks for decisions and hands them on.

    Attributes:
        undecided: tasks that were not decided in time.
        decision_ns: nothing; the caller's time is its own.
    """

    def __init__(
        self, loop: Loop, clock: Clock, profile: DeviceProfile, report: Callable[[Record], None]
    ):
        self._loop, self._clock, self._report = loop, clock, report
        self._profile, self._slot_s = profile, profile.slot_s
        self._fallback = Decision(0, profile.max_rate_mbps)
        self._slot = -1
        self._settled = False
        self._decisions: Mapping[int, Decision] = {}
        self._waiting: list[tuple[int, Placing]] = []
        self.undecided = 0
        self.decision_ns = array("q")

    def await_ready(self) -> None:
        """Decisions come once they are needed."""

    def show(self, boundary: int, seen: See) -> None:
        """Report what the device sees at a slot boundary."""
        now = seen()
        numbers = np.round(table(now).astype(np.float64), _DIGITS).ravel().tolist()
        self._report(Seen(boundary, now.queue_ghz_s, now.ghz, numbers))

    def begin_slot(self, slot: int, seen: See) -> None:
        """Wait for the decisions of a slot."""
        self._slot, self._settled, self._decisions = slot, False, {}
        due = self._clock.real((slot + PATIENCE) * self._slot_s)
        self._loop.at(due, self.receive, slot, {})

    def ask(self, task_id: int, task: TaskView, seen: See, place: Placing) -> None:
        """Have a task of this slot placed, now or when its decision has come."""
        self._waiting.append((task_id, place))
        if self._settled:
            self._place_waiting()

    def receive(self, slot: int, tasks: Mapping[str, tuple[int, float]]) -> None:
        """Take the decisions of a slot, ``{task id: [target, rate in Mbps]}``, or its deadline.

        What comes first counts. Raises ``PolicyError`` for an illegal decision.
        """
        decisions = {
            int(task): checked(Decision(int(target), rate), self._profile)
            for task, (target, rate) in tasks.items()
        }
        if slot == self._slot and not self._settled:
            self._settled, self._decisions = True, decisions
            self._place_waiting()

    def _place_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for task, place in waiting:
            self.undecided += task not in self._decisions
            place(self._decisions.get(task, self._fallback))

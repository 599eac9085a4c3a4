"""A device: its tasks are born, its policy decides, its tasks go where they are sent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from emulation.node.deciders import Decider
from emulation.node.event_loop import Clock, Loop
from emulation.node.observations import Memory
from emulation.node.ping import Pinger
from emulation.node.task_sender import Order, Transfers
from emulation.node.task_server import Unit
from emulation.node.transcoding.content import load
from emulation.node.work import Outcome
from emulation.protocol.briefing import Agent, payload_bytes
from emulation.protocol.link_limits import PINGS
from emulation.protocol.messages import (
    POLICY_FAULT,
    Born,
    Dispatched,
    Failed,
    Known,
    Log,
    Ping,
    Record,
    Replaced,
)
from model.observation import Decision, DeviceProfile, Observation, TaskView
from model.probing import pinged
from rl.policies.checking import PolicyError

_MAX_COMPLAINTS = 20

Report = Callable[[Record], None]


@dataclass(slots=True)
class _Task:
    """A task that was decided on and has not ended."""

    target: int
    work_ghz_s: float
    data_mb: float
    dispatched_s: float = math.nan


class Device:
    """The agent of a device: everything but the decisions.

    Attributes:
        decider: where decisions come from.
        transfers: its connections to other units.
        lost_pings: pings without a reply.
    """

    def __init__(  # noqa: PLR0913 - what it works with
        self,
        loop: Loop,
        clock: Clock,
        agent: Agent,
        unit: Unit,
        report: Report,
        pinger: Pinger,
        *,
        make_decider: Callable[[Device], Decider],
        make_transfers: Callable[[Device], Transfers],
    ):
        self._loop, self._clock, self._agent = loop, clock, agent
        self._profile, self._unit, self._report = agent.profile, unit, report
        self.memory = Memory(agent.profile.targets, status=agent.status)
        self._tasks: dict[int, _Task] = {}
        self._complaints = 0
        self._ended = False
        self._next = 0
        self.lost_pings = 0
        self._pinger = pinger
        # Both report to the device, so it makes them.
        self.decider, self.transfers = make_decider(self), make_transfers(self)

    def start(self) -> None:
        """The clock runs: wait for the first task."""
        self._wait_for_task()

    def end(self) -> None:
        """No more births, pings or results."""
        self._ended = True

    def show(self, boundary: int) -> None:
        """At a slot boundary, the last one included."""
        self.decider.show(boundary, self._observe)

    def begin_slot(self, slot: int) -> None:
        """Start of a slot: the policy's turn, then this slot's pings, spread over the slot."""
        self.decider.begin_slot(slot, self._observe)
        due = pinged(self._profile, self._agent.probes, slot)
        slot_s = self._profile.slot_s
        for k, target in enumerate(due):
            # Each device has a phase of its own, so that their pings do not meet in the queues.
            at = (slot + (self._agent.ping_phase + k / len(due)) % 1.0) * slot_s
            self._loop.at(self._clock.real(at), self._ping, target)

    def baseline(self, done: Callable[[dict[str, float], list[str]], None]) -> None:
        """Ping every target a few times and open a connection to it; before the start.

        ``done`` gets the smallest round trip of each, scenario s, and who did not answer.
        """
        measurement = _Baseline(
            self._loop,
            self._profile,
            self.transfers,
            self._ping_target,
            (self._agent.first_gap_s, self._agent.first_limit_s),
        )
        measurement.begin(
            self._agent.ping_phase, lambda rtt, broken: self._baseline_done(rtt, broken, done)
        )

    # What becomes of tasks that were sent (``emulation.node.task_sender.Listener``).

    def dispatched(self, order: Order) -> None:
        """An attempt begins."""
        now = self._clock.now()
        self._tasks[order.task].dispatched_s = now
        self._report(Dispatched(order.task, order.attempt, now))

    def arrived(self, order: Order) -> None:
        """The unit has the task; its report of that goes to the orchestrator by itself."""
        task, arrived_s = self._tasks[order.task], order.arrived_s or 0.0
        delivery_s = max(0.0, arrived_s - task.dispatched_s)
        self.memory.delivered(task.target, self._clock.now(), delivery_s, task.data_mb)

    def result(self, order: Order, processing_s: float, result: bytes) -> None:
        """The result is known."""
        self._known(order.task, processing_s)

    def unserved(self, order: Order, reason: str) -> None:
        """The unit could not make a result."""
        self._unserved(order.task, reason)

    def failed(self, order: Order, reason: str) -> None:
        """All attempts failed."""
        task, now = self._tasks.pop(order.task), self._clock.now()
        undelivered = task.data_mb if order.arrived_s is None else 0.0
        self.memory.failed(task.target, task.work_ghz_s, undelivered)
        self._report(Failed(order.task, now, f"transfer: {reason}"))

    def _known(self, task_id: int, processing_s: float) -> None:
        if self._ended:
            return
        task, now = self._tasks.pop(task_id), self._clock.now()
        self.memory.known(task.target, now, processing_s, task.work_ghz_s)
        self._report(Known(task_id, now))

    def _unserved(self, task_id: int, reason: str) -> None:
        if self._ended:
            return
        task = self._tasks.pop(task_id)
        self.memory.failed(task.target, task.work_ghz_s, 0.0)
        self._report(Failed(task_id, self._clock.now(), reason))

    def _observe(self) -> Observation:
        now, work = self._clock.now(), self._unit.work
        return self.memory.observe(now, work.queue_ghz_s(now), work.frequency.at(now))

    def _wait_for_task(self) -> None:
        tasks = self._agent.tasks
        if self._next < len(tasks.ids):
            born = tasks.born_s[self._next]
            self._next += 1
            self._loop.at(self._clock.real(born), self._born, self._next - 1)

    def _born(self, position: int) -> None:
        if self._ended:
            return
        self._wait_for_task()
        tasks = self._agent.tasks
        task = TaskView(tasks.work_ghz_s[position], tasks.data_mb[position])
        place = partial(self._place, position)
        self.decider.ask(tasks.ids[position], task, self._observe, place)

    def _place(self, position: int, decision: Decision | PolicyError) -> None:
        """Carry a decision out."""
        if self._ended:
            return
        tasks, now = self._agent.tasks, self._clock.now()
        task_id, work = tasks.ids[position], tasks.work_ghz_s[position]
        data = tasks.data_mb[position]
        if isinstance(decision, PolicyError):
            self._report(Failed(task_id, now, f"{POLICY_FAULT}{decision}"))
            return
        name = self._profile.targets[decision.target]
        self._report(Born(task_id, name, decision.rate_mbps, now))
        self._tasks[task_id] = _Task(decision.target, work, data)
        self.memory.sent(decision.target, work, data)
        content = self._content(position)
        if decision.target == 0:
            self._report(Dispatched(task_id, 1, now))
            self._unit.local(work, task_id, content or b"", partial(self._served_here, task_id))
            return
        size = payload_bytes(data, self._clock.speedup) if content is None else len(content)
        index, rate = self._agent.index, decision.rate_mbps
        self.transfers.send(Order(name, index, task_id, size, work, rate, payload=content))

    def _content(self, position: int) -> bytes | None:
        """What a task is about; None where only its size matters."""
        folder, clip = self._agent.content, self._agent.tasks.clip[position]
        return load(folder, clip) if folder else None

    def _served_here(self, task_id: int, processing_s: float, outcome: Outcome) -> None:
        if outcome.error:
            self._unserved(task_id, outcome.error)
        else:
            self._known(task_id, processing_s)

    def _ping(self, target: int) -> None:
        if self._ended:
            return
        sent = self._clock.now()
        name = self._profile.targets[target]

        def replied(rtt_real_s: float | None) -> None:
            if rtt_real_s is None:
                self.lost_pings += 1
                self._report(Ping(name, sent, None))
                return
            rtt = rtt_real_s * self._clock.speedup
            self.memory.pinged(target, self._clock.now(), rtt)
            self._report(Ping(name, sent, rtt))

        self._ping_target(target, replied)

    def _ping_target(self, target: int, replied: Callable[[float | None], None]) -> None:
        self._pinger.send(self.transfers.addresses[self._profile.targets[target]], replied)

    def _baseline_done(
        self,
        rtt_real_s: dict[int, float],
        broken: list[str],
        done: Callable[[dict[str, float], list[str]], None],
    ) -> None:
        rtt_s = {k: v * self._clock.speedup for k, v in rtt_real_s.items()}
        for target, value in rtt_s.items():
            self.memory.idle(target, value)
        done({self._profile.targets[k]: v for k, v in rtt_s.items()}, broken)

    def complain(self, text: str) -> None:
        """Log what the policy did wrong, up to some lines."""
        self._complaints += 1
        if self._complaints <= _MAX_COMPLAINTS:
            self._report(Log("error", self._clock.now(), f"policy: {text}"))

    def printed(self, text: str) -> None:
        """Log a line that the policy has printed."""
        self._report(Log("info", self._clock.now(), f"policy prints: {text}"))

    def replaced(self, why: str) -> None:
        """The policy decides no more."""
        self._report(Replaced(self._clock.now(), why))

    def decision_latency_s(self, percent: float) -> float | None:
        """Percentile of the time a decision took, real s; None if there was none."""
        if not self.decider.decision_ns:
            return None
        return float(np.percentile(np.asarray(self.decider.decision_ns), percent)) * 1e-9


class _Baseline:
    """The measurements before the start: one thing at a time, so that they measure idle paths."""

    def __init__(
        self,
        loop: Loop,
        profile: DeviceProfile,
        transfers: Transfers,
        ping: Callable[[int, Callable[[float | None], None]], None],
        gap_and_limit_s: tuple[float, float],
    ):
        self._gap_s, self._limit_s = gap_and_limit_s
        self._loop, self._names = loop, profile.targets
        self.transfers, self._ping = transfers, ping
        self._rtt: dict[int, float] = {}
        self._unopened = set(range(1, len(self._names)))
        self._ended = False
        self._left = 0

    def begin(self, phase: float, done: Callable[[dict[int, float], list[str]], None]) -> None:
        self._done = done
        remote = range(1, len(self._names))
        pings: list[Callable[[int], None]] = [self._ping_once for _ in range(PINGS)]
        steps = [*pings, self._open]
        self._left = len(steps) * len(remote)
        begin = time.monotonic() + phase * self._gap_s
        turns = [(step, target) for step in steps for target in remote]
        for k, (step, target) in enumerate(turns):
            self._loop.at(begin + k * self._gap_s, step, target)
        if not self._left:
            self._end()
        self._loop.at(begin + len(turns) * self._gap_s + self._limit_s, self._end)

    def _ping_once(self, target: int) -> None:
        def replied(rtt: float | None) -> None:
            if rtt is not None:
                self._rtt[target] = min(rtt, self._rtt.get(target, math.inf))
            self._one_less()

        self._ping(target, replied)

    def _open(self, target: int) -> None:
        def opened(error: str | None) -> None:
            if error is None:
                self._unopened.discard(target)
            self._one_less()

        self.transfers.open(self._names[target], opened)

    def _one_less(self) -> None:
        self._left -= 1
        if not self._left:
            self._end()

    def _end(self) -> None:
        """All is answered, or it is time to say what is not."""
        if self._ended:
            return
        self._ended = True
        silent = [k for k in range(1, len(self._names)) if k not in self._rtt]
        broken = sorted({*silent, *self._unopened})
        self._done(self._rtt, [self._names[k] for k in broken])

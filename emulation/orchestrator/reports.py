"""What nodes report, entered into the records: decoded, checked, counted. No sockets, no clock.

Runs in the orchestrator, as root. It covers every record that a node sends
(``emulation.protocol.messages``) and which nodes are lost. It does not cover how lines come from
nodes (``json_channel``), nor what the controller measures (``conductor``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from emulation.orchestrator.external_steps import Onlooker
from emulation.orchestrator.incidents import Incidents
from emulation.orchestrator.recorder import Recorder
from emulation.orchestrator.target_status import Row
from emulation.protocol.messages import (
    POLICY_FAULT,
    Arrived,
    Baseline,
    Born,
    Bye,
    Dispatched,
    Failed,
    Fatal,
    Known,
    Log,
    Ping,
    Ready,
    Record,
    Replaced,
    Seen,
    Service,
    Slot,
    TaskRecord,
    Transcoded,
    from_list,
)
from model.errors import LabError, RunError, UserError


class Processes(Protocol):
    """What ends processes of a run (``emulation.orchestrator.deployment``)."""

    def end_node(self, name: str) -> None:
        """End the process that carries a node."""

    def end_policy(self, device: str) -> str | None:
        """End the process of a device's policy; returns how it had ended before, if so."""


class Run(NamedTuple):
    """What of a run its reports are checked against: how many slots, and whose policy decides."""

    slots: int
    policy: str


class Reports:
    """Receives the records of all nodes.

    Attributes:
        baseline: of each node that has measured its idle paths, the targets without an answer.
        refused: of each node with reports that cannot be: how many ``records``, and why the
            ``first`` was left out.
        farewells: what each node reported of itself at the end.
        lost: of each node that did not come to an orderly end, why.
        fatal: what ends the run, once there is something.
        started: whether the first slot has begun: from then on a node that fails ends alone.
    """

    def __init__(
        self,
        run: Run,
        recorder: Recorder,
        onlooker: Onlooker,
        incidents: Incidents,
        processes: Processes,
    ):
        self._run, self._recorder, self._onlooker = run, recorder, onlooker
        self._incidents, self._processes = incidents, processes
        self._units: dict[int, list[Row]] = {}
        self._boundaries: dict[str, int] = {}
        self._unreported: Counter[str] = Counter()
        self.baseline: dict[str, list[str]] = {}
        self.refused: dict[str, dict[str, int | str]] = {}
        self.farewells: dict[str, dict[str, Any]] = {}
        self.lost: dict[str, str] = {}
        self.fatal: LabError | None = None
        self.started = False

    def receive(self, name: str, value: Any) -> None:
        """Enter a report of a node; one that cannot be is left out and counted."""
        try:
            self._enter(name, from_list(value))
        except ValueError as error:
            found = self.refused.setdefault(name, {"records": 0, "first": str(error)})
            found["records"] = int(found["records"]) + 1

    def units_at(self, boundary: int) -> list[Row]:
        """Queue, capacity and load of the units that have reported a slot's end; given once."""
        return self._units.pop(boundary, [])

    def begin_again(self, name: str, first: int) -> None:
        """A node was started again, and reports from boundary ``first`` on."""
        self.lost.pop(name, None)
        self._boundaries[name] = first - 1

    def fail(self, name: str, text: str) -> None:
        """A node cannot go on: before the start this ends the run, and later that node alone."""
        if name in self.lost:
            return
        self.lose(name, text)
        if not self.started:
            self.fatal = RunError(f"{name}: {text}")

    def lose(self, name: str, text: str) -> None:
        """A node is gone: its end is an incident."""
        self.lost[name] = text
        self._incidents.add(name, f"{name} {text}")

    def note_what_is_missing(self, nodes: Iterable[str]) -> None:
        """What was refused, or left out by a node that lived to the end, is an incident."""
        for name, found in self.refused.items():
            text = f"{found['records']} records refused; the first one {found['first']}"
            self._incidents.add(name, f"{name}: {text}")
        for name in nodes:
            left = self._run.slots - self._boundaries.get(name, -1)
            # Slots have one boundary more than there are slots.
            missing = min(self._unreported[name] + left, self._run.slots)
            if missing and name not in self.lost:
                self._incidents.add(name, f"{name} has not reported {missing} slots")

    def _enter(self, name: str, record: Record) -> None:
        match record:
            case Slot() as slot:
                self._slot(name, slot)
            case Ping() as ping:
                self._recorder.ping(name, *ping)
            case Born() | Dispatched() | Arrived() | Service() | Known() | Failed() as task:
                self._recorder.book.receive(task)
                self._require_legal(name, task)
                self._onlooker.heard(task)
            case Seen() as seen:
                self._onlooker.seen(name, seen)
            case Transcoded() as done:
                self._transcoded(name, done)
            case Baseline(rtt_s, unreachable):
                self._recorder.log("baseline", {"node": name, "idle_rtt_s": rtt_s})
                self.baseline[name] = unreachable
            case Ready() | Log() | Replaced() | Bye() | Fatal() as said:
                self._of_itself(name, said)

    def _slot(self, name: str, slot: Slot) -> None:
        """A node's slots follow one another; each is written as it comes."""
        boundary, lateness_s, queue_ghz_s, ghz, busy_share = slot
        last = self._boundaries.get(name, -1)
        if not last < boundary <= self._run.slots:
            raise ValueError(f"reports boundary {boundary} after {last}")
        self._unreported[name] += boundary - last - 1
        self._boundaries[name] = boundary
        self._recorder.late(max(0, boundary - 1), name, lateness_s)
        self._onlooker.unit(name, boundary, queue_ghz_s, ghz)
        if busy_share is not None:
            self._recorder.unit(boundary - 1, name, queue_ghz_s, ghz, busy_share)
            row = (name, queue_ghz_s, ghz, busy_share)
            self._units.setdefault(boundary, []).append(row)

    def _transcoded(self, name: str, done: Transcoded) -> None:
        """A task is about one clip, and no other."""
        trace = self._recorder.book.trace
        if not 0 <= done.task < len(trace) or not 0 <= done.clip == trace.clip[done.task]:
            raise ValueError(f"has transcoded clip {done.clip} for task {done.task}")
        self._recorder.transcoded(name, done)

    def _of_itself(self, name: str, said: Ready | Log | Replaced | Bye | Fatal) -> None:
        match said:
            case Ready(pid, policy):
                self._recorder.log("node ready", {"node": name, "pid": pid, "policy": policy})
            case Log(level, at_s, text):
                fields = {"level": level, "node": name, "at_s": at_s, "text": text}
                self._recorder.log("node", fields)
            case Replaced(_, why):
                how = self._processes.end_policy(name)
                why = f"{why} ({how})" if how else why
                self._incidents.add(name, f"{name}'s policy decides no more: {why}")
            case Bye(counters):
                self.farewells[name] = counters
            case Fatal(text):
                self.fail(name, text)
                if self.started:
                    self._processes.end_node(name)

    def _require_legal(self, name: str, record: TaskRecord) -> None:
        """End the run if a policy raised or decided on what is illegal, as the simulator does."""
        if isinstance(record, Failed) and record.reason.startswith(POLICY_FAULT):
            fault = record.reason.removeprefix(POLICY_FAULT)
            who = f"policy {self._run.policy} on {name}"
            self.fatal = self.fatal or UserError(f"{who}: {fault}")

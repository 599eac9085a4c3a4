"""Conducts a run that is up: from the first answer of the controller to the last slot."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from emulation.orchestrator.deployment import Machinery
from emulation.orchestrator.external_steps import Onlooker
from emulation.orchestrator.incidents import Incidents
from emulation.orchestrator.network_events import NetworkChanges
from emulation.orchestrator.progress import View
from emulation.orchestrator.recorder import Recorder
from emulation.orchestrator.supervisor import Guard
from emulation.orchestrator.target_status import Row, status_orders
from emulation.orchestrator.usage import Monitor
from emulation.protocol.json_channel import Channel
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
from model.errors import UserError
from model.text import safe_line

_BASELINE_TIMEOUT_S = 30.0
_LEAD_S = 0.4
"""From the order to start until t = 0: enough for every process to have read it."""
_LOOK_S = 0.1
"""Real time between two looks at the queues: fine enough to compare each ping with them; a look
costs the controller about a millisecond."""
_REPORTS_GRACE = 0.3
"""Share of a slot after its end by which all reports of it should have come."""
_STOP_TIMEOUT_S = 5.0
_END_REPORT_S = 1.0
"""How much later than a node's channel closes its end may be reported."""


class _StoppedError(Exception):
    """Somebody has asked to stop before the first slot."""


class Conductor:
    """Receives every report and keeps the slots.

    Attributes:
        complete: whether every slot was run.
        farewells: what each node process said of itself at the end.
        lost: of each node that did not come to an orderly end, why.
        incidents: what happened that the scenario does not say.
        refused: of each node with reports that cannot be: how many ``records``, and why the
            ``first`` was left out.
    """

    def __init__(
        self, machinery: Machinery, recorder: Recorder, view: View, onlooker: Onlooker | None = None
    ):
        self._machinery, self._recorder, self._view = machinery, recorder, view
        self._onlooker = onlooker or Onlooker()
        self._options = machinery.options
        self._slot_real_s = self._options.scenario.slot_s / self._options.speedup
        self._stop_asked = asyncio.Event()
        self._baseline: dict[str, list[str]] = {}
        self._units: dict[int, list[tuple[str, float, float, float]]] = {}
        self._listeners: dict[str, asyncio.Task[None]] = {}
        self._boundaries: dict[str, int] = {}
        self._closed: dict[str, float] = {}
        self._unreported: Counter[str] = Counter()
        self.refused: dict[str, dict[str, int | str]] = {}
        self.farewells: dict[str, dict[str, Any]] = {}
        self.lost: dict[str, str] = {}
        self.complete = False
        self._started = False
        self._begin = 0.0
        self._fatal: UserError | None = None
        self.incidents = Incidents(recorder.log, view.note)
        self._changes = NetworkChanges(machinery, recorder, self.incidents)
        self._resumed = False
        self._devices = {d.name for d in machinery.network.devices}

    def ask_to_stop(self) -> None:
        """End in order at the next opportunity."""
        self._stop_asked.set()

    async def run(self) -> None:
        """Run all slots, or until asked to stop (then it is not ``complete``).

        Raises ``UserError`` or ``EmulationError`` if a part of the run did not come up or broke.
        """
        self._listen()
        watching = asyncio.create_task(self._onlooker.watch(self.ask_to_stop))
        try:
            await self._check_paths()
            await self._slots()
            await self._stop()
            self._check_policy()
            self._onlooker.ended()
            if self.complete:
                self._tell_what_is_missing()
        except _StoppedError:
            return
        finally:
            watching.cancel()
            for task in self._listeners.values():
                task.cancel()

    def _tell_what_is_missing(self) -> None:
        """What was refused, or left out by a node that lived to the end, is an incident."""
        for name, found in self.refused.items():
            text = f"{found['records']} records refused; the first one {found['first']}"
            self.incidents.add(name, f"{name}: {text}")
        for name in self._machinery.nodes:
            left = self._options.scenario.slots - self._boundaries.get(name, -1)
            missing = self._unreported[name] + left
            if missing and name not in self.lost:
                self.incidents.add(name, f"{name} has not reported {missing} slots")

    def _listen(self) -> None:
        self._listen_to("controller")
        for name in self._machinery.nodes:
            self._listen_to(name)

    def _listen_to(self, name: str) -> None:
        """Listen to a process, instead of to one of that name before."""
        if name in self._listeners:
            self._listeners[name].cancel()
        if name == "controller":
            listening = self._machinery.controller.listen(self._from_controller)
        else:
            listening = self._hear(self._machinery.nodes[name])
        self._listeners[name] = asyncio.create_task(listening)

    async def _hear(self, node: Channel) -> None:
        """Listen to a node, until it says what no node of ours would: then it is cut off."""
        try:
            await node.listen(self._from_node)
        except (ValueError, OverflowError) as error:
            self._cut_off(node, str(error))

    def _cut_off(self, node: Channel, why: str) -> None:
        self._fail(node.name, f"cut off: {safe_line(why, 300)}")
        node.close()
        self._machinery.end_node(node.name)

    def _from_controller(self, _: str, event: dict[str, Any]) -> None:
        match event["event"]:
            case "links":
                self._links(event["slot"], event["links"], event["virtual_backlog_bytes"])
            case "queues":
                time_s = (event["sampled_at"] - self._begin) * self._options.speedup
                self._recorder.queues(time_s, event["links"])
            case "ports":
                if event["slot"] > 0:
                    self._recorder.ports(event["slot"] - 1, event["switch"], event["ports"])
            case "switch" | "link" | "rerouted" | "installed":
                self._recorder.log(event["event"], event)
                if self._started:
                    self._changes.heard(event)
            case "listening":
                self._measure_again()

    def _links(self, boundary: int, samples: list[Any], virtual: list[float]) -> None:
        self._onlooker.links(boundary, samples, self._recorder.rates)
        self._recorder.links(boundary - 1, samples, virtual)
        if self._resumed:
            self._resumed = False
            self._changes.seen({name for name, *_, up in samples if up})

    def _came_back(self, name: str) -> None:
        """A process was started again: it is told where the run stands, once it can listen."""
        if name == "controller":
            self._recorder.count_links_anew()
            self._listen_to(name)
        elif name in self._machinery.nodes:
            self.lost.pop(name, None)
            self._listen_to(name)
            first = self._next_boundary()
            self._boundaries[name] = first - 1
            order = {"cmd": "start", "t0": self._begin, "first": first}
            self._machinery.nodes[name].send(order)

    def _next_boundary(self) -> int:
        """The first slot boundary that whoever begins now can be in time for."""
        return max(0, int((time.monotonic() - self._begin) / self._slot_real_s) + 1)

    def _measure_again(self) -> None:
        """A controller that was started again listens: it is told what it has missed."""
        self._changes.tell_rates()
        self._resumed = True
        self._start_looks(self._next_boundary())

    async def _until(self, what: str, condition: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._machinery.check_alive()
            self._check_listeners()
            if time.monotonic() > deadline:
                raise UserError(f"waited {timeout_s:g} s in vain for {what}")
            if self._stop_asked.is_set():
                raise _StoppedError
            await asyncio.sleep(0.005)

    def _from_node(self, name: str, value: Any) -> None:
        """Enter a report; one that cannot be is left out and counted."""
        try:
            self._enter(name, from_list(value))
        except ValueError as error:
            found = self.refused.setdefault(name, {"records": 0, "first": str(error)})
            found["records"] = int(found["records"]) + 1

    def _enter(self, name: str, record: Record) -> None:
        recorder = self._recorder
        match record:
            case Slot() as slot:
                self._slot(name, slot)
            case Ping() as ping:
                self._ping(name, ping)
            case Born() | Dispatched() | Arrived() | Service() | Known() | Failed() as record:
                recorder.book.receive(record)
                self._require_legal(name, record)
                self._onlooker.heard(record)
            case Transcoded() | Seen() as told:
                self._told(name, told)
            case Baseline(rtt_s, unreachable):
                recorder.log("baseline", {"node": name, "idle_rtt_s": rtt_s})
                self._baseline[name] = unreachable
            case Ready() | Log() | Replaced() | Bye() | Fatal() as said:
                self._said(name, said)

    def _told(self, name: str, told: Transcoded | Seen) -> None:
        """What a node says of its own work or view; a task is about one clip, and no other."""
        if isinstance(told, Seen):
            self._onlooker.seen(name, told)
            return
        trace = self._recorder.book.trace
        if not 0 <= told.task < len(trace) or not 0 <= told.clip == trace.clip[told.task]:
            raise ValueError(f"has transcoded clip {told.clip} for task {told.task}")
        self._recorder.transcoded(name, told)

    def _said(self, name: str, said: Ready | Log | Replaced | Bye | Fatal) -> None:
        match said:
            case Ready(pid, policy):
                self._recorder.log("node ready", {"node": name, "pid": pid, "policy": policy})
            case Log(level, at_s, text):
                fields = {"level": level, "node": name, "at_s": at_s, "text": text}
                self._recorder.log("node", fields)
            case Replaced(_, why):
                how = self._machinery.end_policy(name)
                why = f"{why} ({how})" if how else why
                self.incidents.add(name, f"{name}'s policy decides no more: {why}")
            case Bye(counters):
                self.farewells[name] = counters
            case Fatal(text):
                self._fail(name, text)
                if self._started:
                    self._machinery.end_node(name)

    def _ping(self, name: str, ping: Ping) -> None:
        self._recorder.ping(name, *ping)

    def _slot(self, name: str, slot: Slot) -> None:
        """A node's slots follow one another; what it says of them is written as it comes."""
        boundary, lateness_s, queue_ghz_s, ghz, busy_share = slot
        last = self._boundaries.get(name, -1)
        if not last < boundary <= self._options.scenario.slots:
            raise ValueError(f"reports boundary {boundary} after {last}")
        self._unreported[name] += boundary - last - 1
        self._boundaries[name] = boundary
        self._recorder.late(max(0, boundary - 1), name, lateness_s)
        self._onlooker.unit(name, boundary, queue_ghz_s, ghz)
        if busy_share is not None:
            self._recorder.unit(boundary - 1, name, queue_ghz_s, ghz, busy_share)
            row = (name, queue_ghz_s, ghz, busy_share)
            self._units.setdefault(boundary, []).append(row)

    def _fail(self, name: str, text: str) -> None:
        """A node cannot go on: before the start this ends the run, and later that node alone."""
        if name in self.lost:
            return
        self._lose(name, text)
        if not self._started:
            self._fatal = UserError(f"{name}: {text}")

    def _require_legal(self, name: str, record: TaskRecord) -> None:
        """End the run if a policy raised or decided on what is illegal, as the simulator does."""
        if isinstance(record, Failed) and record.reason.startswith(POLICY_FAULT):
            fault = record.reason.removeprefix(POLICY_FAULT)
            who = f"policy {self._options.policy} on {name}"
            self._fatal = self._fatal or UserError(f"{who}: {fault}")

    def _check_policy(self) -> None:
        """Raise what the last reports said of the policy, which no slot's end has seen."""
        if self._fatal is not None:
            self.complete = False
            raise self._fatal

    def _lose(self, name: str, text: str) -> None:
        self.lost[name] = text
        self.incidents.add(name, f"{name} {text}")

    def _check_listeners(self, *beside: asyncio.Task[None]) -> None:
        """Raise what went wrong with a node, a listener, or what runs ``beside`` them."""
        if self._fatal is not None:
            raise self._fatal
        for task in beside:
            if task.done():
                task.result()
        for name, task in self._listeners.items():
            if task.done() and name not in self.lost:
                error = task.exception()
                if error is not None:
                    raise error
                # Others that have gone are the guard's affair.
                if name in self._devices:
                    self._lose_closed(name)

    def _lose_closed(self, name: str) -> None:
        """Give up a device whose channel closed, once its end is reported or that is overdue."""
        since = self._closed.setdefault(name, time.monotonic())
        how = self._machinery.how_ended(name)
        if how is not None or time.monotonic() - since > _END_REPORT_S:
            self._lose(name, how or "closed its channel")

    async def _check_paths(self) -> None:
        """Every node pings every target: the idle round trips, and the proof that paths work."""
        self._view.phase("measuring idle round trips")
        nodes = self._machinery.nodes
        for channel in nodes.values():
            channel.send({"cmd": "baseline"})
        await self._until(
            "the nodes' first pings",
            lambda: len(self._baseline) == len(nodes),
            _BASELINE_TIMEOUT_S + self._machinery.first_exchanges_s,
        )
        broken = {name: targets for name, targets in self._baseline.items() if targets}
        if broken:
            name, targets = next(iter(broken.items()))
            raise UserError(f"no answer on the way from {name} to {', '.join(targets)}")

    async def _slots(self) -> None:
        slots, speedup = self._options.scenario.slots, self._options.speedup
        self._started = True
        self._machinery.begin()
        self._begin = begin = time.monotonic() + _LEAD_S
        wall = time.time() + _LEAD_S
        for channel in self._machinery.nodes.values():
            channel.send({"cmd": "start", "t0": begin})
        self._onlooker.begin(begin)
        self.incidents.begin(begin, speedup, self._options.scenario.duration_s)
        self._changes.begin(begin)
        monitor = self._monitor()
        self._start_looks(0)
        guard = Guard(self._machinery, self.incidents, self._came_back)
        # Each runs as long as the slots do, and what goes wrong with it ends the run.
        work = (self._changes.follow_scenario(), guard.watch())
        beside = [asyncio.create_task(one) for one in work]
        try:
            for slot in range(slots):
                end = begin + (slot + 1) * self._slot_real_s
                await self._sleep_until(end)
                self._recorder.late(slot, "orchestrator", max(0.0, time.monotonic() - end))
                if monitor is not None:
                    self._recorder.resources(slot, monitor.look())
                await self._sleep_until(end + _REPORTS_GRACE * self._slot_real_s)
                if self._stop_asked.is_set():
                    return
                self._check_listeners(*beside)
                units = self._units.pop(slot + 1, [])
                self._machinery.controller.send({"cmd": "units", "slot": slot + 1, "units": units})
                self._tell_status(units)
                left_s = (slots - slot - 1) * self._slot_real_s
                self._view.show(self._recorder.end_of_slot(slot, left_s))
            self.complete = True
        finally:
            for task in beside:
                task.cancel()
            elapsed = time.monotonic() - begin
            self._recorder.ran_s = elapsed * speedup
            self._recorder.clocks = {
                "begin_unix_s": wall,
                "monotonic_s": elapsed,
                "wall_s": time.time() - wall,
            }

    def _start_looks(self, first: int) -> None:
        """Have the controller look at the links from the end of slot ``first`` - 1 on."""
        slot_s, slots = self._slot_real_s, self._options.scenario.slots
        looks = max(1, round(slot_s / _LOOK_S))
        order = {"cmd": "start", "t0": self._begin, "slot_s": slot_s, "slots": slots}
        self._machinery.controller.send({**order, "first": first, "looks": looks})

    def _monitor(self) -> Monitor | None:
        """Where work is real, a look at what nodes use, now and at the end of each slot."""
        if self._options.scenario.compute.work == "timed":
            return None
        monitor = Monitor(self._machinery.pids)
        self._recorder.resources(-1, monitor.look())
        return monitor

    def _tell_status(self, units: list[Row]) -> None:
        """Where the scenario lets agents observe it: Q_u and F_u of their targets, no others'."""
        for name, order in status_orders(self._options.scenario, self._machinery.network, units):
            if name in self._machinery.nodes and name not in self.lost:
                self._machinery.nodes[name].send(order)

    async def _sleep_until(self, moment: float) -> None:
        """Sleep until a monotonic time, or until asked to stop."""
        left = moment - time.monotonic()
        if left > 0 and not self._stop_asked.is_set():
            try:
                await asyncio.wait_for(self._stop_asked.wait(), left)
            except TimeoutError:
                return

    async def _stop(self) -> None:
        """Let every process say farewell, so that nothing it has recorded is lost."""
        nodes = self._machinery.nodes
        for channel in (*nodes.values(), self._machinery.controller):
            channel.send({"cmd": "stop"})
        pending = [task for task in self._listeners.values() if not task.done()]
        if pending:
            await asyncio.wait(pending, timeout=_STOP_TIMEOUT_S)
        if self._closed.keys() - self.lost.keys():
            await asyncio.sleep(_END_REPORT_S)
        for name in nodes:
            if name not in self.farewells and name not in self.lost:
                hangs = "does not answer at the end"
                self._lose(name, self._machinery.how_ended(name) or hangs)

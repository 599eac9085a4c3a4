"""Conducts a run that is up: from the first answer of the controller to the last slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from emulation.orchestrator.deployment import Machinery
from emulation.orchestrator.external_steps import Onlooker
from emulation.orchestrator.incidents import Incidents
from emulation.orchestrator.network_events import NetworkChanges
from emulation.orchestrator.progress import View
from emulation.orchestrator.recorder import Recorder
from emulation.orchestrator.reports import Reports, Run
from emulation.orchestrator.slot_loop import SlotLoop
from emulation.orchestrator.supervisor import Guard
from emulation.orchestrator.target_status import Row, status_orders
from emulation.orchestrator.usage import Monitor
from emulation.protocol import orders
from emulation.protocol.json_channel import Channel
from model import controller_messages as messages
from model.errors import RunError
from model.text import safe_line

_BASELINE_TIMEOUT_S = 30.0
LEAD_S = 0.4
"""From the order to start until t = 0: enough for every process to have read it."""
_LOOK_S = 0.1
"""Real time between two looks at the queues: fine enough to compare each ping with them; a look
costs the controller about a millisecond."""
_STOP_TIMEOUT_S = 5.0
_END_REPORT_S = 1.0
"""How much later than a node's channel closes its end may be reported."""


class _StoppedError(Exception):
    """Somebody has asked to stop before the first slot."""


class Conductor:
    """Listens to every process, gives orders, and ends the run.

    Attributes:
        complete: whether every slot was run.
        incidents: what happened that the scenario does not say.
        reports: what nodes have reported.
    """

    def __init__(
        self, machinery: Machinery, recorder: Recorder, view: View, onlooker: Onlooker | None = None
    ):
        self._machinery, self._recorder, self._view = machinery, recorder, view
        self._onlooker = onlooker or Onlooker()
        self._options = machinery.options
        self._slot_real_s = self._options.scenario.slot_s / self._options.speedup
        self._loop = SlotLoop(self._options.scenario.slots, self._slot_real_s)
        self._listeners: dict[str, asyncio.Task[None]] = {}
        self._closed: dict[str, float] = {}
        self.complete = False
        self._begin = 0.0
        self.incidents = Incidents(recorder.log, view.note)
        run = Run(self._options.scenario.slots, self._options.policy)
        self.reports = Reports(run, recorder, self._onlooker, self.incidents, machinery)
        self._changes = NetworkChanges(machinery, recorder, self.incidents)
        self._resumed = False
        self._devices = {d.name for d in machinery.network.devices}

    def ask_to_stop(self) -> None:
        """End in order at the next opportunity."""
        self._loop.ask_to_stop()

    async def run(self) -> None:
        """Run all slots, or until asked to stop (then it is not ``complete``).

        Raises ``RunError`` if a part of the run did not come up or broke, ``UserError`` for what a
        policy did.
        """
        self._listen()
        watching = asyncio.create_task(self._onlooker.watch(self.ask_to_stop))
        try:
            await self._check_paths()
            await self._slots()
            await self._stop()
            if self.reports.fatal is not None:  # of a policy, after the last slot's end
                self.complete = False
                raise self.reports.fatal
            self._onlooker.ended()
            if self.complete:
                self.reports.note_what_is_missing(self._machinery.nodes)
        except _StoppedError:
            return
        finally:
            watching.cancel()
            for task in self._listeners.values():
                task.cancel()

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
            await node.listen(self.reports.receive)
        except (ValueError, OverflowError) as error:
            self._cut_off(node, str(error))

    def _cut_off(self, node: Channel, why: str) -> None:
        self.reports.fail(node.name, f"cut off: {safe_line(why, 300)}")
        node.close()
        self._machinery.end_node(node.name)

    def _from_controller(self, _: str, event: messages.Event) -> None:
        match event:
            case messages.LinksSampled(boundary, _, links, virtual):
                self._links(boundary, links, virtual)
            case messages.QueuesSampled(sampled_at, links):
                time_s = (sampled_at - self._begin) * self._options.speedup
                self._recorder.queues(time_s, links)
            case messages.PortsSampled(boundary, _, switch, ports):
                if boundary > 0:
                    self._recorder.ports(boundary - 1, switch, ports)
            case messages.Listening():
                self._measure_again()
            case _:
                self._recorder.log(messages.tag_of(event), messages.fields_of(event))
                if self.reports.started:
                    self._changes.heard(event)

    def _links(self, boundary: int, samples: list[messages.LinkSample], virtual: list[int]) -> None:
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
            self._listen_to(name)
            first = self._next_boundary()
            self.reports.begin_again(name, first)
            self._machinery.nodes[name].send(orders.Begin(self._begin, first))

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
                raise RunError(f"waited {timeout_s:g} s in vain for {what}")
            if self._loop.stop_asked:
                raise _StoppedError
            await asyncio.sleep(0.005)

    def _check_listeners(self, *beside: asyncio.Task[None]) -> None:
        """Raise what went wrong with a node, a listener, or what runs ``beside`` them."""
        if self.reports.fatal is not None:
            raise self.reports.fatal
        for task in beside:
            if task.done():
                task.result()
        for name, task in self._listeners.items():
            if task.done() and name not in self.reports.lost:
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
            self.reports.lose(name, how or "closed its channel")

    async def _check_paths(self) -> None:
        """Every node pings every target: the idle round trips, and the proof that paths work."""
        self._view.phase("measuring idle round trips")
        nodes = self._machinery.nodes
        for channel in nodes.values():
            channel.send(orders.MeasurePaths())
        await self._until(
            "the nodes' first pings",
            lambda: len(self.reports.baseline) == len(nodes),
            _BASELINE_TIMEOUT_S + self._machinery.first_exchanges_s,
        )
        broken = {name: targets for name, targets in self.reports.baseline.items() if targets}
        if broken:
            name, targets = next(iter(broken.items()))
            raise RunError(f"no answer on the way from {name} to {', '.join(targets)}")

    async def _slots(self) -> None:
        speedup = self._options.speedup
        self.reports.started = True
        self._machinery.begin()
        self._begin = begin = time.monotonic() + LEAD_S
        wall = time.time() + LEAD_S
        for channel in self._machinery.nodes.values():
            channel.send(orders.Begin(begin))
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
            self.complete = await self._loop.run(
                begin,
                lambda slot, late_s: self._end_slot(slot, late_s, monitor),
                lambda slot: self._after_reports(slot, beside),
            )
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

    def _end_slot(self, slot: int, late_s: float, monitor: Monitor | None) -> None:
        self._recorder.late(slot, "orchestrator", late_s)
        if monitor is not None:
            self._recorder.resources(slot, monitor.look())

    def _after_reports(self, slot: int, beside: Sequence[asyncio.Task[None]]) -> None:
        """A slot's reports have come: hand on what others wait for."""
        self._check_listeners(*beside)
        units = self.reports.units_at(slot + 1)
        self._machinery.controller.send(messages.UnitsReported(slot + 1, units))
        self._tell_status(units)
        left_s = (self._options.scenario.slots - slot - 1) * self._slot_real_s
        self._view.show(self._recorder.end_of_slot(slot, left_s))

    def _start_looks(self, first: int) -> None:
        """Have the controller look at the links from the end of slot ``first`` - 1 on."""
        slot_s, slots = self._slot_real_s, self._options.scenario.slots
        looks = max(1, round(slot_s / _LOOK_S))
        start = messages.Start(self._begin, slot_s, slots, looks, first)
        self._machinery.controller.send(start)

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
            if name in self._machinery.nodes and name not in self.reports.lost:
                self._machinery.nodes[name].send(order)

    async def _stop(self) -> None:
        """Let every process say farewell, so that nothing it has recorded is lost."""
        nodes = self._machinery.nodes
        for channel in nodes.values():
            channel.send(orders.End())
        self._machinery.controller.send(messages.Stop())
        pending = [task for task in self._listeners.values() if not task.done()]
        if pending:
            await asyncio.wait(pending, timeout=_STOP_TIMEOUT_S)
        if self._closed.keys() - self.reports.lost.keys():
            await asyncio.sleep(_END_REPORT_S)
        for name in nodes:
            if name not in self.reports.farewells and name not in self.reports.lost:
                hangs = "does not answer at the end"
                self.reports.lose(name, self._machinery.how_ended(name) or hangs)

"""What the controller does about what its switches report: the one place that decides.

It runs in one thread, knows no OpenFlow library and no socket: reports go in, orders and events
(``model.controller_messages``, as they go to the orchestrator) come out.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import singledispatchmethod

from controller import arp
from controller.forwarding import Forwarding, changes
from controller.link_sampler import LinkReading, VirtualBacklog
from controller.sampling_clock import Looked, SlotEnded
from controller.state import ControllerState, Switch
from controller.switch_messages import (
    AskPorts,
    Barrier,
    BarrierDone,
    Failed,
    MakeMeter,
    Order,
    PacketIn,
    PortChanged,
    PortsCounted,
    Report,
    SendPacket,
    Sweep,
    SwitchConnected,
    SwitchLost,
)
from model import controller_messages as messages
from model.controller_messages import Event
from model.errors import RunError
from model.network import Network

log = logging.getLogger("controller")


class ControllerError(RunError):
    """The controller cannot go on; the text says why."""


@dataclass(slots=True)
class Batch:
    """Flow changes that were sent and whose barriers are not answered yet.

    An answered barrier means that the flows are in the switch's tables. Open vSwitch may for some
    milliseconds more treat packets by its cache of earlier decisions.

    Attributes:
        began: when their reason was noticed (CLOCK_MONOTONIC, s).
        waiting: (datapath id, number) of the barriers.
    """

    began: float
    changed: int
    waiting: set[tuple[int, int]] = field(default_factory=set)


class Control:
    """Installs flows on switches, moves them when cables fail, keeps the state of it all."""

    def __init__(
        self,
        network: Network,
        send: Callable[[int, Iterable[Order]], None],
        tell: Callable[[Event], None],
        *,
        arp: bool,
    ):
        """``send(datapath id, orders)``; ``tell`` takes events; ``arp``: hosts may ask for MACs."""
        self._forwarding = Forwarding(network, arp=arp)
        self.state = ControllerState(network, self._forwarding)
        self.virtual = VirtualBacklog(network)
        self._arp, self._send, self._tell = arp, send, tell
        self._known = {h.ip for h in self._forwarding.hosts.values()}
        self._wanted = self._forwarding.flows()
        self._numbers = itertools.count(1)
        self._batches: list[Batch] = []
        self._installed = False
        self._first: list[LinkReading] = []
        self._waiting: set[str] = set()
        self._asked: dict[int, tuple[int, float]] = {}

    @singledispatchmethod
    def handle(self, report: Report | SlotEnded | Looked) -> None:
        """Act on a report. Raises ``ControllerError`` for a failure that must end the process."""
        raise TypeError(f"no report: {report!r}")

    @handle.register
    def _(self, report: Failed) -> None:
        raise ControllerError(report.why)

    @handle.register
    def _(self, report: SwitchConnected) -> None:
        switch = self.state.by_id(report.datapath_id)
        if switch is None:
            log.warning("a switch with datapath id %d is not of this scenario", report.datapath_id)
            return
        switch.connected = switch.seen = True
        switch.ports = dict(report.ports)
        self._forget(switch)
        self._tell(messages.SwitchChanged(switch.name, up=True))
        self._installed = False
        self._refresh(fresh=switch)

    @handle.register
    def _(self, report: SwitchLost) -> None:
        switch = self.state.by_id(report.datapath_id)
        if switch is None:
            return
        switch.connected = False
        self._forget(switch)
        self._tell(messages.SwitchChanged(switch.name, up=False))
        self._refresh()

    def _forget(self, switch: Switch) -> None:
        """Nothing is known of what a switch does that has just come or gone."""
        switch.flows = {}
        for batch in self._batches:
            batch.waiting = {w for w in batch.waiting if w[0] != switch.datapath_id}

    @handle.register
    def _(self, report: PortChanged) -> None:
        switch = self.state.by_id(report.datapath_id)
        if switch is not None and report.port in switch.neighbours:
            switch.ports[report.port] = report.up
            self._refresh()

    def _refresh(self, fresh: Switch | None = None) -> None:
        """Bring all switches to what the cables allow now; ``fresh``: one that has no flows yet."""
        began = time.monotonic()
        down = self.state.cables_down()
        for cable in sorted(down ^ self.state.down):
            self._tell(messages.CableChanged(cable, up=cable not in down))
        if down != self.state.down:
            self.state.down = down
            self._wanted = self._forwarding.flows(down)
        batch = Batch(began, 0)
        for switch in self.state.switches.values():
            if switch.connected:
                self._bring(switch, batch, new=switch is fresh)
        if batch.waiting:
            self._batches.append(batch)
        self._announce()

    def _bring(self, switch: Switch, batch: Batch, *, new: bool) -> None:
        steps: list[Order] = [*changes(switch.flows, self._wanted[switch.name])]
        if not steps and not new:
            return
        batch.changed += len(steps)
        switch.flows = dict(self._wanted[switch.name])
        number = next(self._numbers)
        batch.waiting.add((switch.datapath_id, number))
        before = [MakeMeter()] if new and self._arp else []
        after = [Sweep()] if new else []
        self._send(switch.datapath_id, [*before, *steps, *after, Barrier(number)])

    @handle.register
    def _(self, report: BarrierDone) -> None:
        for batch in self._batches:
            batch.waiting.discard((report.datapath_id, report.number))
        self._announce()

    def _announce(self) -> None:
        """Tell what has become true: first that everything is installed, later what moved."""
        done = [b for b in self._batches if not b.waiting]
        self._batches = [b for b in self._batches if b.waiting]
        if self._installed:
            for batch in done:
                seconds = round(time.monotonic() - batch.began, 6)
                self._tell(messages.Rerouted(batch.changed, seconds))
        elif self.state.all_connected and not self._batches:
            self._installed = True
            self._tell(messages.Installed(self.state.flow_count))

    @handle.register
    def _(self, report: PacketIn) -> None:
        reply = arp.answer(report.frame, self._known) if self._arp else None
        if reply is not None:
            self._send(report.datapath_id, [SendPacket(report.port, reply)])

    @handle.register
    def _(self, report: SlotEnded) -> None:
        state = self.state
        state.sampled_at, state.readings = report.sampled_at, report.readings
        state.virtual_backlog_bytes = self.virtual.update(report.sampled_at, report.readings)
        if not self._first:
            self._first = report.readings
        else:
            self._tell(self._links_event(report))
            self._tell_queues(report.sampled_at, report.readings)
        self._ask_ports(report.slot)

    @handle.register
    def _(self, report: Looked) -> None:
        self._tell_queues(report.sampled_at, report.readings)

    def _tell_queues(self, sampled_at: float, readings: list[LinkReading]) -> None:
        """Tell of the links on which something waits, or did at the previous look."""
        waiting = {r.link for r in readings if r.backlog_bytes}
        told = [
            (r.link, r.backlog_bytes, r.sent_bytes)
            for r in readings
            if r.link in waiting or r.link in self._waiting
        ]
        self._waiting = waiting
        if told:
            self._tell(messages.QueuesSampled(sampled_at, told))

    def _links_event(self, report: SlotEnded) -> messages.LinksSampled:
        links = [
            (
                now.link,
                now.backlog_bytes,
                now.sent_bytes - first.sent_bytes,
                now.drops - first.drops,
                now.up,
            )
            for first, now in zip(self._first, report.readings, strict=True)
        ]
        virtual = [round(v) for v in self.state.virtual_backlog_bytes]
        return messages.LinksSampled(report.slot, report.sampled_at, links, virtual)

    def _ask_ports(self, slot: int) -> None:
        """Ask every switch for its counters; what the last slot's answers lack is given up."""
        self._asked.clear()
        for switch in self.state.switches.values():
            if switch.connected:
                number = next(self._numbers)
                self._asked[number] = (slot, time.monotonic())
                self._send(switch.datapath_id, [AskPorts(number)])

    @handle.register
    def _(self, report: PortsCounted) -> None:
        switch = self.state.by_id(report.datapath_id)
        if switch is None or report.number not in self._asked:
            return
        switch.counters |= {c.port: c for c in report.counters if c.port in switch.neighbours}
        if not report.last:
            return
        slot, asked_at = self._asked.pop(report.number)
        rows = [
            (
                switch.neighbours[c.port],
                c.rx_bytes,
                c.tx_bytes,
                c.rx_packets,
                c.tx_packets,
                c.rx_dropped,
                c.tx_dropped,
            )
            for c in switch.counters.values()
        ]
        self._tell(messages.PortsSampled(slot, asked_at, switch.name, rows))

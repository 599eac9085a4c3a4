"""One node process: the loop that joins unit, device, slot clock and the orchestrator's orders.

Counters of the last record, ``Bye``: cpu_s (user and system), max_rss_mb, max_unsent_bytes (of
records, in user space), worst_lateness_real_s; units: served, repeated, forwarded; senders:
retries, connections; devices: decisions, decision_p50_s, decision_p99_s, lost_pings, undecided:
tasks that were not decided in time, so that they stayed on the device.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
import traceback
from typing import Any

from emulation.admission import Admission
from emulation.briefing import Agent, Briefing, Overflow
from emulation.deciders import Decider, InProcess
from emulation.device import Device
from emulation.extremes import LIMIT_S
from emulation.guest.link import GuestPolicy
from emulation.loop import READ, WRITE, Clock, Loop
from emulation.messages import Baseline, Bye, Fatal, Ready, Record, Slot, to_list
from emulation.ping import Pinger
from emulation.remote import Remote
from emulation.transcoding.queue import Transcoding
from emulation.transfer import Listener, Transfers
from emulation.unit import Unit
from emulation.wire import HEADER_BYTES, MESSAGE_BYTES
from emulation.work import TimedWork, Work
from model.errors import UserError

_FLUSH_REAL_S = 0.05
_LOST_PING_SLOTS = 5
_MIN_PING_TIMEOUT_REAL_S = 2.0
_SPARE_CONNECTIONS = 4
_MAX_ORDER_BYTES = 64 * 1024 * 1024
_BRIEFING_WAIT_S = 1.0


class Control:
    """The node's end of its channel: orders in, records out, in batches, never blocking."""

    def __init__(self, loop: Loop, handle: socket.socket):
        self._loop, self._socket = loop, handle
        handle.setblocking(False)
        self._lines: list[str] = []
        self._unsent = bytearray()
        self._received = bytearray()
        self._flush_due = False
        self.max_unsent_bytes = 0
        self.orders: list[dict[str, Any]] = []
        loop.watch(handle.fileno(), READ, self._ready)

    def report(self, record: Record) -> None:
        """Queue a record; it leaves within ``_FLUSH_REAL_S``."""
        self._lines.append(json.dumps(to_list(record), separators=(",", ":")))
        if not self._flush_due:
            self._flush_due = True
            self._loop.after(_FLUSH_REAL_S, self.flush)

    def flush(self) -> None:
        """Hand all records to the kernel, or keep what it does not take."""
        self._flush_due = False
        if self._lines:
            self._lines.append("")
            self._unsent += "\n".join(self._lines).encode()
            self._lines = []
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            self.max_unsent_bytes = max(self.max_unsent_bytes, len(self._unsent))
        events = READ | WRITE if self._unsent else READ
        self._loop.watch(self._socket.fileno(), events, self._ready)

    def finish(self) -> None:
        """Send everything, waiting for it."""
        self.flush()
        self._socket.setblocking(True)
        self._socket.sendall(self._unsent)
        self._socket.close()

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self.flush()
        if not events & ~WRITE:
            return
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("the orchestrator has gone")
        self._received += data
        *lines, rest = self._received.split(b"\n")
        if len(rest) > _MAX_ORDER_BYTES:
            raise UserError("an order without an end")
        self._received = rest
        for line in lines:
            self.on_order(json.loads(line))

    def on_order(self, order: dict[str, Any]) -> None:
        """Replaced by whoever takes the orders."""
        self.orders.append(order)


class Node:
    """A unit of the network at work, with the agent if it is a device."""

    def __init__(
        self,
        briefing: Briefing,
        loop: Loop,
        control: Control,
        worker: socket.socket | None = None,
        guest: socket.socket | None = None,
    ):
        self._briefing, self.loop, self.control = briefing, loop, control
        self._worker, self._guest = worker, guest
        self.clock = Clock(briefing.speedup)
        self._worst_lateness_s = 0.0
        self._device: Device | None = None
        self._transfers: Transfers | None = None

    def run(self) -> None:
        """Come up and serve orders until told to stop."""
        briefing, report = self._briefing, self.control.report
        self.unit = Unit(self.loop, self.clock, self._work(), report)
        self.unit.senders = briefing.senders
        self.unit.result_rate_mbps = briefing.result_rate_mbps
        # Twice as long as a device tries; what is known for ever adds up over hours.
        self.unit.remembered_s = 2 * briefing.transfer.attempts * briefing.transfer.stall_timeout_s
        if briefing.owners is not None:
            owners = briefing.owners
            self.unit.owner = lambda f: f.task < len(owners) and owners[f.task] == f.device
        self.unit.admission = Admission(briefing, self.clock)
        if briefing.agent is not None:
            self._make_device(briefing.agent)
        elif briefing.overflow is not None:
            self._make_overflow(briefing.overflow)
        self.unit.listen(briefing.address)
        report(Ready(os.getpid(), briefing.agent.policy if briefing.agent else ""))
        self.control.flush()
        self.control.on_order = self._order  # type: ignore[method-assign]
        for order in self.control.orders:
            self._order(order)
        self.loop.run()

    def _work(self) -> Work:
        briefing = self._briefing
        clips = briefing.clips
        if clips is None:
            real_bytes = round(briefing.transfer.result_bytes / briefing.speedup)
            result_bytes = real_bytes - HEADER_BYTES
            return TimedWork(self.loop, self.clock, briefing.frequency, result_bytes)
        if self._worker is None:
            raise UserError("there are clips to transcode, and no worker to do it")
        return Transcoding(
            self.loop,
            self.clock,
            briefing.frequency,
            clips,
            briefing.workers,
            self._worker,
            self.control.report,
        )

    def _make_device(self, agent: Agent) -> None:
        device = Device(self.loop, self.clock, agent, self.unit, self.control.report)
        self._transfers = self._sender(device, agent.index, agent.profile.max_rate_mbps)
        timeout_s = max(
            _MIN_PING_TIMEOUT_REAL_S,
            _LOST_PING_SLOTS * self._briefing.slot_s / self._briefing.speedup,
            agent.first_limit_s if agent.first_limit_s > LIMIT_S else 0.0,  # slow links
        )
        pinger = Pinger(self.loop, agent.probes.ping_bytes, timeout_s)
        device.begin(self._decider(agent, device), self._transfers, pinger)
        self._device = device

    def _decider(self, agent: Agent, device: Device) -> Decider:
        """What decides: a caller outside, a user's policy in its process, or one of the lab."""
        if self._briefing.stepped:
            return Remote(self.loop, self.clock, agent.profile, self.control.report)
        if self._guest is None:
            return InProcess(agent, device.complain)
        return GuestPolicy(self.loop, self.clock, agent, self._guest, device)

    def _sender(self, listener: Listener, index: int, max_rate_mbps: float) -> Transfers:
        transfers = Transfers(
            self.loop,
            self.clock,
            self._briefing.transfer,
            listener,
            addresses=self._briefing.targets,
            own_index=index,
            max_rate_mbps=max_rate_mbps,
        )
        transfers.spares = _SPARE_CONNECTIONS
        # No result is larger than the largest clip.
        transfers.most_result_bytes = max(MESSAGE_BYTES, self.unit.work.most_bytes or 0)
        return transfers

    def _make_overflow(self, overflow: Overflow) -> None:
        self._transfers = self._sender(self.unit, 0, overflow.rate_mbps)
        self.unit.overflow_to(self._transfers, overflow.queue_s, overflow.rate_mbps)

    def _order(self, order: dict[str, Any]) -> None:
        match order:
            case {"cmd": "baseline"}:
                if self._device is None:
                    self.control.report(Baseline({}, []))
                else:
                    self._device.baseline(lambda rtt, no: self.control.report(Baseline(rtt, no)))
            case {"cmd": "start", "t0": float() | int() as t0, **rest}:
                self._start(t0, int(rest.get("first", 0)))
            case {"cmd": "status", "queue_ghz_s": dict(queue), "ghz": dict(ghz)}:
                if self._device is not None:
                    self._device.memory.told(queue, ghz)
            case {"cmd": "decide", "slot": int(slot), "tasks": dict(tasks)}:
                if self._device is not None:
                    self._device.decided(slot, tasks)
            case {"cmd": "stop"}:
                self._stop()
            case _:
                raise UserError(f"unknown order: {str(order)[:200]}")

    def _start(self, t0: float, first: int) -> None:
        self.clock.start(t0)
        # Ticks first: of things due at the same time, a slot begins before its tasks are born.
        if first <= self._briefing.slots:
            self.loop.at(self.clock.real(first * self._briefing.slot_s), self._tick, first)
        if self._device is not None:
            self._device.start()

    def _tick(self, boundary: int) -> None:
        slot_s = self._briefing.slot_s
        due = self.clock.real(boundary * slot_s)
        lateness_s = max(0.0, time.monotonic() - due)
        self._worst_lateness_s = max(self._worst_lateness_s, lateness_s)
        now, work = self.clock.now(), self.unit.work
        begin_s, end_s = (boundary - 1) * slot_s, boundary * slot_s
        busy = work.busy_share(begin_s, end_s) if boundary else None
        queue, ghz = work.queue_ghz_s(now), work.frequency.at(now)
        self.control.report(Slot(boundary, lateness_s, queue, ghz, busy))
        if self._device is not None:
            self._device.show(boundary)
        if self._briefing.stepped:
            self.control.flush()
        if boundary < self._briefing.slots:
            self.loop.at(self.clock.real((boundary + 1) * slot_s), self._tick, boundary + 1)
            if self._device is not None:
                self._device.begin_slot(boundary)

    def _stop(self) -> None:
        if self._device is not None:
            self._device.end()
        self.control.report(Bye(self._counters()))
        self.loop.stop()

    def _counters(self) -> dict[str, float | None]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        unit, sender, device = self.unit, self._transfers, self._device
        counters: dict[str, float | None] = {
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "max_rss_mb": usage.ru_maxrss * 1024 / 1e6,
            "max_unsent_bytes": self.control.max_unsent_bytes,
            "worst_lateness_real_s": self._worst_lateness_s,
            "served": unit.served,
            "repeated": unit.repeated,
            "forwarded": unit.forwarded,
        }
        if sender is not None:
            counters |= {"retries": sender.retries, "connections": sender.opened}
        if device is not None:
            counters |= {
                "decisions": len(device.decider.decision_ns),
                "decision_p50_s": device.decision_latency_s(50.0),
                "decision_p99_s": device.decision_latency_s(99.0),
                "lost_pings": device.lost_pings,
                "undecided": device.decider.undecided,
            }
        return counters


def _await_briefing(loop: Loop, control: Control) -> Briefing:
    while not control.orders:
        loop.step(_BRIEFING_WAIT_S)
    return Briefing.from_json(control.orders.pop(0))


def run_node(
    name: str,
    handle: socket.socket,
    worker: socket.socket | None = None,
    guest: socket.socket | None = None,
) -> int:
    """Be a node until told to stop; returns the exit status: 0, 1 (broke), 2 (user's mistake).

    ``worker`` leads to the process that does the unit's real work, ``guest`` to the one that runs
    the device's policy, where there is any.
    """
    status, loop = 0, Loop()
    control = Control(loop, handle)
    try:
        Node(_await_briefing(loop, control), loop, control, worker, guest).run()
    except UserError as error:
        status = error.exit_code
        control.report(Fatal(str(error), user=True))
    except ConnectionError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - the spawner's log
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of a process
        status = 1
        traceback.print_exc()
        control.report(Fatal(f"{type(error).__name__}: {error}", user=False))
    try:
        control.finish()
    except OSError:
        status = status or 1
    return status

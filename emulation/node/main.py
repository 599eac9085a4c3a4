"""A node process: one loop that joins units, devices, slot clocks and the orchestrator's orders.

It carries an edge, the cloud, or devices of one base station. Each node has its own channel to the
orchestrator, clock, unit and records.

Counters of the last record, ``Bye``: cpu_s (user and system) and max_rss_mb of the process, with
the first of its nodes only; max_unsent_bytes (of records, in user space), worst_lateness_real_s;
units: served, repeated, forwarded; senders: retries, connections; devices: decisions,
decision_p50_s, decision_p99_s, lost_pings, undecided: tasks that were not decided in time, so that
they stayed on the device.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emulation.node.admission import Admission
from emulation.node.channel import NodeChannel, phase_now
from emulation.node.deciders import Decider, InProcess
from emulation.node.device import Device
from emulation.node.event_loop import Clock, Loop
from emulation.node.external_policy import ExternalPolicy
from emulation.node.guest_link import GuestPolicy
from emulation.node.ping import Pinger
from emulation.node.sockets import MadeElsewhere, OwnNamespace, Sockets
from emulation.node.task_sender import Listener, Transfers
from emulation.node.task_server import Unit
from emulation.node.transcoding.queue import Transcoding
from emulation.node.work import TimedWork, Work
from emulation.protocol import orders
from emulation.protocol.briefing import Agent, Briefing, Overflow
from emulation.protocol.frames import HEADER_BYTES, MESSAGE_BYTES
from emulation.protocol.link_limits import LIMIT_S
from emulation.protocol.messages import Baseline, Bye, Fatal, Ready, Slot
from model.errors import LabError, RunError

_LOST_PING_SLOTS = 5
_MIN_PING_TIMEOUT_REAL_S = 2.0
_SPARE_CONNECTIONS = 4
_BRIEFING_WAIT_S = 1.0


@dataclass(slots=True)
class Ends:
    """What a node's process holds of its pipes.

    Attributes:
        name: the node's.
        control: to the orchestrator.
        worker: to the process that does the unit's real work, if there is one.
        guest: to the process of a user's policy, if there is one.
        sockets: to what makes its sockets; None: the process lives in the node's namespace.
    """

    name: str
    control: socket.socket
    worker: socket.socket | None = None
    guest: socket.socket | None = None
    sockets: socket.socket | None = None

    def descriptors(self) -> list[int]:
        """Descriptors of all pipes."""
        return [end.fileno() for end in self._all()]

    def close(self) -> None:
        """Close all pipes in this process."""
        for end in self._all():
            end.close()

    def _all(self) -> list[socket.socket]:
        ends = (self.control, self.worker, self.guest, self.sockets)
        return [end for end in ends if end is not None]


class Node:
    """A unit of the network at work, with the agent if it is a device.

    Attributes:
        name: the unit's.
        control: its channel.
        running: whether it has not been ordered to stop.
    """

    def __init__(self, ends: Ends, loop: Loop, phase: float):
        self.name, self.loop = ends.name, loop
        self.control = NodeChannel(loop, ends.control, phase)
        self._worker, self._guest = ends.worker, ends.guest
        self._sockets: Sockets = (
            OwnNamespace() if ends.sockets is None else MadeElsewhere(ends.sockets)
        )
        self._worst_lateness_s = 0.0
        self._device: Device | None = None
        self._external: ExternalPolicy | None = None
        self._transfers: Transfers | None = None
        self.running = True

    def begin(self) -> None:
        """Wait for the briefing, come up and listen; a policy is made meanwhile."""
        while not self.control.orders:
            self.loop.step(_BRIEFING_WAIT_S)
        self._briefing = briefing = Briefing.from_json(self.control.orders.pop(0))
        self.clock = Clock(briefing.speedup)
        self.unit = Unit(
            self.loop,
            self.clock,
            self._work(),
            self.control.report,
            sockets=self._sockets,
            owner=briefing.is_owner,
            admission=Admission(briefing, self.clock),
            senders=briefing.senders,
            # Twice as long as a device tries; what is known for ever adds up over hours.
            remembered_s=2 * briefing.transfer.attempts * briefing.transfer.stall_timeout_s,
            result_rate_mbps=briefing.result_rate_mbps,
        )
        if briefing.agent is not None:
            self._make_device(briefing.agent)
        elif briefing.overflow is not None:
            self._make_overflow(briefing.overflow)
        self.unit.listen(briefing.address)

    def take_orders(self) -> None:
        """Report that all is ready, once a policy is, and carry out what orders come."""
        agent = self._briefing.agent
        if self._device is not None:
            self._device.decider.await_ready()
        self.control.report(Ready(os.getpid(), agent.policy if agent else ""))
        self.control.flush()
        self.control.deliver_to(self._order)

    def _work(self) -> Work:
        briefing = self._briefing
        clips = briefing.clips
        if clips is None:
            real_bytes = round(briefing.transfer.result_bytes / briefing.speedup)
            result_bytes = real_bytes - HEADER_BYTES
            return TimedWork(self.loop, self.clock, briefing.frequency, result_bytes)
        if self._worker is None:
            raise RunError("there are clips to transcode, and no worker to do it")
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
        timeout_s = max(
            _MIN_PING_TIMEOUT_REAL_S,
            _LOST_PING_SLOTS * self._briefing.slot_s / self._briefing.speedup,
            agent.first_limit_s if agent.first_limit_s > LIMIT_S else 0.0,  # slow links
        )
        pinger = Pinger(self.loop, agent.probes.ping_bytes, timeout_s, self._sockets)
        self._device = Device(
            self.loop,
            self.clock,
            agent,
            self.unit,
            self.control.report,
            pinger,
            make_decider=lambda device: self._decider(agent, device),
            make_transfers=lambda device: self._sender(
                device, agent.index, agent.profile.max_rate_mbps
            ),
        )
        self._transfers = self._device.transfers

    def _decider(self, agent: Agent, device: Device) -> Decider:
        """What decides: a caller outside, a user's policy in its process, or one of the lab."""
        if self._briefing.stepped:
            report = self.control.report
            self._external = ExternalPolicy(self.loop, self.clock, agent.profile, report)
            return self._external
        if self._guest is None:
            return InProcess(agent, device.complain)
        return GuestPolicy(self.loop, self.clock, agent, self._guest, device)

    def _sender(self, listener: Listener, index: int, max_rate_mbps: float) -> Transfers:
        return Transfers(
            self.loop,
            self.clock,
            self._briefing.transfer,
            listener,
            addresses=self._briefing.targets,
            own_index=index,
            max_rate_mbps=max_rate_mbps,
            spares=_SPARE_CONNECTIONS,
            # No result is larger than the largest clip.
            most_result_bytes=max(MESSAGE_BYTES, self.unit.work.most_bytes or 0),
            sockets=self._sockets,
        )

    def _make_overflow(self, overflow: Overflow) -> None:
        self._transfers = self._sender(self.unit, 0, overflow.rate_mbps)
        self.unit.overflow_to(self._transfers, overflow.queue_s, overflow.rate_mbps)

    def _order(self, order: dict[str, Any]) -> None:
        match orders.parse(order):
            case orders.MeasurePaths():
                if self._device is None:
                    self.control.report(Baseline({}, []))
                else:
                    self._device.baseline(lambda rtt, no: self.control.report(Baseline(rtt, no)))
            case orders.Begin(t0, first):
                self._start(t0, first)
            case orders.ShowStatus(queue, ghz):
                if self._device is not None:
                    self._device.memory.told(queue, ghz)
            case orders.Decide(slot, tasks):
                if self._external is not None:
                    self._external.receive(slot, tasks)
            case orders.End():
                self._stop()

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
        self.running = False
        self.loop.stop()

    def say_bye(self, *, of_process: bool) -> None:
        """Report the counters; ``of_process``: with those of the whole process."""
        self.control.report(Bye((_of_process() if of_process else {}) | self._counters()))

    def _counters(self) -> dict[str, float | None]:
        unit, sender, device = self.unit, self._transfers, self._device
        counters: dict[str, float | None] = {
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


def _of_process() -> dict[str, float | None]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "max_rss_mb": usage.ru_maxrss * 1024 / 1e6,
    }


class _FailedError(Exception):
    """A node could not come up, for the reason that is this one's cause."""

    def __init__(self, node: Node):
        super().__init__(node.name)
        self.node = node


def run_nodes(ends: Sequence[Ends]) -> int:
    """Carry nodes until all are ordered to stop; returns the exit status: 0, 1 (broke), 2 (user's).

    What goes wrong before the nodes take orders is reported by the node that it concerns, later
    by all.
    """
    loop, phase = Loop(), phase_now()
    nodes = [Node(one, loop, phase) for one in ends]
    status, failed = 0, nodes
    try:
        _serve(nodes, loop)
    except ConnectionError as error:
        print(f"{nodes[0].name}: {error}", file=sys.stderr)  # noqa: T201 - the spawner's log
        return 1
    except _FailedError as error:
        failed = [error.node]
        status = _report_failure(failed, error.__cause__)
    except Exception as error:  # noqa: BLE001 - the last line of a process
        status = _report_failure(nodes, error)
    for node in (*failed, *(n for n in nodes if n not in failed)):
        try:
            node.control.finish()
        except OSError:
            status = status or 1
    return status


def _serve(nodes: Sequence[Node], loop: Loop) -> None:
    for step in (Node.begin, Node.take_orders):
        for node in nodes:
            try:
                step(node)
            except ConnectionError:
                raise
            except Exception as error:
                raise _FailedError(node) from error
    while any(node.running for node in nodes):
        loop.run()
    for node in nodes:
        node.say_bye(of_process=node is nodes[0])


def _report_failure(nodes: Sequence[Node], error: BaseException | None) -> int:
    """Report for some nodes what went wrong; returns the exit status."""
    if isinstance(error, LabError):
        status, fatal = error.exit_code, Fatal(str(error), user=True)
    else:
        traceback.print_exception(error)
        status, fatal = 1, Fatal(f"{type(error).__name__}: {error}", user=False)
    for node in nodes:
        node.control.report(fatal)
    return status

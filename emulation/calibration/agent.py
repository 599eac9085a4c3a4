"""A process in a host of the calibration's network: sends, receives and pings as it is told.

It speaks JSON lines over an inherited socket. Requests carry an ``id`` that the answer repeats:

    {"do": "open", "unit": u}                                    → {"error"}
    {"do": "udp", "address": a, "rate_mbps": x, "seconds": s}    → {"packets": n}
    {"do": "send", "unit": u, "bytes": b, "rate_mbps": x}        → {"dispatched_s", "arrived_s"}
    {"do": "ping", "address": a, "every_s": s, "count": n}       → {"sent_s": [], "rtt_s": []}

Times are CLOCK_MONOTONIC, s, which all namespaces share. Tasks travel by the real transfer code.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import Any

from emulation.node.event_loop import READ, Clock, Loop
from emulation.node.ping import Pinger
from emulation.node.sockets import OwnNamespace
from emulation.node.task_sender import Order, Transfers
from emulation.node.task_server import Unit
from emulation.node.work import TimedWork
from emulation.protocol.frames import HEADER_BYTES
from model.addressing import TASK_PORT
from model.compute import FrequencyTrace
from model.packet_sizes import FRAME_BYTES, UDP_HEADERS_BYTES
from model.rates import transmission_s
from model.scenario import TransferSpec

_UDP_PAYLOAD_BYTES = FRAME_BYTES - UDP_HEADERS_BYTES
_TICK_S = 0.0005
_PING_TIMEOUT_S = 10.0
_NOBODY = 65534
_HIGHEST_MBPS = 100.0
_RESULT_BYTES = 64
_FAST_GHZ = 1e6
_WORK_GHZ_S = 1.0


class Agent:
    """Serves requests until the other end closes."""

    def __init__(self, address: str, units: dict[str, str], control: socket.socket):
        self._control = control
        self._received = b""
        self._asked: dict[int, float] = {}
        self._loop = Loop()
        clock = Clock(1.0)
        clock.start(0.0)
        fast = FrequencyTrace((0.0,), (_FAST_GHZ,), _FAST_GHZ)
        work = TimedWork(self._loop, clock, fast, _RESULT_BYTES - HEADER_BYTES)
        self._unit = Unit(self._loop, clock, work, lambda _: None)
        self._unit.listen(address)
        # UDP that arrives here: nobody reads it, but nobody answers "unreachable" either.
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.bind((address, TASK_PORT))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._pinger = Pinger(self._loop, 56, _PING_TIMEOUT_S, OwnNamespace())
        self._transfers = Transfers(
            self._loop,
            clock,
            TransferSpec(attempts=1),
            self,
            addresses=units,
            own_index=0,
            max_rate_mbps=_HIGHEST_MBPS,
        )
        self._loop.watch(control.fileno(), READ, self._readable)

    def run(self) -> None:
        """Say that we are ready and serve."""
        self._answer(0)
        self._loop.run()

    def _answer(self, request: int, **values: object) -> None:
        self._control.sendall(json.dumps({"id": request, **values}).encode() + b"\n")

    def _readable(self, _: int) -> None:
        data = self._control.recv(65536)
        if not data:
            self._loop.stop()
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            getattr(self, f"_do_{request.pop('do')}")(**request)

    def _do_udp(self, id: int, address: str, rate_mbps: float, seconds: float) -> None:  # noqa: A002
        begin, gap_s = time.monotonic(), transmission_s(FRAME_BYTES, rate_mbps)
        payload, total, sent = bytes(_UDP_PAYLOAD_BYTES), int(seconds / gap_s), 0

        def tick() -> None:
            nonlocal sent
            due = min(total, int((time.monotonic() - begin) / gap_s) + 1)
            while sent < due:
                try:
                    self._udp.sendto(payload, (address, TASK_PORT))
                except BlockingIOError:
                    break
                sent += 1
            if sent < total:
                self._loop.after(max(_TICK_S, gap_s / 2), tick)
            else:
                self._answer(id, packets=sent)

        tick()

    def _do_ping(self, id: int, address: str, every_s: float, count: int) -> None:  # noqa: A002
        sent_s, rtt_s, begin = [0.0] * count, [float("nan")] * count, time.monotonic()
        left = count

        def ping(k: int) -> None:
            def reply(rtt: float | None) -> None:
                nonlocal left
                rtt_s[k], left = float("nan") if rtt is None else rtt, left - 1
                if not left:
                    self._answer(id, sent_s=sent_s, rtt_s=rtt_s)

            sent_s[k] = time.monotonic()
            if k + 1 < count:
                self._loop.at(begin + (k + 1) * every_s, ping, k + 1)
            self._pinger.send(address, reply)

        ping(0)

    def _do_open(self, id: int, unit: str) -> None:  # noqa: A002
        self._transfers.open(unit, lambda error: self._answer(id, error=error))

    def _do_send(self, id: int, unit: str, bytes: int, rate_mbps: float) -> None:  # noqa: A002
        # Request numbers are unique in the whole network, as tasks must be.
        self._transfers.send(Order(unit, 0, id, bytes, _WORK_GHZ_S, rate_mbps))

    # emulation.node.task_sender.Listener

    def dispatched(self, order: Order) -> None:
        """Note when the first byte went."""
        self._asked[order.task] = time.monotonic()

    def arrived(self, order: Order) -> None:
        """Answer with both times."""
        dispatched_s = self._asked.pop(order.task)
        self._answer(order.task, dispatched_s=dispatched_s, arrived_s=order.arrived_s)

    def result(self, order: Order, processing_s: float, result: bytes) -> None:
        """Of no interest."""

    def unserved(self, order: Order, reason: str) -> None:
        """Of no interest: service here takes no time and cannot fail."""

    def failed(self, order: Order, reason: str) -> None:
        """Answer with why."""
        self._answer(order.task, error=reason)


def main(arguments: list[str]) -> None:
    """Arguments: own address, JSON of unit → address, number of the control socket."""
    address, units, descriptor = arguments
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    parsed: dict[str, Any] = json.loads(units)
    Agent(address, parsed, socket.socket(fileno=int(descriptor))).run()


if __name__ == "__main__":
    main(sys.argv[1:])

"""A node's end of its channel to the orchestrator: JSON lines over an inherited socket."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable
from typing import Any

from emulation.node.event_loop import READ, WRITE, Loop
from emulation.protocol.messages import Record, to_list
from model.errors import ProtocolError

_FLUSH_REAL_S = 0.05
_MAX_ORDER_BYTES = 64 * 1024 * 1024


def phase_now() -> float:
    """The phase of now, for the nodes of a process that begins now."""
    return time.monotonic() / _FLUSH_REAL_S % 1.0


class NodeChannel:
    """Takes orders in and sends records in batches, without ever blocking.

    ``phase``: when its batches leave, as a share of the time between two, 0 … 1.

    Attributes:
        orders: those that came before ``deliver_to``.
    """

    def __init__(self, loop: Loop, handle: socket.socket, phase: float):
        self._loop, self._socket, self._phase = loop, handle, phase
        handle.setblocking(False)
        self._lines: list[str] = []
        self._unsent = bytearray()
        self._received = bytearray()
        self._flush_due = False
        self.max_unsent_bytes = 0
        self.orders: list[dict[str, Any]] = []
        self._receive: Callable[[dict[str, Any]], None] = self.orders.append
        loop.watch(handle.fileno(), READ, self._ready)

    def report(self, record: Record) -> None:
        """Queue a record; it leaves within ``_FLUSH_REAL_S``."""
        self._lines.append(json.dumps(to_list(record), separators=(",", ":")))
        if not self._flush_due:
            self._flush_due = True
            # All nodes of a process at once: a wake-up costs more than what it hands over.
            due = math.ceil(time.monotonic() / _FLUSH_REAL_S - self._phase) + self._phase
            self._loop.at(due * _FLUSH_REAL_S, self.flush)

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
            raise ProtocolError("an order without an end")
        self._received = rest
        for line in lines:
            self._receive(json.loads(line))

    def deliver_to(self, receive: Callable[[dict[str, Any]], None]) -> None:
        """Call ``receive`` with each order: those that wait, then those that come."""
        self._receive = receive
        for order in self.orders:
            receive(order)

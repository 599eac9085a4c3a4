"""Sending tasks: paced, reliable transfers over a pool of connections per target."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emulation.node.event_loop import READ, WRITE, Clock, Loop, Timer
from emulation.node.pacing import pace, pacing_bytes_per_s, task_socket
from emulation.node.sockets import OwnNamespace, Sockets
from emulation.protocol.frames import MESSAGE_BYTES, Frame, FrameReader, Kind, WireError, encode
from model.addressing import TASK_PORT
from model.scenario import TransferSpec

_TCP_NOTSENT_LOWAT = 25
_UNSENT_BYTES = 262144
"""What the kernel may hold unsent: at 10 Mbps it wakes us five or ten times a second."""
_CHUNK = memoryview(bytes(_UNSENT_BYTES))
_HELLO_PIECE_BYTES = 3
"""Eleven pieces: a connection's first ten segments leave unpaced (``emulation.node.pacing``)."""
_IDLE_CONNECTIONS = 16
"""More than these are closed: they cost nothing on the wire, but the unit has to hold them, too."""
_STALE_S = 60.0
"""Nor are those kept that nobody has used for so long: what the busiest moment needed would add up
over hours. The first of them are used first, so that the last rest."""
_STALL_CHECKS = 4
_FIRST_BACK_OFF_S = 0.5
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class Order:
    """A task to be sent.

    Attributes:
        target: the unit's name.
        device, task: whose and which task it is; together unique within a sender.
        payload_bytes: real bytes to send.
        work_ghz_s: s_i.
        rate_mbps: x on the wire.
        attempt: which try this is, from 1 on.
        arrived_s: when the unit had the last byte, scenario time, once known.
        payload: the bytes; None: any will do.
    """

    target: str
    device: int
    task: int
    payload_bytes: int
    work_ghz_s: float
    rate_mbps: float
    attempt: int = 0
    arrived_s: float | None = None
    payload: bytes | None = None


class Listener(Protocol):
    """Who wants to know what becomes of orders."""

    def dispatched(self, order: Order) -> None:
        """An attempt's first byte is about to be handed to the network."""

    def arrived(self, order: Order) -> None:
        """The unit has the last byte (``order.arrived_s``); called once per order."""

    def result(self, order: Order, processing_s: float, result: bytes) -> None:
        """The result has come back; the order is done."""

    def unserved(self, order: Order, reason: str) -> None:
        """The unit could not make a result; the order is done."""

    def failed(self, order: Order, reason: str) -> None:
        """All attempts have failed; the order is done."""


class Connection:
    """One connection to a unit; carries one task at a time until it has arrived."""

    def __init__(self, pool: Transfers, target: str):
        self._pool, self.target = pool, target
        self.current: Order | None = None
        self.awaiting: dict[tuple[int, int], Order] = {}
        self.connected = False
        self.idle_since_s = 0.0
        self._payload_left = 0
        self._header = b""
        self._pace = 0
        self._written = 0
        self._progress = (-1, 0.0)
        self._stall: Timer | None = None
        answers = (Kind.ARRIVED, Kind.RESULT, Kind.ERROR, Kind.UNSERVED)
        self._reader = FrameReader(*answers, most_bytes=pool.most_result_bytes)
        self.socket = task_socket(pool.sockets)
        self._set_pace(pool.max_rate_mbps)
        self.socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        pool.loop.watch(self.socket.fileno(), READ | WRITE, self._ready)
        error = self.socket.connect_ex((pool.addresses[target], pool.port))
        if error not in (0, errno.EINPROGRESS):
            pool.loop.at(0.0, self._break, os.strerror(error))
        self._watch_progress()

    @property
    def idle(self) -> bool:
        """Whether it can take a task now."""
        return self.connected and self.current is None

    def begin(self, order: Order) -> None:
        """Send a task."""
        self.current = order
        order.attempt += 1
        self.awaiting[order.device, order.task] = order
        if self.connected:
            self._dispatch(order)

    def close(self) -> None:
        """Give the connection up; what the kernel still holds is not sent any more."""
        if self.socket.fileno() < 0:
            return
        if self._stall is not None:
            self._stall.cancel()
        self._pool.loop.unwatch(self.socket.fileno())
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.socket.close()

    def _set_pace(self, rate_mbps: float) -> None:
        asked = pacing_bytes_per_s(rate_mbps)
        if asked != self._pace:
            pace(self.socket, rate_mbps)
            self._pace = asked

    def _dispatch(self, order: Order) -> None:
        self._set_pace(order.rate_mbps)
        self._header = encode(
            Frame(
                Kind.TASK,
                order.device,
                order.task,
                order.attempt,
                order.payload_bytes,
                order.work_ghz_s,
            )
        )
        self._payload_left = order.payload_bytes
        self._pool.listener.dispatched(order)
        self._watch_progress()
        self._write()

    def _ready(self, events: int) -> None:
        try:
            if not self.connected and events & WRITE:
                self._say_hello()
            elif events & WRITE:
                self._write()
            if self.connected and events & ~WRITE:
                self._read()
        except OSError as error:
            self._break(error.strerror or str(error))

    def _say_hello(self) -> None:
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        hello = encode(Frame(Kind.HELLO, self._pool.own_index, 0, 0, 0, 0.0))
        for k in range(0, len(hello), _HELLO_PIECE_BYTES):
            self.socket.send(hello[k : k + _HELLO_PIECE_BYTES])
        self._written = len(hello)
        self.connected = True
        self._pool.loop.watch(self.socket.fileno(), READ, self._ready)
        if self.current is not None:
            self._dispatch(self.current)
        else:
            self._pool.became_idle(self)

    def _write(self) -> None:
        while self._header or self._payload_left:
            pieces = [self._piece()]
            if self._header:
                pieces.insert(0, memoryview(self._header))
            try:
                sent = self.socket.sendmsg(pieces)
            except BlockingIOError:
                self._pool.loop.watch(self.socket.fileno(), READ | WRITE, self._ready)
                return
            self._written += sent
            of_header = min(sent, len(self._header))
            self._header = self._header[of_header:]
            self._payload_left -= sent - of_header
        self._pool.loop.watch(self.socket.fileno(), READ, self._ready)

    def _piece(self) -> memoryview:
        """The next bytes of the payload."""
        payload = self.current.payload if self.current is not None else None
        if payload is None:
            return _CHUNK[: self._payload_left]
        begin = len(payload) - self._payload_left
        return memoryview(payload)[begin : begin + _UNSENT_BYTES]

    def _read(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise WireError("closed by the unit")
        for frame, payload in self._reader.feed(data):
            self._receive(frame, payload)

    def _receive(self, frame: Frame, payload: bytes) -> None:
        if frame.kind is Kind.ERROR:
            raise WireError(payload.decode(errors="replace"))
        order = self.awaiting.get((frame.device, frame.task))
        if order is None:
            raise WireError(f"{frame.kind.name} for task {frame.task}, which was not sent here")
        if frame.kind is Kind.ARRIVED:
            self._arrived(order, frame)
            return
        if order is self.current:
            raise WireError(f"{frame.kind.name} of task {frame.task} before its data arrived")
        del self.awaiting[frame.device, frame.task]
        order.payload = None
        if frame.kind is Kind.UNSERVED:
            self._pool.listener.unserved(order, payload.decode(errors="replace"))
        else:
            self._pool.listener.result(order, frame.value, payload)

    def _arrived(self, order: Order, frame: Frame) -> None:
        if order is not self.current or self._payload_left or self._header:
            raise WireError(f"ARRIVED for task {frame.task}, which is not under way")
        if order.arrived_s is None:
            order.arrived_s = frame.value
            self._pool.listener.arrived(order)
        self._free()

    def _free(self) -> None:
        self.current = None
        if self._stall is not None:
            self._stall.cancel()
        if self._pace < pacing_bytes_per_s(self._pool.max_rate_mbps):
            self._set_pace(self._pool.max_rate_mbps)
            self._header = encode(Frame(Kind.HELLO, self._pool.own_index, 0, 0, 0, 0.0))
            self._write()
        self._pool.became_idle(self)

    def _watch_progress(self) -> None:
        """Break the connection if for ``stall_timeout_s`` the peer acknowledges nothing more."""
        if self._stall is not None:
            self._stall.cancel()
        self._progress = (-1, time.monotonic())
        self._check_progress()

    def _check_progress(self) -> None:
        if self.connected and self.current is None:
            return
        now, limit_s = time.monotonic(), self._pool.stall_real_s
        unacknowledged = struct.unpack(
            "i", fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
        )[0]
        acknowledged = self._written - unacknowledged
        if acknowledged != self._progress[0]:
            self._progress = (acknowledged, now)
        elif now - self._progress[1] >= limit_s:
            self._break(f"no progress for {self._pool.stall_real_s * self._pool.clock.speedup:g} s")
            return
        self._stall = self._pool.loop.after(limit_s / _STALL_CHECKS, self._check_progress)

    def _break(self, reason: str) -> None:
        if self.socket.fileno() < 0:
            return
        self.close()
        self._pool.broken(self, reason)


class Transfers:
    """All connections of one sender, a pool for each target.

    Attributes:
        spares: connections that are opened ahead of need, once a target has been sent a task. A
            task that must open its own waits a round trip through queues that may hold seconds and
            only then begins to queue; in the model every task queues from the moment it is sent.
        most_result_bytes: what a result may have.
        retries: attempts beyond the first so far.
        opened: connections opened so far.
    """

    def __init__(  # noqa: PLR0913 - what it works with, all by name
        self,
        loop: Loop,
        clock: Clock,
        spec: TransferSpec,
        listener: Listener,
        *,
        addresses: dict[str, str],
        own_index: int,
        max_rate_mbps: float,
        spares: int = 0,
        most_result_bytes: int = MESSAGE_BYTES,
        sockets: Sockets | None = None,
    ):
        self.sockets = sockets or OwnNamespace()
        self.spares, self.most_result_bytes = spares, most_result_bytes
        self.loop, self.clock, self.spec, self.listener = loop, clock, spec, listener
        self.addresses, self.port = addresses, TASK_PORT
        self.own_index, self.max_rate_mbps = own_index, max_rate_mbps
        self.stall_real_s = spec.stall_timeout_s / clock.speedup
        self.retries = self.opened = 0
        self._connections: dict[str, list[Connection]] = {name: [] for name in addresses}
        self._waiting: dict[str, list[Callable[[str | None], None]]] = {}
        self._back_offs: set[Timer] = set()

    def open(self, target: str, done: Callable[[str | None], None]) -> None:
        """Open a first connection; ``done`` gets None, or why it could not be opened."""
        self._waiting.setdefault(target, []).append(done)
        self._connect(target)

    def send(self, order: Order) -> None:
        """Send a task at once, on an idle connection, or one that is being opened, or a new one."""
        free = [c for c in self._connections[order.target] if c.current is None]
        connection = next((c for c in free if c.connected), free[0] if free else None)
        try:
            connection = connection or self._connect(order.target)
        except OSError as error:
            order.attempt += 1
            self._retry(order, f"{order.target}: {error.strerror}")
            return
        connection.begin(order)
        self._keep_spares(order.target)

    def close(self) -> None:
        """Close everything; no listener is called any more."""
        for timer in self._back_offs:
            timer.cancel()
        for connections in self._connections.values():
            for connection in connections:
                connection.close()
            connections.clear()

    def became_idle(self, connection: Connection) -> None:
        """A connection can take a task; of those that can, surplus and stale ones are closed."""
        self._tell_waiting(connection.target, None)
        connection.idle_since_s = now_s = time.monotonic()
        pool = self._connections[connection.target]
        for place, other in enumerate([c for c in pool if c.idle]):
            stale = place > self.spares and other.idle_since_s < now_s - _STALE_S
            if (stale or place >= _IDLE_CONNECTIONS) and not other.awaiting:
                pool.remove(other)
                # Not at once: the caller may still be reading frames of this connection.
                self.loop.at(0.0, other.close)

    def broken(self, connection: Connection, reason: str) -> None:
        """A connection has gone: send again what was under way on it."""
        pool = self._connections[connection.target]
        if connection in pool:
            pool.remove(connection)
        self._tell_waiting(connection.target, reason)
        for order in connection.awaiting.values():
            self._retry(order, f"{connection.target}: {reason}")

    def _connect(self, target: str) -> Connection:
        self.opened += 1
        connection = Connection(self, target)
        self._connections[target].append(connection)
        return connection

    def _keep_spares(self, target: str) -> None:
        pool = self._connections[target]
        for _ in range(self.spares - sum(c.current is None for c in pool)):
            try:
                self._connect(target)
            except OSError:
                # Nobody waits for it; whoever needs one will hear of it.
                return

    def _tell_waiting(self, target: str, error: str | None) -> None:
        for done in self._waiting.pop(target, []):
            done(error)

    def _retry(self, order: Order, reason: str) -> None:
        if order.attempt >= self.spec.attempts:
            self.listener.failed(order, f"{reason} ({order.attempt} attempts)")
            return
        self.retries += 1
        delay_s = _FIRST_BACK_OFF_S * 2.0 ** (order.attempt - 1) / self.clock.speedup
        timer = self.loop.after(delay_s, self._again, order)
        timer.args = (order, timer)
        self._back_offs.add(timer)

    def _again(self, order: Order, timer: Timer) -> None:
        self._back_offs.discard(timer)
        self.send(order)

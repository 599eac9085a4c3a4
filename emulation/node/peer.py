"""A device's connection, seen from the unit: frames in, data kept or thrown away, frames out."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Protocol

from emulation.node.event_loop import READ, WRITE, Loop
from emulation.node.pacing import pace
from emulation.node.work import Work
from emulation.protocol.frames import (
    HEADER_BYTES,
    Frame,
    Kind,
    WireError,
    decode,
    encode,
    error_frame,
)

_SO_RCVLOWAT = 18
_READ_BYTES = 262144
"""What may gather in the kernel before it wakes us: a wake-up costs more than a read."""
_DISCARD = bytearray(_READ_BYTES)
"""Never written to: MSG_TRUNC makes the kernel throw a task's bytes away without copying them."""
_UNACKNOWLEDGED = struct.Struct("i")


class Receiver(Protocol):
    """What a connection asks of its unit, ``emulation.node.task_server.Unit``.

    Attributes:
        result_rate_mbps: pace of results on the wire; None: as fast as TCP sends.
        most_unsent_bytes: of results that wait for a device that does not read.
    """

    loop: Loop
    work: Work
    result_rate_mbps: float | None
    most_unsent_bytes: int

    def require_sender(self, peer: Peer, frame: Frame) -> None:
        """Raise ``WireError`` if a frame is not from the device that has this address."""

    def expect(self, peer: Peer, frame: Frame) -> None:
        """Raise ``WireError`` if the task that a header announces may not arrive here."""

    def complete(self, peer: Peer, frame: Frame, data: bytes | bytearray) -> None:
        """Take a task that has arrived whole."""

    def forget(self, peer: Peer, reason: str) -> None:
        """Note that a connection is closed, and why."""


class Peer:
    """A device's connection, seen from the unit."""

    def __init__(self, unit: Receiver, handle: socket.socket, address: str):
        self._unit, self._socket, self.address = unit, handle, address
        self._header = bytearray()
        self._frame: Frame | None = None
        self._left = 0
        self._data: bytearray | None = None
        self._low_water = 1
        self._wait_for(HEADER_BYTES)
        self._unsent = bytearray()
        handle.setblocking(False)
        if unit.result_rate_mbps is not None:
            pace(handle, unit.result_rate_mbps)
        unit.loop.watch(handle.fileno(), READ, self._ready)

    @property
    def busy(self) -> bool:
        """Whether a task is arriving."""
        return self._frame is not None

    @property
    def arriving(self) -> tuple[int, int] | None:
        """Device and number of the task that is arriving."""
        return None if self._frame is None else (self._frame.device, self._frame.task)

    @property
    def everything_acknowledged(self) -> bool:
        """Whether all that was sent here has come to the other machine."""
        if self._socket.fileno() < 0 or self._unsent:
            return False
        answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(_UNACKNOWLEDGED.size))
        return bool(_UNACKNOWLEDGED.unpack(answer)[0] == 0)

    def send(self, frame: Frame, payload: bytes = b"") -> None:
        """Send a frame, now or when the connection takes it; a broken connection takes nothing."""
        if self._socket.fileno() < 0:
            return
        self._unsent += encode(frame) + payload
        try:
            self._flush()
        except OSError as error:
            self.close(str(error))

    def close(self, reason: str) -> None:
        """Close the connection; jobs that came over it go on, the device may ask again."""
        if self._socket.fileno() >= 0:
            self._unit.loop.unwatch(self._socket.fileno())
            self._socket.close()
            self._unit.forget(self, reason)

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            if len(self._unsent) > self._unit.most_unsent_bytes:
                self.close("does not read its results")
                return
        events = READ | WRITE if self._unsent else READ
        self._unit.loop.watch(self._socket.fileno(), events, self._ready)

    def _ready(self, events: int) -> None:
        try:
            if events & WRITE:
                self._flush()
            if events & ~WRITE and self._socket.fileno() >= 0:
                self._read()
        except BlockingIOError:
            return
        except WireError as error:
            self.send(*error_frame(str(error)))
            self.close(str(error))
        except OSError as error:
            # Devices reset connections that they give up; that matters only within a task.
            self.close(f"{error.strerror} within a task" if self.busy else "")

    def _read(self) -> None:
        """Read what is there: a header, then its payload, and at most one frame more."""
        if self._frame is None and not self._read_header():
            return
        while self._left:
            count = self._take(min(self._left, _READ_BYTES))
            if count == 0:
                raise WireError("closed within a task")
            self._left -= count
            if self._left:
                # Before looking again: what is there already was most of what had gathered.
                self._wait_for(min(self._left, _READ_BYTES))
                return
        self._wait_for(1)
        frame, self._frame = self._frame, None
        data, self._data = self._data, None
        if frame is not None:
            self._unit.complete(self, frame, data or b"")

    def _take(self, most: int) -> int:
        """Read so many bytes of a task at most, to keep them or to throw them away.

        What is kept grows with the bytes that have come, not with what the header has announced.
        """
        if self._data is None:
            return self._socket.recv_into(_DISCARD, most, socket.MSG_TRUNC)
        came = self._socket.recv(most)
        self._data += came
        return len(came)

    def _read_header(self) -> bool:
        data = self._socket.recv(HEADER_BYTES - len(self._header))
        if not data:
            if self._header:
                raise WireError("closed within a header")
            self.close("")
            return False
        self._header += data
        if len(self._header) < HEADER_BYTES:
            return False
        frame = decode(self._header)
        self._header.clear()
        if frame.kind not in (Kind.HELLO, Kind.TASK):
            raise WireError(f"{frame.kind.name} in this direction")
        self._unit.require_sender(self, frame)
        if frame.kind is Kind.HELLO:
            return False
        self._unit.expect(self, frame)
        self._frame, self._left = frame, frame.payload_bytes
        if self._unit.work.most_bytes is not None:
            self._data = bytearray()
        return True

    def _wait_for(self, count: int) -> None:
        """Be woken when so many bytes are there (the kernel makes room in the window for them)."""
        if count != self._low_water:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVLOWAT, count)
            self._low_water = count

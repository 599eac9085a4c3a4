"""Round trips by ICMP echo, from a socket that needs no privilege.

Own code rather than icmplib: that library reads the clock in user space after the reply has waited
for the process to be scheduled, which on a machine as busy as this one is milliseconds, more than
the queue that is to be seen. Here the kernel notes the arrival of the packet (SO_TIMESTAMPNS), and
the send time is taken from the same clock right before the system call. One socket serves all
targets without a thread; the kernel chooses the ICMP identifier and hands over only our replies.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable

from emulation.node.event_loop import READ, Loop
from emulation.node.sockets import Sockets

_SO_TIMESTAMPNS = 35
_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_ICMP = struct.Struct("!BBHHH")
_STAMP = struct.Struct("!8sQ")
_TIMESPEC = struct.Struct("qq")
_MAX_REPLIES_AT_ONCE = 64
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)

OnReply = Callable[[float | None], None]
"""Called once per ping with its round trip, real s, or None if it is lost."""


class Pinger:
    """Sends pings and pairs replies with them.

    The group of the process that makes the socket must lie within the sysctl
    ``net.ipv4.ping_group_range`` of the network namespace; otherwise ``PermissionError`` is raised.
    """

    def __init__(self, loop: Loop, payload_bytes: int, timeout_real_s: float, sockets: Sockets):
        self._loop = loop
        self._timeout_s = timeout_real_s
        self._secret = os.urandom(8)
        self._padding = bytes(max(0, payload_bytes - _STAMP.size))
        self._count = 0
        self._sent: dict[int, tuple[str, int, OnReply]] = {}
        self._socket = sockets.icmp()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        loop.watch(self._socket.fileno(), READ, self._readable)

    def send(self, address: str, on_reply: OnReply) -> None:
        """Ping an address; a ping that cannot even be sent is lost at once."""
        count = self._count
        self._count += 1
        header = _ICMP.pack(_ECHO_REQUEST, 0, 0, 0, count & 0xFFFF)
        packet = header + _STAMP.pack(self._secret, count) + self._padding
        sent_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self._sent[count] = (address, sent_ns, on_reply)
        try:
            self._socket.sendto(packet, (address, 0))
        except OSError:
            # No route, no buffer: the network's state, not a fault of ours.
            self._lose(count)
            return
        self._loop.after(self._timeout_s, self._lose, count)

    def close(self) -> None:
        """Stop listening; outstanding pings are never answered."""
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()
        self._sent.clear()

    def _lose(self, count: int) -> None:
        lost = self._sent.pop(count, None)
        if lost is not None:
            lost[2](None)

    def _readable(self, _: int) -> None:
        for _turn in range(_MAX_REPLIES_AT_ONCE):
            try:
                data, ancillary, _flags, sender = self._socket.recvmsg(2048, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # An ICMP error of an earlier ping, which will be counted as lost.
            self._receive(data, ancillary, sender[0])

    def _receive(self, data: bytes, ancillary: list[tuple[int, int, bytes]], sender: str) -> None:
        if len(data) < _ICMP.size + _STAMP.size or data[0] != _ECHO_REPLY:
            return
        secret, count = _STAMP.unpack_from(data, _ICMP.size)
        known = self._sent.get(count)
        if secret != self._secret or known is None or known[0] != sender:
            return
        del self._sent[count]
        received_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        for level, kind, stamp in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(stamp)
                received_ns = seconds * 1_000_000_000 + nanoseconds
        known[2](max(0, received_ns - known[1]) * 1e-9)

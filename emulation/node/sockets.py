"""Sockets of a network namespace in which the process that uses them does not live.

A process may carry several devices, each in a namespace of its own, and has no privilege to enter
one. The spawner makes their sockets: it enters the namespace, makes one, comes back and passes it
on. A socket stays in the namespace in which it was made, whoever uses it, so packets go the same
way as those of a process within.
"""

from __future__ import annotations

import os
import socket
from typing import Protocol

_TCP, _ICMP, REFUSED = b"T", b"I", b"-"
KINDS = {
    _TCP: (socket.AF_INET, socket.SOCK_STREAM, 0),
    _ICMP: (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
}


class Sockets(Protocol):
    """Makes the sockets of one host."""

    def tcp(self) -> socket.socket:
        """Make a TCP socket. Raises ``OSError``."""

    def icmp(self) -> socket.socket:
        """Make a socket for ICMP echo. Raises ``OSError``."""


class OwnNamespace:
    """Makes sockets in the namespace of this process."""

    def tcp(self) -> socket.socket:
        """Make a TCP socket. Raises ``OSError``."""
        return socket.socket(*KINDS[_TCP])

    def icmp(self) -> socket.socket:
        """Make a socket for ICMP echo. Raises ``PermissionError`` where the group may not ping."""
        return socket.socket(*KINDS[_ICMP])


class MadeElsewhere:
    """Asks the ``SocketMaker`` at the other end of a pipe, and waits for its answer."""

    def __init__(self, pipe: socket.socket):
        self._pipe = pipe

    def tcp(self) -> socket.socket:
        """Make a TCP socket. Raises ``OSError``."""
        return self._ask(_TCP)

    def icmp(self) -> socket.socket:
        """Make a socket for ICMP echo. Raises ``OSError``."""
        return self._ask(_ICMP)

    def _ask(self, kind: bytes) -> socket.socket:
        self._pipe.sendall(kind)
        answer, descriptors, _, _ = socket.recv_fds(self._pipe, 16, 1)
        if not descriptors:
            number = int(answer[1:] or b"0")
            raise OSError(number, os.strerror(number) if number else "the spawner has gone")
        return socket.socket(*KINDS[kind], fileno=descriptors[0])

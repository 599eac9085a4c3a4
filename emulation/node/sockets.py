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

from emulation.host import syscalls

_TCP, _ICMP, _REFUSED = b"T", b"I", b"-"
_KINDS = {
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
        return socket.socket(*_KINDS[_TCP])

    def icmp(self) -> socket.socket:
        """Make a socket for ICMP echo. Raises ``PermissionError`` where the group may not ping."""
        return socket.socket(*_KINDS[_ICMP])


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
        return socket.socket(*_KINDS[kind], fileno=descriptors[0])


class SocketMaker:
    """Makes sockets in the network namespace at a path; for a process that may enter it.

    One packet of ``pipe`` asks for one socket. Raises ``OSError`` if there is no such namespace.
    """

    def __init__(self, pipe: socket.socket, namespace: str):
        self.pipe = pipe
        self._namespace = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)

    def serve(self) -> bool:
        """Answer one request; returns whether the other end is still there."""
        try:
            kind = self.pipe.recv(1)
            if kind not in _KINDS:
                return False
            self._answer(kind)
        except OSError:
            return False
        return True

    def _answer(self, kind: bytes) -> None:
        try:
            handle = self._make(kind)
        except OSError as error:
            self.pipe.send(_REFUSED + str(error.errno or 0).encode())
            return
        with handle:
            socket.send_fds(self.pipe, [kind], [handle.fileno()])

    def _make(self, kind: bytes) -> socket.socket:
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(self._namespace, syscalls.NEW_NET)
            try:
                return socket.socket(*_KINDS[kind])
            finally:
                syscalls.setns(own, syscalls.NEW_NET)
        finally:
            os.close(own)

    def close(self) -> None:
        """Close the pipe and let go of the namespace."""
        self.pipe.close()
        os.close(self._namespace)

"""The spawner's end of ``emulation.node.sockets``: sockets made in another network namespace."""

from __future__ import annotations

import os
import socket

from emulation.host import syscalls
from emulation.node.sockets import KINDS, REFUSED


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
            if kind not in KINDS:
                return False
            self._answer(kind)
        except OSError:
            return False
        return True

    def _answer(self, kind: bytes) -> None:
        try:
            handle = self._make(kind)
        except OSError as error:
            self.pipe.send(REFUSED + str(error.errno or 0).encode())
            return
        with handle:
            socket.send_fds(self.pipe, [kind], [handle.fileno()])

    def _make(self, kind: bytes) -> socket.socket:
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(self._namespace, syscalls.NEW_NET)
            try:
                return socket.socket(*KINDS[kind])
            finally:
                syscalls.setns(own, syscalls.NEW_NET)
        finally:
            os.close(own)

    def close(self) -> None:
        """Close the pipe and let go of the namespace."""
        self.pipe.close()
        os.close(self._namespace)

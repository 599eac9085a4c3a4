"""JSON lines over an inherited socket: how the orchestrator talks with its processes.

These sockets do not touch the emulated network, so control and records cost it nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

_LINE_LIMIT_BYTES = 4 * 1024 * 1024
_LINES_A_TURN = 100


def _plain_line(value: Any) -> bytes:
    return json.dumps(value, default=msgspec.to_builtins).encode() + b"\n"


class Channel:
    """One end of a stream socket that carries JSON values, one a line.

    Args:
        name: of the process at the other end.
        handle: the socket; it is closed with this.
        decode, encode: a value from a line, and a line from a value, with its end.
    """

    def __init__(
        self,
        name: str,
        handle: socket.socket,
        decode: Callable[[bytes], Any] = json.loads,
        encode: Callable[[Any], bytes] = _plain_line,
    ):
        self.name, self._decode, self._encode = name, decode, encode
        self._socket = handle
        self._writer: asyncio.StreamWriter | None = None
        self._received = b""

    def receive(self, timeout_s: float) -> Any:
        """Wait for one value, before ``listen`` is used.

        Raises ``TimeoutError``, and ``ConnectionError`` if the other end has closed.
        """
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._received:
            self._socket.settimeout(max(1e-3, deadline - time.monotonic()))
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError(f"{self.name} has closed its channel")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return self._decode(line)

    async def listen(self, receive: Callable[[str, Any], None]) -> None:
        """Hand every value to ``receive(name, value)`` until the other end closes.

        Raises ``ValueError`` if a line does not decode or is longer than 4 MiB, and whatever
        ``receive`` raises.
        """
        reader, self._writer = await asyncio.open_connection(
            sock=self._socket, limit=_LINE_LIMIT_BYTES
        )
        reader.feed_data(self._received)
        turn = 0
        try:
            # A line without an end: the other end was killed while it wrote.
            while (line := await reader.readline()).endswith(b"\n"):
                turn += 1
                receive(self.name, self._decode(line))
                if not turn % _LINES_A_TURN:
                    # A full buffer is read without waiting, and others have their turn too.
                    await asyncio.sleep(0)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        except ConnectionResetError:
            return

    def send(self, value: Any) -> None:
        """Send a value; if the other end has gone, which is noticed elsewhere, it is dropped."""
        line = self._encode(value)
        if self._writer is not None:
            if not self._writer.is_closing():
                self._writer.write(line)
            return
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(line)

    def close(self) -> None:
        """Close this end; the process at the other end takes it as an order to stop."""
        if self._writer is not None:
            self._writer.close()
        else:
            self._socket.close()

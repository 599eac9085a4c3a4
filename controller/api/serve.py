"""The API's process: reads the controller's feed on standard input, serves a Unix socket.

It ends when its standard input does. It runs at low priority, and everything that a client could
use up is bounded: connections, bytes of a request, seconds until it is complete, seconds for which
an answer is not read.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from controller.api.app import create_app
from controller.api.places import socket_path, token_path
from controller.api.store import Store
from model.controller_messages import decode_api_message
from model.scenario import Scenario

NICENESS = 10
MAX_CONNECTIONS = 32
MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 16 * 1024
REQUEST_TIMEOUT_S = 5.0
STALLED_READER_TIMEOUT_S = 10.0
_FEED_LINE_BYTES = 8 * 1024 * 1024


class BoundedProtocol(H11Protocol):
    """One connection with one request: what uvicorn leaves unbounded is bounded here."""

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or drop it if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self._check_request)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the request, or drop the connection if they are too many."""
        self._received += len(data)
        if self._received > MAX_HEADER_BYTES + MAX_BODY_BYTES:
            self.transport.abort()
            return
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Refuse what turns out to be no request.

        The application may have begun to answer its first half: it is not heard any more.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def _check_request(self) -> None:
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self.transport.abort()

    def pause_writing(self) -> None:
        """The client does not read: it has some seconds to begin again."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_READER_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._cancel_stalled()
        super().resume_writing()

    def _cancel_stalled(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._cancel_stalled()
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)


def make_token(path: Path) -> str:
    """Write a fresh token to a file that only its owner can read. Raises ``OSError``."""
    token = secrets.token_urlsafe(32)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token


def listen(path: Path) -> socket.socket:
    """A listening Unix socket that only its owner can open. Raises ``OSError``."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # uvicorn would make it accessible to everybody.
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(MAX_CONNECTIONS)
    return listener


def server_of(app: Any) -> uvicorn.Server:
    """A server with bounded protocol, without access log."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_level="error",
            access_log=False,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_graceful_shutdown=1,
            server_header=False,
            # One request a connection: on a Unix socket a new one costs nothing.
            headers=[("connection", "close")],
        )
    )


async def _follow(store: Store, server: uvicorn.Server) -> None:
    """Fold the feed into the store until it ends, and the server with it."""
    reader = asyncio.StreamReader(limit=_FEED_LINE_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    try:
        while line := await reader.readline():
            store.fold(decode_api_message(line))
    finally:
        server.should_exit = server.force_exit = True


async def _serve(store: Store, server: uvicorn.Server, listener: socket.socket) -> None:
    following = asyncio.create_task(_follow(store, server))
    await server.serve(sockets=[listener])
    if following.done():
        following.result()


def main(words: list[str] | None = None) -> int:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m controller.api.serve", description=__doc__)
    parser.add_argument("--scenario", type=Path, required=True, metavar="JSON")
    parser.add_argument("--directory", type=Path, required=True, help="where socket and token go")
    options = parser.parse_args(words)
    os.nice(NICENESS)
    store = Store(Scenario.model_validate_json(options.scenario.read_text()))
    app = create_app(store, make_token(token_path(options.directory)))
    asyncio.run(_serve(store, server_of(app), listen(socket_path(options.directory))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

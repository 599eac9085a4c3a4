"""OpenFlow from strangers: the controller goes on serving switches, whoever knocks."""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from controller.handshake import HandshakeError, Screen
from controller.openflow import LIBRARIES
from model.addressing import datapath_id
from model.network import build_network
from tests.controller.lab import Controller
from tests.controller.scenarios import scenario
from tests.fuzz.bounds import require_told, tries

WANTED = scenario(stations=1, devices=1)
HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REPLY = 0, 1, 2, 3, 6
PACKET_IN, FLOW_REMOVED, PORT_STATUS, MULTIPART_REPLY, BARRIER_REPLY = 10, 11, 12, 19, 21
PORT_DESCRIPTION = 13
MOST_GROWTH_BYTES = 100 * 10**6


class Plain:
    """Starts processes here, without namespaces."""

    def spawn(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, **options)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module", params=LIBRARIES)
def controller(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Controller, int]]:
    folder, port = tmp_path_factory.mktemp("controller"), free_port()
    more = ("--listen", f"127.0.0.1:{port}")
    one = Controller(Plain(), WANTED, folder, str(request.param), more=more)  # type: ignore[arg-type]
    one.wait_for("listening")
    before = psutil.Process(one.process.pid).memory_info().rss
    yield one, port
    assert psutil.Process(one.process.pid).memory_info().rss - before < MOST_GROWTH_BYTES
    introduce(port)
    one.wait_for("switch", up=True)
    one.stop()
    assert "Traceback" not in one.log.read_text()


def message(kind: int, body: bytes = b"", *, version: int = 4, length: int | None = None) -> bytes:
    size = 8 + len(body) if length is None else length
    return struct.pack("!BBHI", version, kind, size, 7) + body


def introduce(port: int) -> socket.socket:
    """Be the scenario's switch; returns the connection once the controller has taken it in."""
    network = build_network(WANTED)
    identity = datapath_id(network, network.switches[0])
    switch = socket.create_connection(("127.0.0.1", port), 10)
    switch.sendall(message(HELLO))
    switch.sendall(message(FEATURES_REPLY, struct.pack("!QIBBHII", identity, 0, 254, 0, 0, 0, 0)))
    switch.sendall(message(MULTIPART_REPLY, struct.pack("!HHI", PORT_DESCRIPTION, 0, 0)))
    return switch


def answers(port: int) -> bool:
    """Whether the controller says hello to somebody new."""
    with socket.create_connection(("127.0.0.1", port), 10) as one:
        return len(one.recv(8)) == 8


KINDS = st.sampled_from(
    [HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, FEATURES_REPLY, PACKET_IN, FLOW_REMOVED, PORT_STATUS,
     MULTIPART_REPLY, BARRIER_REPLY]
) | st.integers(0, 255)  # fmt: skip
LENGTHS = st.none() | st.sampled_from([0, 1, 7, 8, 9, 12, 100, 65535])
VERSIONS = st.sampled_from([4, 4, 4, 1, 0, 5, 6, 255])
# A port description would complete the introduction: no stranger any more.
BODIES = st.binary(max_size=40).filter(lambda b: b[:2] != struct.pack("!H", PORT_DESCRIPTION))
MESSAGES = st.builds(
    lambda kind, body, version, length: message(kind, body, version=version, length=length),
    KINDS, BODIES, VERSIONS, LENGTHS,
)  # fmt: skip
OPENINGS = st.sampled_from(
    [b"", message(HELLO), message(HELLO, version=1), message(HELLO, b"\0\1\0\0")]
)


class Wire:
    """A socket that gives what it was given, in pieces."""

    def __init__(self, pieces: list[bytes]):
        self._pieces = [p for p in pieces if p]

    def recv(self, _: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


PORTS = st.integers(0, 5).map(
    lambda n: message(MULTIPART_REPLY, struct.pack("!HHI", PORT_DESCRIPTION, 0, 0) + bytes(64 * n))
)
FEATURES = message(FEATURES_REPLY, bytes(24))


@tries(300)
@given(
    st.lists(st.just(message(HELLO)) | st.just(FEATURES) | MESSAGES, max_size=5),
    PORTS,
    st.binary(max_size=50),
    st.lists(st.integers(0, 40), max_size=8),
)
def test_a_screen_lets_all_or_nothing_through(
    before: list[bytes], ports: bytes, after: bytes, cuts: list[int]
) -> None:
    stream, pieces, got = b"".join([*before, ports, after]), [], b""
    at = 0
    for cut in cuts:
        pieces.append(stream[at : at + cut])
        at += cut
    screen = Screen(Wire([*pieces, stream[at:]]))
    try:
        while data := screen.recv(8):
            got += data
    except HandshakeError as error:
        event("turned away")
        require_told(error)
        assert stream.startswith(got)
        return
    if all(b in (message(HELLO), FEATURES) for b in before):
        assert got == stream
    assert stream.startswith(got)


@tries(120)
@given(OPENINGS, st.lists(MESSAGES | st.binary(max_size=30), max_size=5), st.booleans())
def test_strangers_end_nothing_but_their_connection(
    controller: tuple[Controller, int], opening: bytes, said: list[bytes], reset: bool
) -> None:
    one, port = controller
    with socket.create_connection(("127.0.0.1", port), 10) as stranger:
        with suppress(ConnectionError):
            stranger.sendall(opening)
            for piece in said:
                stranger.sendall(piece)
        if reset:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            with suppress(OSError):
                stranger.shutdown(socket.SHUT_WR)
    assert answers(port)
    assert one.process.poll() is None, one.log.read_text()[-2000:]


@pytest.mark.parametrize(
    "said",
    [
        message(HELLO, version=1),
        message(HELLO, b"\xff" * 8),
        message(HELLO, b"\0\1\0\0"),
        message(HELLO, b"\0\1\0\x08" + bytes(4)),
        message(HELLO) + message(ERROR, b"\0\1\0\1" + bytes(64)),
        message(HELLO) + message(MULTIPART_REPLY, b"\xff\xff\0\0\0\0\0\0"),
        message(HELLO) + message(FEATURES_REPLY, b"\0"),
        message(HELLO) + message(PACKET_IN, b"\0" * 20),
        message(HELLO, length=65535),
        message(HELLO) * 5_000,
    ],
)
def test_words_that_are_errors(controller: tuple[Controller, int], said: bytes) -> None:
    one, port = controller
    with socket.create_connection(("127.0.0.1", port), 10) as stranger, suppress(ConnectionError):
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        stranger.settimeout(10)
        while stranger.recv(4096):
            pass
    assert answers(port)
    assert one.process.poll() is None, one.log.read_text()[-2000:]


def test_silent_and_deaf_strangers_stop_no_switch(controller: tuple[Controller, int]) -> None:
    one, port = controller
    silent = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(20)]
    deaf = socket.create_connection(("127.0.0.1", port), 10)
    deaf.setblocking(False)
    with suppress(BlockingIOError, ConnectionError):
        for _ in range(2_000):
            deaf.send(message(ECHO_REQUEST, bytes(60_000)))
    with introduce(port):
        one.wait_for("switch", up=True)
    one.wait_for("switch", up=False)
    for stranger in (*silent, deaf):
        stranger.close()

"""The devices' wire protocol, with a stranger at the other end: absurd, deaf or gone."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from emulation.node.task_server import _MAX_UNSENT_BYTES
from emulation.protocol.frames import Frame, FrameReader, Kind, WireError, encode
from emulation.protocol.messages import Log, from_list, to_list
from model.wire_format import HEADER, HEADER_BYTES, MAGIC, VERSION
from tests.emulation.test_transfer import LOCALHOST, Bed
from tests.fuzz.bounds import bounded, require_told, tries

LENGTHS = st.sampled_from(
    [0, 1, 31, 32, 1000, 65536, 65537, 2**31, 2**32, 10**14, 2**63, 2**64 - 1]
)  # fmt: skip
VALUES = st.floats() | st.sampled_from([0.0, 1.0, 1e7, 1e15, 1e308, 5e-324])


@st.composite
def headers(draw: st.DrawFn, device: int = 1, task: int = 1) -> bytes:
    """A header that is right but for a field or two."""
    odd = draw(st.sets(st.sampled_from(["magic", "version", "kind", "who", "size", "value"])))
    return HEADER.pack(
        draw(st.binary(min_size=4, max_size=4)) if "magic" in odd else MAGIC,
        draw(st.integers(0, 255)) if "version" in odd else VERSION,
        draw(st.integers(0, 255)) if "kind" in odd else draw(st.sampled_from(Kind)),
        draw(st.integers(0, 2**16 - 1)) if "who" in odd else device,
        draw(st.integers(0, 2**32 - 1)) if "who" in odd else task,
        draw(st.integers(0, 3)),
        draw(LENGTHS) if "size" in odd else 0,
        draw(VALUES) if "value" in odd else 0.5,
    )


STREAMS = st.lists(headers() | st.binary(max_size=100), max_size=6).map(b"".join)


@tries(400)
@given(st.lists(st.binary(max_size=200) | headers(), max_size=8))
def test_a_reader_keeps_little_and_says_what_is_wrong(pieces: list[bytes]) -> None:
    reader = FrameReader(Kind.ARRIVED, Kind.RESULT, Kind.ERROR)
    for piece in pieces:
        try:
            for frame, payload in reader.feed(piece):
                assert len(payload) == frame.payload_bytes
                assert encode(frame)[:4] == MAGIC
        except WireError as error:
            require_told(error)
            break
        assert len(reader._buffer) <= HEADER_BYTES + 65536


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    made = Bed(attempts=1)
    yield made
    made.sender.close()
    made.unit.close()
    made.loop.close()


def leave(stranger: socket.socket, way: str) -> None:
    if way == "reset":
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if way == "half":
        stranger.shutdown(socket.SHUT_WR)
    else:
        stranger.close()


HONEST = 10**6
"""Tasks of the honest device have numbers from here on."""


@tries(150)
@given(STREAMS, st.sampled_from(["close", "reset", "half", "stay"]))
def test_a_unit_serves_others_whatever_a_stranger_says(bed: Bed, stream: bytes, way: str) -> None:
    bed.records.clear()
    with socket.create_connection((LOCALHOST, bed.port)) as stranger, bounded():
        stranger.sendall(stream)
        if way != "stay":
            leave(stranger, way)
        task = HONEST + len(bed.ear.results)
        bed.send(task, work=0.0)
        bed.until(lambda: task in bed.ear.results)
        assert bed.ear.results[task] < 1e9
        assert not bed.ear.failures
    for record in bed.records:
        # What a unit tells of strangers must not get itself cut off.
        assert from_list(json.loads(json.dumps(to_list(record)))) == record


def test_a_peer_that_never_reads_is_let_go() -> None:
    bed = Bed()
    tasks = b"".join(encode(Frame(Kind.TASK, 9, k, 1, 0, 0.0)) for k in range(50))
    with socket.socket() as deaf, bounded():
        deaf.connect((LOCALHOST, bed.port))
        deaf.setblocking(False)
        unsent, deadline, let_go = b"", time.monotonic() + 30, False
        while not let_go:
            assert time.monotonic() < deadline
            unsent = unsent or tasks
            try:
                unsent = unsent[deaf.send(unsent) :]
            except BlockingIOError:
                pass
            except ConnectionError:
                let_go = True
            bed.loop.step(0.0)
            for peer in bed.unit._peers:  # so that the kernel keeps little of what is unread
                peer._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            assert all(len(p._unsent) < _MAX_UNSENT_BYTES + 65536 for p in bed.unit._peers)
    assert any("does not read" in r.text for r in bed.records if isinstance(r, Log))
    bed.unit.close()
    bed.loop.close()


def test_a_task_of_endless_work_is_no_task(bed: Bed) -> None:
    before = bed.unit.work.queue_ghz_s(bed.clock.now())
    with socket.create_connection((LOCALHOST, bed.port)) as stranger:
        stranger.settimeout(5)
        stranger.sendall(encode(Frame(Kind.TASK, 9, 77, 1, 0, 1e308)))
        bed.loop.step(0.1)
        bed.loop.step(0.1)
        assert b"TASK with value 1e+308" in stranger.recv(600)
    assert bed.unit.work.queue_ghz_s(bed.clock.now()) <= before


def test_a_timer_in_a_million_years_does_not_end_the_loop() -> None:
    alone = Bed()
    alone.unit.close()
    alone.loop.at(time.monotonic() + 1e13, print)
    alone.loop.step(0.0)
    alone.loop.after(0.01, alone.loop.stop)
    alone.loop.run()


@tries(60)
@given(STREAMS, st.sampled_from(["close", "reset", "half"]))
def test_a_sender_ends_every_task_once_whatever_answers(stream: bytes, way: str) -> None:
    bed = Bed(attempts=1)
    bed.unit.close()
    bed.sender.stall_real_s = 1.0
    with socket.create_server((LOCALHOST, 0)) as server, bounded():
        bed.sender.port = server.getsockname()[1]
        bed.send(1, size=0)
        bed.loop.step(0.0)
        peer, _ = server.accept()
        peer.sendall(stream)
        leave(peer, way)
        bed.until(lambda: bed.ear.ended == 1)
        peer.close()
    event(f"believed: {len(bed.ear.results)}")
    assert bed.ear.arrivals in ([], [1])
    bed.sender.close()
    bed.loop.close()


@pytest.mark.parametrize("text", ["\ud800", "x" * 10_000, "\0\n"])
def test_what_a_policy_says_is_cut_to_what_is_let_in(text: str) -> None:
    said: Any = json.loads(json.dumps(to_list(Log("error", 1.0, text))))
    assert len(from_list(said).text) <= len(text)  # type: ignore[union-attr]

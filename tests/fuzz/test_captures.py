"""Packet captures: refused in a line, or told in tables that add up, whatever they hold."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from analysis.pcap.capture import LINK_HEADER_BYTES
from analysis.pcap.packets import read_packets
from analysis.pcap.reader import read_capture
from analysis.pcap.show import show
from analysis.pcap.summary import summarise
from cli.pcap import _as_json
from model.errors import UserError
from model.wire_format import MAGIC
from tests.analysis.captures import ping, segment, segments, task, write
from tests.fuzz.bounds import bounded, require_told, tries
from tests.fuzz.damage import damaged_bytes


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("captures") / "c1d1-bs1.pcap"


@pytest.fixture(scope="module")
def whole(path: Path) -> bytes:
    frames = [*segments(task(1, 3000), task(2, 10)), segment(5, back=True, echo=1001)]
    frames += [ping(1), ping(1, reply=True)]
    packets = [(1e9 + 0.01 * k, frame) for k, frame in enumerate(frames)]
    return write(path, packets).read_bytes()


def use(path: Path) -> bool:
    """Whether a capture is taken; its tables then hold every packet once."""
    try:
        with bounded():
            capture = read_capture(path)
            summary = summarise([path])
    except UserError as error:
        require_told(error)
        return False
    assert summary.links["packets"].sum() == len(capture)
    assert summary.rates["packets"].sum() == read_packets([path]).table["timed"].sum()
    assert summary.flows["packets"].sum() <= len(capture)
    assert (capture.captured >= 0).all()
    assert sum(len(capture.packet(k + 1)) for k in range(len(capture))) == capture.captured.sum()
    json.loads(_as_json(summary))
    return True


@tries(150)
@given(st.data())
def test_damaged_files(path: Path, whole: bytes, data: st.DataObject) -> None:
    path.write_bytes(data.draw(damaged_bytes(whole)))
    event(f"taken: {use(path)}")


WORDS = st.sampled_from([0, 1, 15, 16, 31, 32, 128, 262_144, 262_145, 2**31, 2**32 - 1])


@st.composite
def captures(draw: st.DrawFn) -> bytes:
    """Records of any link type, length and time; packets that are, or begin like, IPv4."""
    order = draw(st.sampled_from("<>"))
    magic = draw(st.sampled_from([0xA1B2C3D4, 0xA1B23C4D]))
    kind = draw(st.sampled_from([*LINK_HEADER_BYTES, 0, 105]) | st.integers(0, 2**32 - 1))
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, kind)
    for _ in range(draw(st.integers(0, 5))):
        link = draw(st.binary(max_size=20))
        head = draw(st.sampled_from([b"\x45", b"\x4f", b"\x40", b"\x60", b""]))
        rest = draw(st.sampled_from([b"\0\0\0", b"\xff\xff"])) + draw(st.binary(max_size=30))
        ports = struct.pack("!HH", 5000, draw(st.integers(0, 65535)))
        packet = link + head + rest + ports + draw(st.binary(max_size=30)) + MAGIC
        packet += draw(st.binary(max_size=40))
        claimed = draw(st.just(len(packet)) | WORDS)
        times = draw(st.tuples(WORDS, WORDS))
        data += struct.pack(f"{order}IIII", *times, claimed, draw(WORDS)) + packet
    return data


@tries(250)
@given(captures() | st.binary(max_size=60))
def test_absurd_records(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    event(f"taken: {use(path)}")


@tries(20)
@given(captures())
def test_absurd_packets_are_shown(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    try:
        capture = read_capture(path)
    except UserError:
        return
    for number in range(1, len(capture) + 1):
        assert f"packet {number} of {len(capture)}" in show(capture, number)


def test_numbers_of_every_size_stay_what_they_are(path: Path) -> None:
    frame = bytearray(task(2**32 - 1, 0, device=2**16 - 1))
    frame[16:24] = b"\xff" * 8
    write(path, [(1e9, segment(0, bytes(frame))), (4e9, segment(32, b"x" * 1000))])
    assert use(path)
    first = summarise([path]).flows.row(0, named=True)
    assert (first["task"], first["device"]) == (2**32 - 1, "device 65535")

    assert summarise([path]).links["mean_mbps"].is_finite().all()

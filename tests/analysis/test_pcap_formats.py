"""Captures of every format, interface, clock and compression, from files and pipes."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scapy.layers.inet import ICMP, IP

from analysis.pcap.reader import read_capture
from analysis.pcap.stamps import odd_stamps
from analysis.pcap.summary import summarise
from cli.main import main
from tests.analysis.captures import ping, segment, segments, task, write
from tests.documented import ROOT

ETHER = ping(1)
RAW = bytes(IP(src="10.1.1.1", dst="10.2.0.1", id=7) / ICMP(id=77, seq=2))


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + size + body + size


def section(order: str = "<") -> bytes:
    """A section header."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """An option of a block."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(kind: int, options: bytes = b"", order: str = "<", snaplen: int = 0) -> bytes:
    """A description of an interface."""
    end = option(0, b"", order) if options else b""
    return block(1, struct.pack(f"{order}HHI", kind, 0, snaplen) + options + end, order)


def packet(number: int, ticks: int, data: bytes, order: str = "<") -> bytes:
    """A packet of an interface."""
    words = (number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, struct.pack(f"{order}5I", *words) + data, order)


def test_clocks_and_link_types_of_several_interfaces(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    data = section()
    data += interface(1, option(2, b"eth0") + option(9, b"\x09"))
    data += interface(101, option(9, b"\x06") + option(14, struct.pack("<q", 1000)))
    data += interface(1, option(9, b"\x8a"))  # 2^-10 s
    data += interface(1, option(9, b"\x0c"))  # ps
    data += packet(0, 10**18 + 123_456_789, ETHER) + packet(1, 5_000_001, RAW)
    data += packet(2, (7 << 10) + 512, ETHER) + packet(3, 3 * 10**12 + 1999, ETHER)
    # A section of the other byte order counts its interfaces from 0 again.
    data += section(">") + interface(101, option(9, b"\x09", ">"), ">") + packet(0, 42, RAW, ">")
    path.write_bytes(data)
    capture = read_capture(path)
    assert capture.notes == []
    times = [10**18 + 123_456_789, 1005 * 10**9 + 1000, 7_500_000_000, 3 * 10**9 + 1, 42]
    assert capture.time_ns.tolist() == times
    assert capture.link_types.tolist() == [1, 101, 1, 1, 101]
    assert [capture.packet(k + 1) for k in range(5)] == [ETHER, RAW, ETHER, ETHER, RAW]


def test_interfaces_are_places_of_their_own(tmp_path: Path) -> None:
    # A router sees every segment twice, on two interfaces: that is no retransmission.
    path = tmp_path / "router.pcapng"
    data = section() + interface(1, option(2, b"eth0")) + interface(1, option(2, b"eth1"))
    for k, frame in enumerate(segments(task(1, 4000))):
        data += packet(0, 10**15 + 1000 * k, frame) + packet(1, 10**15 + 1000 * k + 5, frame)
    path.write_bytes(data)
    links = summarise([path]).links
    assert links["link"].to_list() == ["router [eth0]", "router [eth1]"]
    assert links["retransmitted"].to_list() == [0, 0]


def test_packets_without_a_time(tmp_path: Path) -> None:
    path = tmp_path / "simple.pcapng"
    simple = [block(3, struct.pack("<I", len(f)) + f) for f in segments(task(1, 4000))]
    path.write_bytes(section() + interface(1) + b"".join(simple))
    summary = summarise([path])
    (row,) = summary.links.iter_rows(named=True)
    assert (row["packets"], row["retransmitted"]) == (len(simple), 0)
    assert row["mean_mbps"] is row["peak_mbps"] is row["rtt_p50_s"] is None
    assert "no time stamp" in summary.notes[0]
    reasons = dict(summary.missing.select("column", "reason").rows())
    assert reasons["mean_mbps"] == "no time stamps"


def test_losses_of_the_capture_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    lost = option(5, struct.pack("<Q", 17)) + option(0, b"")
    statistics = block(5, struct.pack("<III", 0, 0, 0) + lost)
    path.write_bytes(section() + interface(1) + packet(0, 1, ETHER) + statistics)
    assert "17 packets are missing" in read_capture(path).notes[0]


def test_every_truncation_of_a_pcapng_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    whole = section() + interface(1)
    ends = [len(whole)]
    for k in range(3):
        whole += packet(0, k, ETHER)
        ends.append(len(whole))
    for size in range(ends[0], len(whole) + 1):
        path.write_bytes(whole[:size])
        capture = read_capture(path)
        assert len(capture) == sum(e <= size for e in ends) - 1
        assert bool(capture.notes) == (size not in ends)


@pytest.mark.parametrize("order", ["<", ">"])
def test_modified_pcap(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.pcap"
    data = struct.pack(f"{order}IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    for k in range(3):
        data += struct.pack(f"{order}IIIIIHBB", 100 + k, 5, len(ETHER), len(ETHER), 1, 0x800, 0, 0)
        data += ETHER
    path.write_bytes(data)
    capture = read_capture(path)
    assert [capture.packet(k + 1) for k in range(3)] == [ETHER] * 3
    assert capture.time_ns.tolist() == [(100 + k) * 10**9 + 5000 for k in range(3)]


def _zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": _zstd,
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed_captures(tmp_path: Path, suffix: str) -> None:
    plain = write(
        tmp_path / "a-b.pcap", [(1.0 + k, p) for k, p in enumerate(segments(task(1, 9000)))]
    )
    packed = tmp_path / f"a-b.pcap.{suffix}"
    packed.write_bytes(COMPRESSIONS[suffix](plain.read_bytes()))
    assert read_capture(packed).time_ns.tolist() == read_capture(plain).time_ns.tolist()
    assert summarise([packed]).links["link"].to_list() == ["a>b"]


def test_a_cut_gzip_gives_what_came_before(tmp_path: Path) -> None:
    frames = [(float(k), os.urandom(100)) for k in range(1, 50)]
    packed = gzip.compress(write(tmp_path / "a.pcap", frames).read_bytes())
    path = tmp_path / "cut.pcap.gz"
    path.write_bytes(packed[: len(packed) // 2])
    capture = read_capture(path)
    assert 0 < len(capture) < 49
    assert "ends early" in capture.notes[0]


def test_pipes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [(1.0, ping(1)), (1.5, ping(1, reply=True))])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    assert summarise([pipe]).links["ping_p50_s"].to_list() == [0.5]
    writer.join()
    for data in (path.read_bytes(), gzip.compress(path.read_bytes())):
        for name in ("-", "/dev/stdin"):
            command = [sys.executable, "-m", "cli", "pcap", name, "--json"]
            done = subprocess.run(command, input=data, capture_output=True, check=True, cwd=ROOT)
            assert json.loads(done.stdout)["links"][0]["ping_p50_s"] == 0.5


def test_an_endless_pipe_of_something_else_ends() -> None:
    with Path("/dev/zero").open("rb") as zeros:
        command = [sys.executable, "-m", "cli", "pcap", "-"]
        done = subprocess.run(command, stdin=zeros, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "standard input: is no pcap file" in done.stderr


def test_nanoseconds_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ns.pcapng"
    data = section() + interface(1, option(9, b"\x09"))
    for k in range(4):
        asked = 1_790_000_000_000_000_137 + k * 10**7
        data += packet(0, asked, ping(k)) + packet(0, asked + 740, ping(k, reply=True))
    path.write_bytes(data)
    assert main(["pcap", str(path)]) == 0
    assert " 0.00074 " in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_merged_captures_are_tsharks(tmp_path: Path) -> None:
    first = write(tmp_path / "a.pcap", [(1e9 + k, ping(k)) for k in range(5)])
    raw = tmp_path / "raw.pcapng"
    raw.write_bytes(section() + interface(101) + packet(0, 10**15 + 1_500_001, RAW))
    merged = tmp_path / "merged.pcapng"
    command = ["mergecap", "-w", str(merged), str(first), str(raw)]
    subprocess.run(command, check=True, capture_output=True)
    fields = ["-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.interface_id"]
    command = ["tshark", "-n", "-r", str(merged), "-T", "fields", *fields]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    capture = read_capture(merged)
    theirs = [line.split("\t") for line in done.stdout.splitlines()]
    ours = zip(capture.time_ns, capture.lengths, capture.interface, strict=True)
    assert len(theirs) == len(capture) == 6
    for (stamp, length, number), mine in zip(theirs, ours, strict=True):
        seconds, _, rest = stamp.partition(".")
        assert (int(seconds) * 10**9 + int(rest), int(length), int(number)) == tuple(mine)


BEGIN_S = 1_790_000_000


@pytest.mark.parametrize("where", [0, 40, 79])
@pytest.mark.parametrize("odd_s", [0, BEGIN_S + 18_000, BEGIN_S * 2])
def test_one_odd_stamp_spoils_nothing(tmp_path: Path, where: int, odd_s: int) -> None:
    frames = segments(task(1, 80 * 1448 - 32))
    times = [BEGIN_S + k * 0.005 for k in range(80)]
    good = summarise([write(tmp_path / "good.pcap", list(zip(times, frames, strict=True)))])
    times[where] = odd_s
    summary = summarise([write(tmp_path / "odd.pcap", list(zip(times, frames, strict=True)))])
    (row,), (right,) = summary.links.iter_rows(named=True), good.links.iter_rows(named=True)
    assert row["packets"] == right["packets"]
    assert row["mean_mbps"] == pytest.approx(right["mean_mbps"], rel=0.05)
    assert row["retransmitted"] == 0
    assert "odd time stamp" in summary.notes[0]


def test_what_is_no_odd_stamp() -> None:
    steady = 10**18 + 5_000_000 * np.arange(80)
    odd, back = odd_stamps(steady)
    assert not odd.any()
    assert back == 0
    # Two captures joined in the wrong order: every packet stays.
    odd, back = odd_stamps(np.concatenate((steady + 10**12, steady)))
    assert not odd.any()
    assert back > 10**11
    # A pause, and as much traffic behind it as before.
    assert not odd_stamps(np.concatenate((steady, steady + 3600 * 10**9)))[0].any()


def test_equal_stamps_have_no_rate(tmp_path: Path) -> None:
    summary = summarise([write(tmp_path / "a.pcap", [(5.0, segment(0))] * 3)])
    assert summary.links["mean_mbps"].to_list() == [None]
    assert "all time stamps are equal" in summary.missing["reason"].to_list()

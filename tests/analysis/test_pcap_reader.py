"""Files of packets: every byte order and precision, every way of being broken."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, CookedLinuxV2, Ether
from scapy.packet import Raw
from scapy.utils import PcapWriter

from analysis.pcap.fields import packet_table
from analysis.pcap.reader import read_capture
from model.errors import UserError
from tests.analysis.captures import segments, task, write


def mixture(count: int, seed: int) -> list[bytes]:
    """All kinds of packets, also strange ones."""
    draw = random.Random(seed)
    found = []
    for k in range(count):
        payload = Raw(bytes(draw.randrange(0, 1200)))
        ip = IP(src=f"10.1.0.{draw.randrange(1, 255)}", dst="10.2.0.1", id=k % 65536)
        options = draw.choice(
            [
                [],
                [("NOP", None), ("NOP", None), ("Timestamp", (k, k + 1))],
                [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (k, 0)), ("NOP", None)],
                [("NOP", None), ("WScale", 7), ("EOL", None)],
            ]
        )
        tcp = TCP(sport=draw.randrange(1, 65536), dport=80, seq=k * 977, options=options)
        fragment = IP(src="10.1.0.1", dst="10.2.0.1", frag=100, proto=6)
        found.append(
            bytes(
                Ether()
                / draw.choice(
                    [
                        ip / tcp / payload,
                        ip / UDP(sport=7, dport=9) / payload,
                        ip / ICMP(id=5, seq=k % 65536) / payload,
                        fragment / payload,
                        ARP(),
                        IPv6() / UDP() / payload,
                    ]
                )
            )
        )
    return found


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("nano", [True, False])
def test_byte_orders_and_precisions(tmp_path: Path, endianness: str, nano: bool) -> None:
    path = tmp_path / "a.pcap"
    packets = mixture(50, 1)
    with PcapWriter(str(path), endianness=endianness, nano=nano, linktype=1) as writer:
        writer.write_header(None)
        for k, data in enumerate(packets):
            writer.write_packet(data, sec=1000 + k, usec=k)
    capture = read_capture(path)
    assert [capture.packet(k + 1) for k in range(len(capture))] == packets
    assert capture.lengths.tolist() == [len(p) for p in packets]
    step = 1 if nano else 1000
    assert capture.time_ns.tolist() == [(1000 + k) * 10**9 + k * step for k in range(50)]
    assert capture.notes == []


def test_fields_are_scapys(tmp_path: Path) -> None:
    packets = mixture(300, 2)
    path = write(tmp_path / "a.pcap", [(1000.0 + k, p) for k, p in enumerate(packets)], 2000)
    table = packet_table(read_capture(path))
    for row, data in zip(table.iter_rows(named=True), packets, strict=True):
        packet = Ether(data)
        assert row["wire_bytes"] == len(data)
        if IP not in packet or packet[IP].frag:
            assert row["protocol"] == (17 if IPv6 in packet else 0)
            continue
        assert row["protocol"] == packet[IP].proto
        assert row["ip_id"] == packet[IP].id
        if TCP not in packet:
            continue
        tcp = packet[TCP]
        stamps = dict(o for o in tcp.options if o[0] == "Timestamp").get("Timestamp", (None, None))
        assert (row["source_port"], row["seq"]) == (tcp.sport, tcp.seq)
        assert (row["tsval"], row["tsecr"]) == stamps
        assert row["payload_bytes"] == packet[IP].len - 20 - 4 * tcp.dataofs


def test_a_task_in_128_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [(1.0, p) for p in segments(task(9, 3000))])
    (row,) = packet_table(read_capture(path)).filter(kind=2).iter_rows(named=True)
    assert {k: row[k] for k in ("device", "task", "attempt", "task_bytes", "value")} == {
        "device": 3,
        "task": 9,
        "attempt": 1,
        "task_bytes": 3000,
        "value": 2.5,
    }


def test_any_interface_captures_count_ethernet_headers(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    packet = CookedLinuxV2(proto=0x0800) / IP(src="10.1.1.1", dst="10.2.0.1") / TCP() / Raw(b"x")
    with PcapWriter(str(path), linktype=276) as writer:
        writer.write(packet)
    (row,) = packet_table(read_capture(path)).iter_rows(named=True)
    assert (row["protocol"], row["wire_bytes"]) == (6, 14 + 20 + 20 + 1)


def test_every_truncation_keeps_the_whole_records(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.pcap", [(1.0 + k, p) for k, p in enumerate(mixture(3, 3))])
    data, capture = whole.read_bytes(), read_capture(whole)
    ends = [24, *(int(s + c) for s, c in zip(capture.starts, capture.captured, strict=True))]
    cut = tmp_path / "cut.pcap"
    for size in range(24, len(data)):
        cut.write_bytes(data[:size])
        found = read_capture(cut)
        assert len(found) == sum(e <= size for e in ends) - 1
        assert any("truncated" in n for n in found.notes) == (size not in ends)
        packet_table(found)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\xd4\xc3\xb2\xa1\x02", "truncated within the pcap file header"),
        (b"hello, this is text", "is no pcap file"),
        (b"PAR1" + bytes(60), "is no pcap file"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 128, 105), "link type 105"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 128, 1) + b"\xff" * 40, "is damaged"),
    ],
)
def test_foreign_files_are_told(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    with pytest.raises(UserError, match=says):
        read_capture(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_capture(tmp_path / "none.pcap")


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_fields_are_tsharks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [(1e9 + k, p) for k, p in enumerate(mixture(500, 4))])
    names = ("frame.len", "ip.id", "tcp.len", "tcp.srcport", "tcp.options.timestamp.tsval")
    command = [
        "tshark",
        "-n",
        "-r",
        str(path),
        "-T",
        "fields",
        *(x for n in names for x in ("-e", n)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = [line.split("\t") for line in done.stdout.splitlines()]
    table = packet_table(read_capture(path))
    assert [int(t[0]) for t in theirs] == table["wire_bytes"].to_list()
    for t, row in zip(theirs, table.iter_rows(named=True), strict=True):
        if row["protocol"] == 6:
            assert int(t[1], 16) == row["ip_id"]
            assert int(t[2]) == row["payload_bytes"]
            assert int(t[3]) == row["source_port"]
            assert (int(t[4]) if t[4] else None) == row["tsval"]

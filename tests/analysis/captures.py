"""Synthetic captures, written by scapy and dpkt, so that the reader is checked by strangers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import dpkt
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.l2 import Ether

from model.wire_format import HEADER, MAGIC, VERSION, Kind

DEVICE, EDGE = "10.1.1.1", "10.2.0.1"
PORT, ISN = 40000, 2**32 - 3000  # the sequence numbers wrap within the first few segments
MSS = 1448


def segment(
    offset: int,
    payload: bytes = b"",
    *,
    ip_id: int = 0,
    stamp: int = 0,
    echo: int = 0,
    back: bool = False,
) -> bytes:
    """A segment of a device's connection to an edge; ``back``: of the edge to the device."""
    source, target = (EDGE, DEVICE) if back else (DEVICE, EDGE)
    tcp = TCP(flags="A", options=[("NOP", None), ("NOP", None), ("Timestamp", (stamp, echo))])
    tcp.sport, tcp.dport = (5000, PORT) if back else (PORT, 5000)
    setattr(tcp, "ack" if back else "seq", (ISN + offset) % 2**32)
    return bytes(Ether() / IP(src=source, dst=target, id=ip_id) / tcp / payload)


def ping(number: int, *, reply: bool = False) -> bytes:
    """An echo request of a device to an edge, or its reply."""
    source, target = (EDGE, DEVICE) if reply else (DEVICE, EDGE)
    icmp = ICMP(type=0 if reply else 8, id=77, seq=number)
    return bytes(Ether() / IP(src=source, dst=target, id=number) / icmp / (b"\0" * 16))


def task(number: int, data: int, *, device: int = 3, attempt: int = 1) -> bytes:
    """A task as it stands in the byte stream: header, then data."""
    return HEADER.pack(MAGIC, VERSION, Kind.TASK, device, number, attempt, data, 2.5) + bytes(data)


def segments(*frames: bytes) -> list[bytes]:
    """Frames cut into segments, each from a segment's beginning on; rising IP ids and stamps."""
    begin = 0
    found: list[bytes] = []
    for frame in frames:
        for at in range(0, len(frame), MSS):
            k = len(found)
            payload = frame[at : at + MSS]
            found.append(segment(begin + at, payload, ip_id=k + 1, stamp=1000 + k))
        begin += len(frame)
    return found


def write(path: Path, packets: Iterable[tuple[float, bytes]], snaplen: int = 128) -> Path:
    """A classic pcap file with nanoseconds, as the lab's own captures are."""
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, snaplen=snaplen, nano=True)
        for time_s, data in packets:
            # dpkt's writer takes the captured bytes for all that there were.
            header = dpkt.pcap.LEPktHdr(
                tv_sec=int(time_s),
                tv_usec=round(time_s % 1 * 1e9),
                caplen=min(len(data), snaplen),
                len=len(data),
            )
            writer._Writer__f.write(bytes(header) + data[:snaplen])
    return path

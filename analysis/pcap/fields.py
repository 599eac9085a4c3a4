"""Takes the headers of all packets of a capture apart at once: columns instead of packets."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.pcap.reader import ETHERNET, LINK_HEADER_BYTES, LINUX_SLL, LINUX_SLL2, Capture
from model import wire_format
from model.addressing import TASK_PORT

ICMP, TCP, UDP = 1, 6, 17
ECHO_REPLY, ECHO_REQUEST = 0, 8
SYN, FIN, RST, ACK = 0x02, 0x01, 0x04, 0x10
_IPV4 = 0x0800
_ETHERNET_BYTES = LINK_HEADER_BYTES[ETHERNET]
_PROTOCOL_AT = {ETHERNET: 12, LINUX_SLL: 14, LINUX_SLL2: 0}
"""Where the link header names the protocol of what follows."""

Bools = NDArray[np.bool_]
Positions = NDArray[np.int64]


class _Bytes:
    """Big-endian numbers at many positions of a capture at once."""

    def __init__(self, data: NDArray[np.uint8]):
        self._data, self._last = data, len(data) - 9

    def u8(self, at: Positions) -> NDArray[np.uint8]:
        # A field beyond the captured bytes may lie beyond the file; its value is masked later.
        return self._data[np.minimum(at, self._last)]

    def u16(self, at: Positions) -> NDArray[np.uint16]:
        return (self.u8(at).astype(np.uint16) << np.uint16(8)) | self.u8(at + 1)

    def u32(self, at: Positions) -> NDArray[np.uint32]:
        return (self.u16(at).astype(np.uint32) << np.uint32(16)) | self.u16(at + 2)

    def u64(self, at: Positions) -> NDArray[np.uint64]:
        return (self.u32(at).astype(np.uint64) << np.uint64(32)) | self.u32(at + 4)


def packet_table(capture: Capture) -> pl.DataFrame:
    """One row a packet, in the file's order.

    Columns: ``number`` from 1; ``time_ns``; ``wire_bytes``, with 14 bytes of Ethernet header
    whatever the file's link type, as a queue counts them; ``protocol`` (0: not IPv4, or headers not
    captured); ``source``, ``target`` (IPv4 addresses); ``ip_id``; ``source_port``, ``target_port``
    (of a ping: its identifier); ``seq`` (of a ping: its number), ``ack``, ``flags``;
    ``payload_bytes`` of TCP; ``tsval``, ``tsecr`` (TCP timestamps; null where there are none);
    ``echo`` (ICMP type of a ping, else 255); and of a frame header at the beginning of a TCP
    payload ``kind`` (0: none), ``device``, ``task``, ``attempt``, ``task_bytes``, ``value``.
    """
    count = len(capture)
    link_bytes = LINK_HEADER_BYTES[capture.link_type]
    read, ip = _Bytes(capture.data), capture.starts + link_bytes
    end = capture.starts + capture.captured
    is_ip = (ip + 20 <= end) & (read.u8(ip) >> 4 == 4)
    if capture.link_type in _PROTOCOL_AT:
        is_ip &= read.u16(capture.starts + _PROTOCOL_AT[capture.link_type]) == _IPV4
    transport = ip + (read.u8(ip) & 0x0F).astype(np.int64) * 4
    # Only the first fragment has ports; the others would be read as noise.
    first = (read.u16(ip + 6) & 0x1FFF) == 0
    protocol = np.where(is_ip & first, read.u8(ip + 9), 0).astype(np.uint8)
    needed = np.select([protocol == TCP, protocol == ICMP, protocol == UDP], [20, 8, 8], 0)
    protocol[transport + needed > end] = 0
    columns: dict[str, NDArray[np.generic]] = {
        "number": np.arange(1, count + 1, dtype=np.uint32),
        "time_ns": capture.time_ns,
        "wire_bytes": capture.lengths - link_bytes + _ETHERNET_BYTES,
        "protocol": protocol,
        "source": np.where(is_ip, read.u32(ip + 12), 0).astype(np.uint32),
        "target": np.where(is_ip, read.u32(ip + 16), 0).astype(np.uint32),
        "ip_id": np.where(is_ip, read.u16(ip + 4), 0).astype(np.uint16),
        **_transport(read, protocol, transport),
    }
    ip_bytes = read.u16(ip + 2).astype(np.int64)
    tcp = protocol == TCP
    header_bytes = (read.u8(transport + 12) >> 4).astype(np.int64) * 4
    payload = np.where(tcp, ip + ip_bytes - transport - header_bytes, 0)
    columns["payload_bytes"] = np.maximum(payload, 0)
    table = pl.DataFrame(columns)
    stamps = _timestamps(read, tcp, transport, np.minimum(transport + header_bytes, end))
    frames = _frames(read, columns, transport + header_bytes, end)
    return table.with_columns(*stamps, *frames)


def _transport(
    read: _Bytes, protocol: NDArray[np.uint8], at: Positions
) -> dict[str, NDArray[np.generic]]:
    """Ports, sequence numbers and flags; a ping's identifier and number stand in their places."""
    tcp, icmp = protocol == TCP, protocol == ICMP
    ports = tcp | (protocol == UDP)
    kind = read.u8(at)
    ping = icmp & ((kind == ECHO_REQUEST) | (kind == ECHO_REPLY))
    zero16, zero32 = np.uint16(0), np.uint32(0)
    identifier, number = read.u16(at + 4), read.u16(at + 6).astype(np.uint32)
    return {
        "source_port": np.select([ports, ping], [read.u16(at), identifier], zero16),
        "target_port": np.select([ports, ping], [read.u16(at + 2), identifier], zero16),
        "seq": np.select([tcp, ping], [read.u32(at + 4), number], zero32),
        "ack": np.where(tcp, read.u32(at + 8), zero32),
        "flags": np.where(tcp, read.u8(at + 13), np.uint8(0)),
        "echo": np.where(ping, kind, np.uint8(255)),
    }


def _timestamps(read: _Bytes, tcp: Bools, transport: Positions, end: Positions) -> list[pl.Series]:
    """TCP timestamp options: at their usual place, else wherever the options lead to."""
    options = transport + 20
    usual = tcp & (options + 12 <= end) & (read.u32(options) == 0x0101080A)
    at = np.where(usual, options + 2, -1)
    rows = np.flatnonzero(tcp & ~usual & (options < end))
    position, limit = options[rows], end[rows]
    while len(rows):  # at most 40 times: every step leads at least a byte further
        kind, length = read.u8(position), read.u8(position + 1).astype(np.int64)
        found = (kind == 8) & (position + 10 <= limit)
        at[rows[found]] = position[found]
        step = np.where(kind == 1, 1, np.maximum(length, 2))
        going = ~found & (kind != 0) & (position + step < limit)
        rows, position, limit = rows[going], (position + step)[going], limit[going]
    present = at >= 0
    return [
        pl.Series(name, read.u32(np.where(present, at + offset, 0))).set(pl.Series(~present), None)
        for name, offset in (("tsval", 2), ("tsecr", 6))
    ]


def _frames(
    read: _Bytes, columns: dict[str, NDArray[np.generic]], at: Positions, end: Positions
) -> list[pl.Series]:
    """The headers of tasks and answers that stand at the beginning of a TCP payload."""
    ours = (columns["source_port"] == TASK_PORT) | (columns["target_port"] == TASK_PORT)
    whole = at + wire_format.HEADER_BYTES <= end
    rows = np.flatnonzero(ours & (columns["protocol"] == TCP) & whole)
    magic = int.from_bytes(wire_format.MAGIC, "big")
    rows = rows[read.u32(at[rows]) == magic]
    where = at[rows]

    def column(name: str, values: NDArray[np.generic]) -> pl.Series:
        full = np.zeros(len(at), values.dtype)
        full[rows] = values
        return pl.Series(name, full)

    return [
        column("kind", read.u8(where + wire_format.KIND_AT)),
        column("device", read.u16(where + wire_format.DEVICE_AT)),
        column("task", read.u32(where + wire_format.TASK_AT)),
        column("attempt", read.u32(where + wire_format.ATTEMPT_AT)),
        column("task_bytes", read.u64(where + wire_format.PAYLOAD_AT).astype(np.int64)),
        column("value", read.u64(where + wire_format.VALUE_AT).view(np.float64)),
    ]

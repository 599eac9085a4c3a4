"""Takes the headers of all packets of a capture apart at once: columns instead of packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.pcap.capture import ETHERNET, LINK_HEADER_BYTES, LINUX_SLL2, Capture, Numbers
from analysis.pcap.layers import Layers, Remark, Status
from model import wire_format
from model.addressing import TASK_PORT
from model.aliases import BoolArray, IntArray

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
ECHO_REPLY, ECHO_REQUEST = 0, 8
_ECHO6_REQUEST, _ECHO6_REPLY = 128, 129
SYN, FIN, RST, ACK = 0x02, 0x01, 0x04, 0x10
_ETHERNET_BYTES = LINK_HEADER_BYTES[ETHERNET]
_HEADER_BYTES = {TCP: 20, UDP: 8, ICMP: 8, ICMP6: 8}
_MAGIC = np.frombuffer(wire_format.MAGIC, np.uint8)


@dataclass(frozen=True)
class Decoded:
    """The packets of a capture as columns, see ``decode``; IPv6 addresses by their hashes."""

    table: pl.DataFrame
    addresses: dict[int, int]


def packet_table(capture: Capture) -> pl.DataFrame:
    """The columns of ``decode``."""
    return decode(capture).table


def decode(capture: Capture) -> Decoded:
    """Decode all headers of a capture: one row a packet, in the file's order.

    Columns: ``number`` from 1; ``time_ns``; ``timed`` (has a time stamp); ``interface`` (its
    position in the file, of LINUX_SLL2 the number that the packet carries); ``wire_bytes``, with
    14 bytes of Ethernet header whatever the link type, as a queue counts them; ``status`` and
    ``remark``, see ``analysis.pcap.layers``; ``ethertype``; ``protocol`` (of IP; 0: unknown);
    ``whole`` (its transport header was captured to the end); ``source``, ``target`` (IPv4
    addresses, hashes of IPv6 ones); ``ip_id``; ``vlan``, ``tunnel``; ``source_port``,
    ``target_port`` (of a ping: its identifier); ``seq`` (of a ping: its number), ``ack``,
    ``flags``; ``check`` (checksum of UDP and ICMP); ``payload_bytes`` of TCP; ``tsval``,
    ``tsecr`` (TCP timestamps; null where there are none); ``echo`` (ICMP type of a ping, else 255);
    and of a frame header at the beginning of a TCP payload ``kind`` (0: none), ``device``,
    ``task``, ``attempt``,
    ``task_bytes``, ``value``.
    """
    count, read = len(capture), Numbers(capture.data)
    layers = Layers(capture, read)
    transport, end = layers.transport, layers.end
    protocol, whole = _transports(layers)
    tcp = (protocol == TCP) & whole
    columns: dict[str, NDArray[np.generic]] = {
        "number": np.arange(1, count + 1, dtype=np.uint32),
        "time_ns": capture.time_ns,
        "timed": capture.timed,
        "interface": _interfaces(capture, read),
        "wire_bytes": np.maximum(
            layers.wire_end - capture.starts - layers.link_bytes + _ETHERNET_BYTES, 0
        ),
        "status": layers.status,
        "ethertype": layers.kind.astype(np.uint16),
        "protocol": protocol,
        "whole": whole,
        "source": layers.source,
        "target": layers.target,
        "ip_id": layers.ip_id,
        "vlan": layers.vlan,
        "tunnel": layers.tunnel,
        **_transport(read, protocol, whole, transport),
    }
    header_bytes = np.where(tcp, read.u8(transport + 12) >> 4, 0).astype(np.int64) * 4
    payload = np.where(tcp, layers.length_end - transport - header_bytes, 0)
    columns["payload_bytes"] = np.maximum(payload, 0)
    options_end = transport + header_bytes
    layers.remark[tcp & (options_end > end)] |= np.uint8(Remark.OPTIONS_CUT)
    stamps = _timestamps(read, tcp, transport, np.minimum(options_end, end))
    frames = _frames(read, columns, options_end, end)
    _remark_task_headers(layers, read, columns, options_end)
    columns["remark"] = layers.remark
    return Decoded(pl.DataFrame(columns).with_columns(*stamps, *frames), layers.addresses)


def _interfaces(capture: Capture, read: Numbers) -> NDArray[np.int64]:
    """Each packet's interface; those of LINUX_SLL2 captures are told apart by the index in it."""
    own = capture.link_types == LINUX_SLL2
    if not own.any():
        return capture.interface
    index = read.u32(capture.starts + 4).astype(np.int64)
    return np.where(own, capture.interface + (index << 32), capture.interface)


def _transports(layers: Layers) -> tuple[NDArray[np.uint8], BoolArray]:
    """IP's protocol of each packet whose ports were captured; whether the whole header was."""
    protocol, at, end = layers.protocol, layers.transport, layers.end
    known = np.isin(protocol, tuple(_HEADER_BYTES))
    needed = np.select([protocol == TCP, known], [20, 8], 0)
    whole = at + needed <= end
    cut = known & ~whole
    if cut.any():
        layers.remark[cut] |= np.uint8(Remark.TRANSPORT_CUT)
        ports = (protocol == TCP) | (protocol == UDP)
        lost = cut & (~ports | (at + 4 > end))
        layers.status[lost] = Status.CUT
        protocol = np.where(lost, 0, protocol).astype(np.uint8)
    return protocol, whole & (protocol > 0)


def _transport(
    read: Numbers, protocol: NDArray[np.uint8], whole: BoolArray, at: IntArray
) -> dict[str, NDArray[np.generic]]:
    """Ports, sequence numbers and flags; a ping's identifier and number stand in their places."""
    tcp, icmp = (protocol == TCP) & whole, (protocol == ICMP) & whole
    ports, udp = (protocol == TCP) | (protocol == UDP), (protocol == UDP) & whole
    kind = read.u8(at)
    ping = icmp & ((kind == ECHO_REQUEST) | (kind == ECHO_REPLY))
    if (icmp6 := (protocol == ICMP6) & whole).any():
        request, reply = icmp6 & (kind == _ECHO6_REQUEST), icmp6 & (kind == _ECHO6_REPLY)
        kind = np.where(request, ECHO_REQUEST, np.where(reply, ECHO_REPLY, kind)).astype(np.uint8)
        ping |= request | reply
        icmp |= icmp6
    zero16, zero32 = np.uint16(0), np.uint32(0)
    identifier: Any = zero16
    number: Any = zero16
    checks: Any = zero16
    if icmp.any():
        identifier, number = read.u16(at + 4), read.u16(at + 6)
    if (other := udp | icmp).any():
        checks = np.select([udp, other], [read.u16(at + 6), read.u16(at + 2)], zero16)
    words = read.u32(at)
    first, second = (words >> np.uint32(16)).astype(np.uint16), words.astype(np.uint16)
    return {
        "source_port": np.select([ports, ping], [first, identifier], zero16),
        "target_port": np.select([ports, ping], [second, identifier], zero16),
        "seq": np.select([tcp, ping], [read.u32(at + 4), np.uint32(number)], zero32),
        "ack": np.where(tcp, read.u32(at + 8), zero32),
        "flags": np.where(tcp, read.u8(at + 13), np.uint8(0)),
        "check": np.zeros(len(at), np.uint16) + checks,
        "echo": np.where(ping, kind, np.uint8(255)),
    }


def _remark_task_headers(
    layers: Layers, read: Numbers, columns: dict[str, NDArray[np.generic]], at: IntArray
) -> None:
    """Remark on segments of tasks' connections whose first bytes were not captured to the end."""
    ours = (columns["source_port"] == TASK_PORT) | (columns["target_port"] == TASK_PORT)
    ours &= (columns["protocol"] == TCP) & (columns["payload_bytes"].astype(np.int64) > 0)
    begun = ours & (at + wire_format.HEADER_BYTES > layers.end)
    begun &= layers.length_end > layers.end
    rows = np.flatnonzero(begun)
    if not len(rows):
        return
    seen = np.clip(layers.end[rows] - at[rows], 0, len(_MAGIC))
    alike = np.ones(len(rows), bool)
    for k, byte in enumerate(_MAGIC):
        alike &= (seen <= k) | (read.u8(at[rows] + k) == byte)
    layers.remark[rows[alike & (seen > 0)]] |= np.uint8(Remark.TASK_HEADER_CUT)
    layers.remark[rows[seen == 0]] |= np.uint8(Remark.TASK_HEADER_UNKNOWN)


def _timestamps(
    read: Numbers, tcp: BoolArray, transport: IntArray, end: IntArray
) -> list[pl.Series]:
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
    read: Numbers, columns: dict[str, NDArray[np.generic]], at: IntArray, end: IntArray
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

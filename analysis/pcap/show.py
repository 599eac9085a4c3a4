"""One packet of a capture, decoded field by field."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.pcap.fields import packet_table
from analysis.pcap.flows import with_flows
from analysis.pcap.points import names_around
from analysis.pcap.reader import ETHERNET, LINUX_SLL, LINUX_SLL2, RAW_IP, Capture
from model.addressing import TASK_PORT
from model.errors import UserError
from model.wire_format import HEADER, HEADER_BYTES, MAGIC, Kind

_FIELDS = ("magic", "version", "kind", "device", "task", "attempt", "payload_bytes", "value")


def show(capture: Capture, number: int) -> str:
    """Packet ``number``, counted from 1, as text; a task's header is decoded, too.

    Raises ``UserError`` if the capture has no such packet.
    """
    if not 1 <= number <= len(capture):
        raise UserError(f"{capture.path}: has packets 1 to {len(capture)}, none is number {number}")
    packet = _first_layer(capture.link_type)(capture.packet(number))
    text = str(packet.show(dump=True)).rstrip() + _frame(packet) + _belongs_to(capture, number)
    stamp = int(capture.time_ns[number - 1])
    head = f"packet {number} of {len(capture)}, at {stamp // 10**9}.{stamp % 10**9:09d} s"
    missing = int(capture.lengths[number - 1] - capture.captured[number - 1])
    tail = f"\n({missing} more bytes were on the wire and not captured)" if missing else ""
    return f"{head}\n{text}{tail}"


def _belongs_to(capture: Capture, number: int) -> str:
    """Whose byte stream a segment in the midst of a task carries on; '' if it is none."""
    packets = with_flows(packet_table(capture).with_columns(point=pl.lit(0, pl.UInt16)))
    row = packets.row(by_predicate=pl.col("number") == number, named=True)
    if not row["kind"]:
        return ""
    known = {int(k): k.name for k in Kind}
    device = names_around(capture.path).device(row["device"])
    again = ", retransmitted" if row["retransmitted"] else ""
    return (
        f"\n(bytes of {known.get(row['kind'], row['kind'])} of task {row['task']} of {device}, "
        f"attempt {row['attempt']}{again})"
    )


def _first_layer(link_type: int) -> Any:
    # Scapy takes half a second to import, which nothing else here should pay for.
    from scapy.layers.inet import IP
    from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Ether

    layers = {ETHERNET: Ether, RAW_IP: IP, LINUX_SLL: CookedLinux, LINUX_SLL2: CookedLinuxV2}
    return layers[link_type]


def _frame(packet: Any) -> str:
    """The header of a task or of its answer, in scapy's manner; '' where there is none."""
    if "TCP" not in packet or TASK_PORT not in (packet["TCP"].sport, packet["TCP"].dport):
        return ""
    payload = bytes(packet["TCP"].payload)
    if not payload.startswith(MAGIC) or len(payload) < HEADER_BYTES:
        return ""
    values = dict(zip(_FIELDS, HEADER.unpack(payload[:HEADER_BYTES]), strict=True))
    known = {int(k): k.name for k in Kind}
    values["kind"] = known.get(values["kind"], values["kind"])
    lines = [f"  {name:<15} = {value}" for name, value in values.items()]
    return "\n###[ task frame ]###\n" + "\n".join(lines)

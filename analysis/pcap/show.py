"""One packet of a capture, decoded field by field."""

from __future__ import annotations

import struct
from typing import Any

import polars as pl

from analysis.pcap.capture import Capture
from analysis.pcap.fields import packet_table
from analysis.pcap.flows import with_flows
from analysis.pcap.points import names_around
from analysis.pcap.source import name_of
from model.addressing import TASK_PORT
from model.errors import UserError
from model.wire_format import HEADER, HEADER_BYTES, MAGIC, Kind

_FIELDS = ("magic", "version", "kind", "device", "task", "attempt", "payload_bytes", "value")


def show(capture: Capture, number: int) -> str:
    """Packet ``number``, counted from 1, as text; a task's header is decoded, too.

    Raises ``UserError`` if the capture has no such packet.
    """
    if not 1 <= number <= len(capture):
        raise UserError(
            f"{name_of(capture.path)}: has packets 1 to {len(capture)}, none is number {number}"
        )
    link_type = int(capture.link_types[number - 1])
    packet = _dissected(link_type, capture.packet(number))
    text = str(packet.show(dump=True)).rstrip() + _frame(packet) + _belongs_to(capture, number)
    stamp = int(capture.time_ns[number - 1])
    when = f"at {stamp // 10**9}.{stamp % 10**9:09d} s"
    if not capture.timed[number - 1]:
        when = "without a time stamp that can be one"
    interface = capture.interfaces[int(capture.interface[number - 1])]
    where = f", interface {interface.name or link_type}" if len(capture.interfaces) > 1 else ""
    head = f"packet {number} of {len(capture)}, {when}{where}"
    missing = int(capture.lengths[number - 1] - capture.captured[number - 1])
    tail = f"\n({missing} more bytes were on the wire and not captured)" if missing else ""
    return f"{head}\n{text}{tail}"


def _belongs_to(capture: Capture, number: int) -> str:
    """Whose byte stream a segment in the midst of a task carries on; '' if it is none."""
    packets = with_flows(packet_table(capture).with_columns(flow_path=pl.lit(0, pl.UInt32)))
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


def _dissected(link_type: int, data: bytes) -> Any:
    """A packet in scapy's layers; of a first layer that is cut, or unknown, only the bytes."""
    # Scapy takes half a second to import, which nothing else here should pay for. Importing a layer
    # registers it with its link type or with the layer below.
    import scapy.layers.inet
    import scapy.layers.inet6
    import scapy.layers.ppp
    import scapy.layers.vxlan  # noqa: F401
    from scapy.config import conf
    from scapy.packet import Raw

    try:
        return conf.l2types.num2layer.get(link_type, Raw)(data)
    except (struct.error, IndexError, ValueError):  # scapy raises these for the outermost layer
        return Raw(data)


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

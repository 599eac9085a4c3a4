"""Says what of the captures was not understood, and why a number could not be measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from analysis.pcap.capture import LINK_NAMES, LINUX_SLL
from analysis.pcap.fields import ECHO_REPLY, ECHO_REQUEST, ICMP, ICMP6, TCP, UDP
from analysis.pcap.layers import Remark, Status
from analysis.pcap.points import Point

_ETHERTYPES = {0x0806: "ARP", 0x88CC: "LLDP", 0x8863: "PPPoE discovery", 0x888E: "EAPOL",
               0x8808: "pause", 0x88F7: "PTP", 0x8942: "BDDP"}  # fmt: skip
_PROTOCOLS = {2: "IGMP", 47: "GRE", 50: "ESP", 89: "OSPF", 112: "VRRP", 132: "SCTP"}
_ONLY_COUNTED = "they count in packets and bytes only"
_STATUS_TEXTS = {
    Status.NOT_IP: "no IP ({details}); " + _ONLY_COUNTED,
    Status.CUT: "headers are cut, too few bytes were captured; " + _ONLY_COUNTED,
    Status.LATER_FRAGMENT: "IP fragments after the first, without ports; " + _ONLY_COUNTED,
    Status.MALFORMED: "malformed IP headers; " + _ONLY_COUNTED,
    Status.ENCAPSULATED: "encapsulation that is not decoded; " + _ONLY_COUNTED,
    Status.LINK_TYPE: "link type {link} is not decoded; " + _ONLY_COUNTED,
}
_REMARK_TEXTS = {
    Remark.NO_LENGTH: "IP length 0 (segmentation offload); the frame's length was taken",
    Remark.TUNNELLED: "in tunnels; addresses, ports and delays are those of the packets within",
    Remark.TUNNEL_NOT_DECODED: "in tunnels whose inside is not decoded; they count as the tunnel's",
    Remark.TRANSPORT_CUT: "transport headers are cut, too few bytes were captured; not in "
    "retransmissions, round trips and queue times",
    Remark.OPTIONS_CUT: "TCP options are cut, too few bytes were captured; where timestamps are "
    "missing, not in round trips",
    Remark.TASK_HEADER_CUT: "a task's header is cut, too few bytes were captured; the task is "
    "missing among the flows",
    Remark.TASK_HEADER_UNKNOWN: "to or from the tasks' port, too few bytes were captured to find "
    "the headers of tasks",
}
_EACH_TOLD = 3
"""The same sentence on more captures than this becomes one on all of them."""

COUNTS = ["timed_packets", "tcp", "segments", "data_segments", "stamped", "options_cut",
          "requests", "replies", "cut"]  # fmt: skip
"""Columns of ``counts``."""


def counts() -> dict[str, pl.Expr]:
    """How many packets each measurement had to work with, for ``missing``."""
    tcp, whole = pl.col("protocol") == TCP, pl.col("whole")
    remark = pl.col("remark")
    return {
        "timed_packets": pl.col("timed").sum(),
        "tcp": tcp.sum(),
        "segments": (tcp & whole).sum(),
        "data_segments": (tcp & whole & (pl.col("payload_bytes") > 0)).sum(),
        "stamped": (tcp & (pl.col("payload_bytes") > 0) & pl.col("tsval").is_not_null()).sum(),
        "options_cut": (remark & int(Remark.OPTIONS_CUT) != 0).sum(),
        "requests": (pl.col("echo") == ECHO_REQUEST).sum(),
        "replies": (pl.col("echo") == ECHO_REPLY).sum(),
        "cut": (
            (pl.col("status") == int(Status.CUT)) | (remark & int(Remark.TRANSPORT_CUT) != 0)
        ).sum(),
    }


def missing(links: pl.DataFrame) -> pl.DataFrame:
    """A row for each number that was not measured: key, ``column``, ``reason``."""
    rows = [
        {**{k: row[k] for k in ("run", "capture", "link")}, "column": column, "reason": reason}
        for row in links.iter_rows(named=True)
        for column, reason in _reasons(row)
    ]
    kinds = {"run": pl.UInt32, "capture": pl.String, "link": pl.String, "column": pl.String,
             "reason": pl.String}  # fmt: skip
    return pl.DataFrame(rows, schema=kinds)


def _reasons(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if row["entered"] is None:
        yield "entered", "what enters the queue was not captured"
    not_left = "what leaves the queue was not captured" if row["packets"] is None else ""
    if not_left:
        yield "packets", not_left
    for column, reason in (
        ("mean_mbps", _no_rate),
        ("retransmitted", _no_retransmissions),
        ("rtt_p50_s", _no_round_trip),
        ("ping_p50_s", _no_ping),
        ("wait_p50_s", _no_wait),
    ):
        if row[column] is None:
            yield column, not_left or reason(row)


def _no_rate(row: dict[str, Any]) -> str:
    if not row["packets"]:
        return "no packet"
    return "all time stamps are equal" if row["timed_packets"] else "no time stamps"


def _no_retransmissions(row: dict[str, Any]) -> str:
    if row["tcp"] and not row["segments"]:
        return "TCP headers are cut"
    return "headers are cut" if row["cut"] else "no TCP"


def _no_round_trip(row: dict[str, Any]) -> str:
    if not row["segments"]:
        return _no_retransmissions(row)
    if not row["data_segments"]:
        return "no TCP segment with data"
    if not row["stamped"]:
        return "TCP timestamps are cut" if row["options_cut"] else "TCP without timestamps"
    return (
        "no acknowledgement that echoes a timestamp" if row["timed_packets"] else "no time stamps"
    )


def _no_ping(row: dict[str, Any]) -> str:
    if row["requests"]:
        return "no reply to a ping" if row["timed_packets"] else "no time stamps"
    return "headers are cut" if row["cut"] else "no ping"


def _no_wait(row: dict[str, Any]) -> str:
    if not row["both_sides"]:
        return "the other side of the queue was not captured"
    return (
        "headers are cut" if row["cut"] else "no packet was recognised on both sides of the queue"
    )


def notes_on(packets: pl.DataFrame, points: Sequence[Point]) -> list[str]:
    """Sentences on packets that were not understood, or not as a user may think."""
    rows: dict[str, list[tuple[str, int, int]]] = {}
    total = packets.group_by("point").agg(n=pl.len())
    sizes = dict(zip(total["point"], total["n"], strict=True))
    for point, text, count in (*_on_status(packets, points), *_on_remarks(packets, points)):
        rows.setdefault(text, []).append((_name(points[point]), count, sizes[point]))
    return [note for text, found in rows.items() for note in _sentences(text, found)]


def _name(point: Point) -> str:
    return point.capture + (f" [{point.interface}]" if point.interface else "")


def _sentences(text: str, found: Sequence[tuple[str, int, int]]) -> Iterator[str]:
    if len(found) <= _EACH_TOLD:
        for name, count, size in found:
            yield f"{name}: {count} of {size} packets: {text}"
        return
    count, size = sum(f[1] for f in found), sum(f[2] for f in found)
    yield f"{found[0][0]} and {len(found) - 1} more: {count} of {size} packets: {text}"


def _on_status(packets: pl.DataFrame, points: Sequence[Point]) -> Iterator[tuple[int, str, int]]:
    strange = packets.filter(pl.col("status") > 0)
    if len(strange):
        table = strange.group_by("point", "status").agg(
            n=pl.len(), kinds=pl.col("ethertype").value_counts(sort=True)
        )
        for row in table.sort("point", "status").iter_rows(named=True):
            link = points[row["point"]].link_type
            link_name = f"{link} ({LINK_NAMES[link]})" if link in LINK_NAMES else str(link)
            details = _listed(
                (_ETHERTYPES.get(k["ethertype"], f"type 0x{k['ethertype']:04x}"), k["count"])
                for k in row["kinds"]
            )
            text = _STATUS_TEXTS[Status(row["status"])]
            yield row["point"], text.format(details=details, link=link_name), row["n"]
    plain = pl.col("protocol").is_in([0, ICMP, TCP, UDP, ICMP6])
    other = packets.filter((pl.col("status") == 0) & ~plain)
    for point, mine in other.group_by("point", maintain_order=True):
        kinds = mine["protocol"].value_counts(sort=True).iter_rows()
        details = _listed((_PROTOCOLS.get(k, f"protocol {k}"), n) for k, n in kinds)
        yield point[0], f"IP without ports ({details}); flows by addresses only", len(mine)


def _listed(found: Iterable[tuple[str, int]]) -> str:
    """``ARP 3, LLDP 1``; three at most."""
    named = [f"{name} {count}" for name, count in found]
    return ", ".join(named[:3]) + (", …" if len(named) > 3 else "")


def _on_remarks(packets: pl.DataFrame, points: Sequence[Point]) -> Iterator[tuple[int, str, int]]:
    of_links = [k for k, p in enumerate(points) if p.source]
    marked = packets.filter((pl.col("remark") > 0) & (pl.col("status") == 0))
    for remark, text in _REMARK_TEXTS.items():
        mine = marked.filter(pl.col("remark") & int(remark) != 0)
        if remark == Remark.TASK_HEADER_UNKNOWN:
            mine = mine.filter(pl.col("point").is_in(of_links))
        for row in mine.group_by("point").agg(n=pl.len()).sort("point").iter_rows():
            yield row[0], text, row[1]
    for number, point in enumerate(points):
        size = int((packets["point"] == number).sum()) if point.link_type == LINUX_SLL else 0
        if size:
            yield number, ("'any' capture of the first version (LINUX_SLL), which does not tell "
                           "interfaces apart: a packet that crossed two of them counts twice, and "
                           "as retransmitted"), size  # fmt: skip

"""What captures tell of links and of tasks, as tables.

All times are real time, as the packets were captured; a run with speed-up k has k scenario seconds
in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from analysis.pcap.delays import round_trips, waits
from analysis.pcap.fields import packet_table
from analysis.pcap.flows import FLOW, FRAME, with_flows
from analysis.pcap.points import Names, Point, names_around, point_of
from analysis.pcap.reader import read_capture
from model.errors import UserError
from model.wire_format import Kind

_INTERVALS = 200


@dataclass(frozen=True)
class Summary:
    """Tables of some captures; times in s since the first packet of all of them.

    Attributes:
        links: a row a link: packets and bytes that left its queue, Mbps, retransmissions, packets
            that entered the queue, round trips, waiting.
        flows: a row a link, connection and task.
        rates: a row a link and interval: packets, bytes, Mbps.
        rtts: every round trip.
        waits: every packet's time in a queue.
        interval_s: of ``rates``.
        notes: what was left out, in sentences.
        speedup: scenario seconds per second.
        verdict: of the run that was captured on its own numbers; "" for foreign captures.
    """

    links: pl.DataFrame
    flows: pl.DataFrame
    rates: pl.DataFrame
    rtts: pl.DataFrame
    waits: pl.DataFrame
    interval_s: float
    notes: list[str] = field(default_factory=list)
    speedup: float = 1.0
    verdict: str = ""

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by name, as they are written."""
        return {
            "links": self.links,
            "flows": self.flows,
            "rates": self.rates,
            "rtts": self.rtts,
            "waits": self.waits,
        }


def read_packets(files: Sequence[Path]) -> tuple[pl.DataFrame, list[Point], list[str]]:
    """All packets of some captures, what each file shows, and notes.

    Raises ``UserError`` as ``read_capture`` does, or if there is not a single packet.
    """
    tables, points, notes = [], [], []
    for number, file in enumerate(files):
        capture = read_capture(file)
        points.append(point_of(file))
        notes += [capture.note] if capture.note else []
        column = pl.lit(number, pl.UInt16).alias("point")
        tables.append(packet_table(capture).with_columns(column))
    packets = pl.concat(tables)
    if not len(packets):
        raise UserError(f"{files[0]}: no packet was captured")
    return packets, points, notes


def summarise(files: Sequence[Path]) -> Summary:
    """The tables of some captures. Raises ``UserError`` as ``read_packets`` does."""
    packets, points, notes = read_packets(files)
    packets = with_flows(packets)
    begin_ns, end_ns = packets["time_ns"].min(), packets["time_ns"].max()
    assert isinstance(begin_ns, int)  # noqa: S101 - polars knows only that it is some value
    assert isinstance(end_ns, int)  # noqa: S101
    names = names_around(files[0])
    waited, rtts = waits(packets, points), round_trips(packets, points)
    leaving = _with_waits(packets, waited)
    entering = pl.Series([p.entering for p in points]).gather(packets["point"])
    link = _link_column(points)
    entered = (
        leaving.filter(entering).group_by("point").agg(entered=pl.len()).select(link, "entered")
    )
    leaving = leaving.filter(~entering)
    duration_s = max((end_ns - begin_ns) / 1e9, 1e-9)
    interval_s = _round_interval(duration_s / _INTERVALS)
    rates = _rates(leaving, begin_ns, interval_s)
    seconds = ((pl.col("time_ns") - begin_ns) / 1e9).alias("time_s")
    rtt_table = rtts.select(link, seconds, "rtt_s", "ping")
    wait_table = waited.select(link, seconds, "wait_s")
    links = _links(leaving, duration_s).join(
        rates.group_by("point").agg(peak_mbps=pl.col("mbps").max()), on="point", how="left"
    )
    return Summary(
        links=_with_delays(
            links.select(link, pl.exclude("point")).join(entered, on="link", how="left"),
            rtt_table,
            wait_table,
        ),
        flows=_flows(leaving, begin_ns, names).select(link, pl.exclude("point")),
        rates=rates.select(link, pl.exclude("point")).sort("link", "time_s"),
        rtts=rtt_table,
        waits=wait_table,
        interval_s=interval_s,
        notes=notes,
        speedup=names.speedup,
        verdict=names.verdict,
    )


def _with_waits(packets: pl.DataFrame, waited: pl.DataFrame) -> pl.DataFrame:
    column = np.full(len(packets), np.nan)
    column[waited["row"].to_numpy()] = waited["wait_s"].to_numpy()
    return packets.with_columns(pl.Series("wait_s", column).fill_nan(None))


def _link_column(points: Sequence[Point]) -> pl.Expr:
    numbers = list(range(len(points)))
    return (
        pl.col("point")
        .replace_strict(numbers, [p.link for p in points], return_dtype=pl.String)
        .alias("link")
    )


def _round_interval(seconds: float) -> float:
    """The next of …, 0.1, 0.2, 0.5, 1, 2, 5, … s."""
    power = 10.0 ** np.floor(np.log10(max(seconds, 1e-6)))
    return float(next(power * m for m in (1, 2, 5, 10) if power * m >= seconds * 0.999))


def _rates(leaving: pl.DataFrame, begin_ns: int, interval_s: float) -> pl.DataFrame:
    interval = (pl.col("time_ns") - begin_ns) // round(interval_s * 1e9)
    return (
        leaving.group_by("point", interval=interval)
        .agg(packets=pl.len(), bytes=pl.col("wire_bytes").sum())
        .select(
            "point",
            time_s=pl.col("interval") * interval_s,
            packets="packets",
            bytes="bytes",
            mbps=pl.col("bytes") * 8 / interval_s / 1e6,
        )
    )


def _links(leaving: pl.DataFrame, duration_s: float) -> pl.DataFrame:
    return (
        leaving.group_by("point", maintain_order=True)
        .agg(
            packets=pl.len(),
            bytes=pl.col("wire_bytes").sum(),
            retransmitted=pl.col("retransmitted").sum(),
        )
        .with_columns(mean_mbps=pl.col("bytes") * 8 / duration_s / 1e6)
    )


def _with_delays(links: pl.DataFrame, rtts: pl.DataFrame, waited: pl.DataFrame) -> pl.DataFrame:
    def percentiles(column: str, name: str) -> list[pl.Expr]:
        return [
            pl.col(column).median().alias(f"{name}_p50_s"),
            pl.col(column).quantile(0.95).alias(f"{name}_p95_s"),
        ]

    tcp = rtts.filter(~pl.col("ping")).group_by("link").agg(percentiles("rtt_s", "rtt"))
    ping = rtts.filter(pl.col("ping")).group_by("link").agg(percentiles("rtt_s", "ping"))
    wait = waited.group_by("link").agg(
        *percentiles("wait_s", "wait"), wait_max_s=pl.col("wait_s").max(), waits=pl.len()
    )
    for table in (tcp, ping, wait):
        links = links.join(table, on="link", how="left")
    return links.sort("bytes", descending=True)


def _flows(leaving: pl.DataFrame, begin_ns: int, names: Names) -> pl.DataFrame:
    table = (
        leaving.filter(pl.col("protocol") > 0)
        .group_by([*FLOW, "protocol", *FRAME])
        .agg(
            packets=pl.len(),
            bytes=pl.col("wire_bytes").sum(),
            payload_bytes=pl.col("payload_bytes").sum(),
            first_s=(pl.col("time_ns").min() - begin_ns) / 1e9,
            last_s=(pl.col("time_ns").max() - begin_ns) / 1e9,
            retransmitted=pl.col("retransmitted").sum(),
            wait_mean_s=pl.col("wait_s").mean(),
        )
        .sort("first_s")
    )
    framed = pl.col("kind") > 0
    hosts = {a: names.host(a) for c in ("source", "target") for a in table[c].unique()}
    devices = {d: names.device(d) for d in table["device"].unique()}
    kinds = {0: None} | {int(k): k.name for k in Kind}
    return table.with_columns(
        pl.col("source", "target").replace_strict(hosts, return_dtype=pl.String),
        pl.col("kind").replace_strict(kinds, default="unknown", return_dtype=pl.String),
        device=pl.when(framed).then(
            pl.col("device").replace_strict(devices, return_dtype=pl.String)
        ),
        task=pl.when(framed).then("task"),
        attempt=pl.when(framed).then("attempt"),
    )

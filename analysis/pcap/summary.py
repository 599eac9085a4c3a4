"""What captures tell of links and of tasks, as tables.

All times are real time, as the packets were captured; a run with speed-up k has k scenario seconds
in each. Every table is keyed by ``run``, ``capture`` and ``link``: links of one name in two runs
are two links.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from analysis.pcap import remarks
from analysis.pcap.delays import round_trips, waits
from analysis.pcap.flows import FLOW, FRAME, with_flows
from analysis.pcap.layers import VLAN_BASE
from analysis.pcap.packets import Packets, common_folder, read_packets
from analysis.pcap.points import Names
from model.wire_format import Kind

_INTERVALS = 200
KEY = ["run", "capture", "link"]
"""What each row of each table belongs to."""


@dataclass(frozen=True)
class RunTimes:
    """A run that was captured, and the time that its captures cover.

    Attributes:
        name: its folder, without what all folders have in common; '' if there is one run only.
        folder: the result folder, the captures' folder, or a foreign capture itself.
        speedup: scenario seconds per second.
        verdict: of the run on its own numbers; "" for foreign captures.
        begin_ns: the first packet, ns since 1970; times in tables count from here.
        duration_s: until the last packet; None if no two time stamps differ.
        interval_s: of its ``rates``.
    """

    name: str
    folder: str
    speedup: float
    verdict: str
    begin_ns: int
    duration_s: float | None
    interval_s: float


@dataclass(frozen=True)
class Summary:
    """Tables of some captures; times in s since the first packet of their run.

    Attributes:
        links: a row a link: packets and bytes that left its queue, Mbps, retransmissions, packets
            that entered the queue, round trips, waiting. What was not measured is null, and
            ``missing`` has the reason.
        flows: a row a link, connection and task.
        rates: a row a link and interval: packets, bytes, Mbps.
        rtts: every round trip.
        waits: every packet's time in a queue.
        missing: a row a null of ``links``: ``column``, ``reason``.
        runs: those that the captures belong to, by ``run``.
        notes: what was left out, in sentences.
    """

    links: pl.DataFrame
    flows: pl.DataFrame
    rates: pl.DataFrame
    rtts: pl.DataFrame
    waits: pl.DataFrame
    missing: pl.DataFrame
    runs: list[RunTimes]
    notes: list[str] = field(default_factory=list)

    @property
    def speedup(self) -> float | None:
        """The speed-up of all runs, or None if they differ."""
        found = {run.speedup for run in self.runs}
        return found.pop() if len(found) == 1 else None

    def link_names(self) -> dict[tuple[object, ...], str]:
        """A name for each link, by its ``run``, ``capture`` and ``link``.

        Where several have the same link, the run's folder stands in front, or the capture.
        """
        keys = self.links.select(KEY).rows()
        common = common_folder([str(capture) for _, capture, _ in keys])
        links = [link for _, _, link in keys]
        pairs = [(run, link) for run, _, link in keys]
        found: dict[tuple[object, ...], str] = {}
        for run, capture, link in keys:
            name = str(link)
            if pairs.count((run, link)) > 1:
                name = f"{str(Path(capture).absolute()).removeprefix(common)}: {link}"
            elif links.count(link) > 1:
                name = f"{self.runs[run].name or self.runs[run].folder}: {link}"
            found[run, capture, link] = name
        return found

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by name, as they are written."""
        names = ("links", "flows", "rates", "rtts", "waits", "missing")
        return {name: getattr(self, name) for name in names}


def summarise(paths: Sequence[Path]) -> Summary:
    """The tables of captures: files, pipes (``-``), folders. Raises as ``read_packets`` does."""
    read = read_packets(paths)
    # Columns that nothing below reads; sorting costs by the column.
    packets = with_flows(read.table.drop("number", "interface", "ethertype", "tunnel"))
    runs = _runs(read)
    waited, unclear = waits(packets, read.points)
    trips = round_trips(packets, read.points)
    places = _places(read)
    packets = _with_waits(packets, waited).with_columns(
        place=places["place"].gather(packets["point"]), run=places["run"].gather(packets["point"])
    )
    entering = places["entering"].gather(packets["point"])
    leaving = packets.filter(~entering)
    keys = places.unique("place", keep="first", maintain_order=True).select("place", *KEY)
    rates = _rates(leaving.filter("timed"), runs)
    rtt_table = _placed(trips, places, keys, runs, "rtt_s", "ping")
    wait_table = _placed(waited, places, keys, runs, "wait_s")
    links = _links(keys, packets, entering, places, rates, runs)
    links = _with_delays(links, rtt_table, wait_table)
    notes = read.notes + remarks.notes_on(read.table, read.points)
    if unclear:
        notes.append(f"{unclear} packets looked like another one in the same queue; they are not "
                     "in the queue times")  # fmt: skip
    return Summary(
        links=links.drop("place", "both_sides", *remarks.COUNTS),
        flows=_flows(leaving, keys, runs, read),
        rates=keys.join(rates.drop("run"), on="place").drop("place").sort(*KEY, "time_s"),
        rtts=rtt_table.drop("place"),
        waits=wait_table.drop("place"),
        missing=remarks.missing(links),
        runs=runs,
        notes=list(dict.fromkeys(notes)),
    )


def _runs(read: Packets) -> list[RunTimes]:
    """Names and times of the runs; the captures of a run cover one time."""
    run = pl.Series([p.run for p in read.points], dtype=pl.UInt32)
    times = (
        read.table.lazy()
        .filter("timed")
        .group_by(run=pl.lit(run).gather(pl.col("point")))
        .agg(begin=pl.col("time_ns").min(), end=pl.col("time_ns").max())
        .collect()
    )
    found = {row["run"]: row for row in times.iter_rows(named=True)}
    common = common_folder([r.folder for r in read.runs])
    runs = []
    for number, one in enumerate(read.runs):
        row = found.get(number, {"begin": 0, "end": 0})
        duration_s = (row["end"] - row["begin"]) / 1e9
        path = str(Path(one.folder).absolute())
        runs.append(
            RunTimes(
                name=path.removeprefix(common) if common else "",
                folder=one.folder,
                speedup=one.names.speedup,
                verdict=one.names.verdict,
                begin_ns=row["begin"],
                duration_s=duration_s or None,
                interval_s=_round_interval(duration_s / _INTERVALS),
            )
        )
    return runs


def _places(read: Packets) -> pl.DataFrame:
    """For each point its ``place``, which both sides of a queue share, and the place's key."""
    numbers: dict[tuple[int, str, str], int] = {}
    place = [numbers.setdefault(p.place, len(numbers)) for p in read.points]
    # The capture of what leaves a queue stands for both.
    capture: dict[int, str] = {}
    for number, point in sorted(zip(place, read.points, strict=True), key=lambda x: x[1].entering):
        capture.setdefault(number, point.capture)
    return pl.DataFrame(
        {
            "place": pl.Series(place, dtype=pl.UInt32),
            "entering": [p.entering for p in read.points],
            "run": pl.Series([p.run for p in read.points], dtype=pl.UInt32),
            "capture": [capture[k] for k in place],
            "link": [p.link for p in read.points],
        }
    )


def _placed(
    table: pl.DataFrame,
    places: pl.DataFrame,
    keys: pl.DataFrame,
    runs: Sequence[RunTimes],
    *columns: str,
) -> pl.DataFrame:
    """A table of points and times as one of places and seconds."""
    place = places["place"].gather(table["point"])
    begin = pl.Series([r.begin_ns for r in runs], dtype=pl.Int64)
    table = table.with_columns(place=place).join(keys, on="place", maintain_order="left")
    seconds = ((pl.col("time_ns") - pl.lit(begin).gather(pl.col("run"))) / 1e9).alias("time_s")
    return table.select("place", *KEY, seconds, *columns)


def _with_waits(packets: pl.DataFrame, waited: pl.DataFrame) -> pl.DataFrame:
    column = np.full(len(packets), np.nan)
    column[waited["row"].to_numpy()] = waited["wait_s"].to_numpy()
    return packets.with_columns(pl.Series("wait_s", column).fill_nan(None))


def _round_interval(seconds: float) -> float:
    """The next of …, 0.1, 0.2, 0.5, 1, 2, 5, … s."""
    power = 10.0 ** np.floor(np.log10(max(seconds, 1e-6)))
    return float(next(power * m for m in (1, 2, 5, 10) if power * m >= seconds * 0.999))


def _rates(timed: pl.DataFrame, runs: Sequence[RunTimes]) -> pl.DataFrame:
    """Packets, bytes and Mbps of each interval with a packet; Mbps null where no time passed."""
    begin = pl.Series([r.begin_ns for r in runs], dtype=pl.Int64)
    step = pl.Series([round(r.interval_s * 1e9) for r in runs], dtype=pl.Int64)
    length = pl.Series([r.interval_s if r.duration_s else None for r in runs], dtype=pl.Float64)
    run = pl.col("run")
    interval = (pl.col("time_ns") - pl.lit(begin).gather(run)) // pl.lit(step).gather(run)
    return (
        timed.group_by("place", "run", interval=interval)
        .agg(packets=pl.len(), bytes=pl.col("wire_bytes").sum())
        .select(
            "place",
            "run",
            time_s=pl.col("interval") * pl.lit(step).gather(run) / 1e9,
            packets="packets",
            bytes="bytes",
            mbps=pl.col("bytes") * 8 / pl.lit(length).gather(run) / 1e6,
        )
    )


def _links(
    keys: pl.DataFrame,
    packets: pl.DataFrame,
    entering: pl.Series,
    places: pl.DataFrame,
    rates: pl.DataFrame,
    runs: Sequence[RunTimes],
) -> pl.DataFrame:
    """A row a place, with or without packets; counts of what could be measured beside them."""
    leaving = packets.filter(~entering)
    counted = leaving.group_by("place").agg(
        packets=pl.len(),
        bytes=pl.col("wire_bytes").sum(),
        timed_bytes=pl.col("wire_bytes").filter("timed").sum(),
        again=pl.col("retransmitted").sum(),
        **remarks.counts(),
    )
    entered = packets.filter(entering).group_by("place").agg(entered=pl.len())
    peaks = rates.group_by("place").agg(peak_mbps=pl.col("mbps").max())
    table = keys
    for part in (counted, entered, peaks):
        table = table.join(part, on="place", how="left")
    seen = {flag: places.filter(pl.col("entering") == flag)["place"].unique() for flag in (0, 1)}
    left, into = (pl.col("place").is_in(seen[k].implode()) for k in (0, 1))
    duration = pl.Series([r.duration_s for r in runs], dtype=pl.Float64)
    mean = pl.col("timed_bytes") * 8 / pl.lit(duration).gather(pl.col("run")) / 1e6
    zeros = ["packets", "bytes", "timed_bytes", "again", *remarks.COUNTS]
    table = table.with_columns(
        pl.when(left).then(pl.col(zeros).fill_null(0)),
        pl.when(into).then(pl.col("entered").fill_null(0)),
        both_sides=left & into,
    )
    untimed = (pl.col("packets") > 0) & (pl.col("timed_packets") == 0)
    return table.select(
        "place",
        *KEY,
        "packets",
        "bytes",
        *remarks.COUNTS,
        "both_sides",
        mean_mbps=pl.when(~untimed).then(mean),
        peak_mbps=pl.when(pl.col("packets") == 0).then(mean).otherwise("peak_mbps"),
        retransmitted=pl.when(pl.col("segments") > 0).then("again"),
        entered="entered",
    )


def _with_delays(links: pl.DataFrame, rtts: pl.DataFrame, waited: pl.DataFrame) -> pl.DataFrame:
    def percentiles(column: str, name: str) -> list[pl.Expr]:
        return [
            pl.col(column).median().alias(f"{name}_p50_s"),
            pl.col(column).quantile(0.95).alias(f"{name}_p95_s"),
        ]

    tcp = rtts.filter(~pl.col("ping")).group_by("place").agg(percentiles("rtt_s", "rtt"))
    ping = rtts.filter(pl.col("ping")).group_by("place").agg(percentiles("rtt_s", "ping"))
    wait = waited.group_by("place").agg(
        *percentiles("wait_s", "wait"), wait_max_s=pl.col("wait_s").max(), waits=pl.len()
    )
    for table in (tcp, ping, wait):
        links = links.join(table, on="place", how="left")
    return links.sort("bytes", descending=True, nulls_last=True, maintain_order=True)


def _flows(
    leaving: pl.DataFrame, keys: pl.DataFrame, runs: Sequence[RunTimes], read: Packets
) -> pl.DataFrame:
    seen = pl.col("time_ns").filter("timed")
    segments = (pl.col("protocol") == 6) & pl.col("whole")
    table = (
        leaving.filter(pl.col("protocol") > 0)
        .group_by(["place", "vlan", *FLOW, "protocol", *FRAME])
        .agg(
            packets=pl.len(),
            bytes=pl.col("wire_bytes").sum(),
            payload_bytes=pl.when(segments.any()).then(pl.col("payload_bytes").sum()),
            first_ns=seen.min(),
            last_ns=seen.max(),
            retransmitted=pl.when(segments.any()).then(pl.col("retransmitted").sum()),
            wait_mean_s=pl.col("wait_s").mean(),
        )
        .join(keys, on="place")
        .sort(["first_ns", *KEY, *FLOW, "protocol", *FRAME])
    )
    begin = pl.lit(pl.Series([r.begin_ns for r in runs], dtype=pl.Int64)).gather(pl.col("run"))
    table = table.with_columns(
        first_s=(pl.col("first_ns") - begin) / 1e9, last_s=(pl.col("last_ns") - begin) / 1e9
    )
    named = _named(table, read)
    columns = ["source", "source_port", "target", "target_port", "protocol", "vlan", *FRAME]
    measured = ["packets", "bytes", "payload_bytes", "first_s", "last_s", "retransmitted",
                "wait_mean_s"]  # fmt: skip
    return named.select(*KEY, *columns, *measured)


def _named(table: pl.DataFrame, read: Packets) -> pl.DataFrame:
    """Flows with the names of hosts, devices and kinds; null where a packet is of no task."""
    names = [run.names for run in read.runs]
    framed = pl.col("kind") > 0
    kinds = {0: None} | {int(k): k.name for k in Kind}
    runs = table["run"].to_list()
    text = {
        column: [
            _host(a, names[r], read.addresses) for r, a in zip(runs, table[column], strict=True)
        ]
        for column in ("source", "target")
    }
    devices = [names[r].device(d) for r, d in zip(runs, table["device"], strict=True)]
    vlans = {v: _vlan(v) for v in table["vlan"].unique()}
    return table.with_columns(
        *(pl.Series(name, values, dtype=pl.String) for name, values in text.items()),
        pl.col("vlan").replace_strict(vlans, return_dtype=pl.String),
        pl.col("kind").replace_strict(kinds, default="unknown", return_dtype=pl.String),
        device=pl.when(framed).then(pl.Series(devices, dtype=pl.String)),
        task=pl.when(framed).then("task"),
        attempt=pl.when(framed).then("attempt"),
    )


def _host(address: int, names: Names, addresses: dict[int, int]) -> str:
    if address in addresses:
        return str(ipaddress.IPv6Address(addresses[address]))
    return names.host(address)


def _vlan(code: int) -> str | None:
    """VLAN numbers from the outermost on, ``100.20``; None without a tag."""
    numbers: list[str] = []
    while code:
        code, last = divmod(code, VLAN_BASE)
        numbers.insert(0, str(last - 1))
    return ".".join(numbers) or None

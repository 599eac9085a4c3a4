"""Delays in captures: round trips seen at one place, waiting seen between two places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.pcap.fields import ACK, ECHO_REPLY, ECHO_REQUEST, TCP
from analysis.pcap.points import Point

_SAME_PACKET = (
    "source", "target", "protocol", "source_port", "target_port", "ip_id", "seq", "ack", "flags",
    "payload_bytes", "tsval", "echo", "check",
)  # fmt: skip
"""What routers leave alone, and what together does not come again within a capture."""
_ENDS = ["cable", "source", "source_port", "target", "target_port", "stamp"]


def round_trips(packets: pl.DataFrame, points: Sequence[Point]) -> pl.DataFrame:
    """Round trips from a link onward and back over the same cable.

    A TCP segment's timestamp comes back in the first acknowledgement that echoes it; a ping's
    number in its reply. Where a link was captured on both sides of its queue, the queue's delay is
    in the round trip. Returns ``point``, ``time_ns`` (of the question), ``rtt_s``, ``ping``.
    """
    # Two runs have cables of the same names; a round trip is within one run.
    cables = {key: k for k, key in enumerate(dict.fromkeys((p.run, p.cable) for p in points))}
    cable = pl.Series([cables[p.run, p.cable] for p in points], dtype=pl.UInt32)
    entering = pl.Series([p.entering for p in points])
    seen = packets.with_columns(
        cable=cable.gather(packets["point"]), entering=entering.gather(packets["point"])
    ).filter(pl.col("whole") & pl.col("timed"))
    tcp = pl.col("protocol") == TCP
    segments = seen.filter(tcp & (pl.col("payload_bytes") > 0) & ~pl.col("retransmitted"))
    answers = seen.filter(tcp & (pl.col("flags") & ACK != 0) & ~pl.col("entering"))
    found = [
        _matched(
            segments.filter(pl.col("tsval").is_not_null()).with_columns(stamp=pl.col("tsval")),
            answers.filter(pl.col("tsecr").is_not_null()).with_columns(stamp=pl.col("tsecr")),
            ping=False,
        ),
        _matched(
            seen.filter(pl.col("echo") == ECHO_REQUEST).with_columns(stamp=pl.col("seq")),
            seen.filter((pl.col("echo") == ECHO_REPLY) & ~pl.col("entering")).with_columns(
                stamp=pl.col("seq")
            ),
            ping=True,
        ),
    ]
    return pl.concat(found).sort("time_ns")


def _matched(questions: pl.DataFrame, answers: pl.DataFrame, *, ping: bool) -> pl.DataFrame:
    """The first answer to each question; the first sighting of a question counts."""
    asked = questions.group_by(_ENDS).agg(
        pl.col("time_ns").min(), pl.col("point").sort_by("time_ns").first()
    )
    turned = {
        "source": "target", "target": "source",
        "source_port": "target_port", "target_port": "source_port",
    }  # fmt: skip
    answered = answers.rename(turned).group_by(_ENDS).agg(answer_ns=pl.col("time_ns").min())
    both = asked.join(answered, on=_ENDS).filter(pl.col("answer_ns") > pl.col("time_ns"))
    return both.select(
        "point",
        "time_ns",
        rtt_s=(pl.col("answer_ns") - pl.col("time_ns")) / 1e9,
        ping=pl.lit(ping),
    )


def waits(packets: pl.DataFrame, points: Sequence[Point]) -> tuple[pl.DataFrame, int]:
    """How long packets waited in the queues that were captured on both sides.

    For a link from a switch this includes the switch's own work. Returns ``point`` (where the
    packet left the queue), ``time_ns`` (when), ``wait_s``, ``row`` (of ``packets``); and how many
    pairs were left out because several packets looked alike.
    """
    usable = (packets["protocol"].to_numpy() > 0) & packets["whole"].to_numpy()
    rows = np.flatnonzero(usable & packets["timed"].to_numpy())
    leads = _leads(points)
    if not leads.any():
        rows = rows[:0]
    time_ns, point = packets["time_ns"].to_numpy(), packets["point"].to_numpy()
    key = packets.select(pl.struct(_SAME_PACKET).hash()).to_series().to_numpy()[rows]
    # The same packet can be in two runs.
    run = np.array([p.run for p in points], np.uint64)
    key = key ^ (run[point[rows]] * np.uint64(0x9E3779B97F4A7C15))
    order = np.lexsort((time_ns[rows], key))
    rows, key = rows[order], key[order]
    before, after = rows[:-1], rows[1:]
    alike = key[:-1] == key[1:]
    valid = alike & leads[point[before], point[after]]
    # Two packets that look alike and are both in the queue: which of them leaves first?
    twins = np.unique(key[:-1][alike & (point[before] == point[after])])
    clear = ~np.isin(key[:-1], twins) if len(twins) else np.ones(len(valid), bool)
    unclear = int(np.count_nonzero(valid & ~clear))
    before, after = before[valid & clear], after[valid & clear]
    table = pl.DataFrame(
        {
            "point": point[after],
            "time_ns": time_ns[after],
            "wait_s": (time_ns[after] - time_ns[before]) / 1e9,
            "row": after,
        }
    )
    return table, unclear


def _leads(points: Sequence[Point]) -> NDArray[np.bool_]:
    """For each pair of points, whether a packet waits in one queue between them."""
    leads = np.zeros((len(points), len(points)), bool)
    of_run: dict[int, list[int]] = {}
    for number, point in enumerate(points):
        if point.source:
            of_run.setdefault(point.run, []).append(number)
    for numbers in of_run.values():
        for before in numbers:
            leads[before, numbers] = [points[before].leads_to(points[n]) for n in numbers]
    return leads

"""Delays in captures: round trips seen at one place, waiting seen between two places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.pcap.fields import ACK, ECHO_REPLY, ECHO_REQUEST, TCP
from analysis.pcap.points import Point

_SAME_PACKET = (
    "source", "target", "protocol", "source_port", "target_port", "ip_id", "seq", "ack", "flags",
    "payload_bytes", "tsval", "echo",
)  # fmt: skip
"""What routers leave alone, and what together does not come again within a capture."""
_ENDS = ["cable", "source", "source_port", "target", "target_port", "stamp"]


def round_trips(packets: pl.DataFrame, points: Sequence[Point]) -> pl.DataFrame:
    """Round trips from a link onward and back over the same cable.

    A TCP segment's timestamp comes back in the first acknowledgement that echoes it; a ping's
    number in its reply. Where a link was captured on both sides of its queue, the queue's delay is
    in the round trip. Returns ``point``, ``time_ns`` (of the question), ``rtt_s``, ``ping``.
    """
    cables = list(dict.fromkeys(p.cable for p in points))
    cable = pl.Series([cables.index(p.cable) for p in points], dtype=pl.UInt16)
    entering = pl.Series([p.entering for p in points])
    seen = packets.with_columns(
        cable=cable.gather(packets["point"]), entering=entering.gather(packets["point"])
    )
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


def waits(packets: pl.DataFrame, points: Sequence[Point]) -> pl.DataFrame:
    """How long packets waited in the queues that were captured on both sides.

    For a link from a switch this includes the switch's own work. Returns ``point`` (where the
    packet left the queue), ``time_ns`` (when), ``wait_s``, ``row`` (of ``packets``).
    """
    rows = np.flatnonzero(packets["protocol"].to_numpy() > 0)
    key = packets.select(pl.struct(_SAME_PACKET).hash()).to_series().to_numpy()[rows]
    time_ns, point = packets["time_ns"].to_numpy(), packets["point"].to_numpy()
    order = rows[np.lexsort((time_ns[rows], key))]
    key = np.sort(key)
    leads = np.array([[a.leads_to(b) for b in points] for a in points], bool)
    before, after = order[:-1], order[1:]
    valid = (key[:-1] == key[1:]) & leads[point[before], point[after]]
    before, after = before[valid], after[valid]
    return pl.DataFrame(
        {
            "point": point[after],
            "time_ns": time_ns[after],
            "wait_s": (time_ns[after] - time_ns[before]) / 1e9,
            "row": after,
        }
    )

"""TCP sequence numbers without wrap-around: which bytes came twice, and whose task they are."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from analysis.pcap.fields import SYN, TCP
from model.aliases import IntArray
from model.wire_format import HEADER_BYTES

FLOW = ["flow_path", "source", "source_port", "target", "target_port"]
"""What makes packets one direction of one connection, seen at one place."""
FRAME = ["kind", "device", "task", "attempt"]

_GROUP_BITS = 44
"""A flow's number stands above this many bits of sequence number: 16 TB a connection."""


def _changes(table: pl.DataFrame) -> NDArray[np.bool_]:
    """True for each first row of a flow; rows are sorted by flow."""
    first = np.zeros(len(table), bool)
    first[:1] = True
    for column in FLOW:
        values = table[column].to_numpy()
        first[1:] |= values[1:] != values[:-1]
    return first


def _unwrapped(seq: NDArray[np.uint32], first: NDArray[np.bool_], flow: IntArray) -> IntArray:
    """Sequence numbers that go on after 2^32, from 0 at the lowest byte of each flow."""
    steps = np.zeros(len(seq), np.int64)
    # Modulo 2^32, a step back is a step forward by almost as much: read as signed, it is small.
    steps[1:] = (seq[1:] - seq[:-1]).view(np.int32)
    steps[first] = 0
    total = np.cumsum(steps)
    lowest = np.minimum.reduceat(total, np.flatnonzero(first))
    return np.asarray(total - lowest[flow], np.int64)


def with_flows(packets: pl.DataFrame) -> pl.DataFrame:
    """The packets with what their connections tell, sorted by connection and time.

    Adds ``retransmitted`` (its first byte had been seen here before), and puts into ``kind``,
    ``device``, ``task`` and ``attempt`` the frame that a segment's first byte belongs to, instead
    of the frame whose header it carries.
    """
    packets = packets.sort([*FLOW, "time_ns"], maintain_order=True)
    tcp = (packets["protocol"].to_numpy() == TCP) & packets["whole"].to_numpy()
    retransmitted = np.zeros(len(packets), bool)
    frame_row = np.full(len(packets), -1)
    rows = np.flatnonzero(tcp)
    if len(rows):
        segments = packets.filter((pl.col("protocol") == TCP) & pl.col("whole"))
        again, frames = _segments(segments)
        retransmitted[rows] = again
        frame_row[rows] = np.where(frames >= 0, rows[frames], -1)
    inside = frame_row >= 0
    columns = []
    for name in FRAME:
        values = packets[name].to_numpy()[np.maximum(frame_row, 0)]
        columns.append(pl.Series(name, np.where(inside, values, 0).astype(values.dtype)))
    return packets.with_columns(pl.Series("retransmitted", retransmitted), *columns)


def _segments(segments: pl.DataFrame) -> tuple[NDArray[np.bool_], IntArray]:
    """For each TCP segment: whether it came before, and the row of its frame's header, or -1."""
    first = _changes(segments)
    flow = np.cumsum(first) - 1
    # A SYN takes a sequence number; its own payload, if there were one, would follow.
    syn = (segments["flags"].to_numpy() & SYN) != 0
    seq = segments["seq"].to_numpy() + syn.astype(np.uint32)
    base = flow << _GROUP_BITS
    begin = base + _unwrapped(seq, first, flow)
    payload = segments["payload_bytes"].to_numpy()
    # Flows stand above each other, so one running maximum serves all of them.
    seen = np.maximum.accumulate(begin + np.where(payload > 0, payload, 0))
    before = np.concatenate(([-1], seen[:-1]))
    before[first] = -1
    again = (payload > 0) & (begin < before)
    return again, _frame_rows(segments, begin, payload)


def _frame_rows(segments: pl.DataFrame, begin: IntArray, payload: IntArray) -> IntArray:
    headers = np.flatnonzero(segments["kind"].to_numpy() > 0)
    found = np.full(len(segments), -1)
    if not len(headers):
        return found
    headers = headers[np.argsort(begin[headers], kind="stable")]
    starts = begin[headers]
    ends = starts + HEADER_BYTES + segments["task_bytes"].to_numpy()[headers]
    at = np.searchsorted(starts, begin, side="right") - 1
    inside = (at >= 0) & (payload > 0) & (begin < ends[np.maximum(at, 0)])
    found[inside] = headers[at[inside]]
    return found

"""Finds time stamps that cannot be right, so that one of them does not spoil every rate.

A capture is written in the order of time, but for a little: several processors, several interfaces.
A stamp is odd if it breaks that order by much, or if it is one of the first or last few and lies
far from all others. A packet with an odd stamp still counts as a packet.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from model.aliases import BoolArray, IntArray

_FEW = 0.01
"""Share of a capture's packets, and ``_AT_LEAST`` of them, whose stamps can be odd."""
_AT_LEAST = 2
_FAR_SHARE = 0.1
"""A stamp out of order is odd by this share of the capture's length."""
_FAR_NS = 1_000_000
_PAUSE_NS = 300 * 10**9
_PAUSE_LENGTHS = 2


def longest_pause_ns(lasts_ns: float) -> float:
    """Return the longest pause that is still one within a capture.

    It is five minutes, or twice what the rest of the capture lasts.
    """
    return max(_PAUSE_NS, _PAUSE_LENGTHS * lasts_ns)


def odd_stamps(time_ns: IntArray) -> tuple[BoolArray, int]:
    """Which time stamps are odd, and by how much at most the others are out of order, in ns.

    ``time_ns`` (int64) is in the order of the file. Where more than a few are out of order, as in
    captures that were joined end to end, none is odd for that reason.
    """
    odd = np.zeros(len(time_ns), bool)
    most = min(max(_AT_LEAST, int(len(time_ns) * _FEW)), (len(time_ns) - 1) // 2)
    if most < 1:
        return odd, _step_back(time_ns)
    # Each odd stamp breaks the order at most twice; more breaks are not the work of a few.
    breaks = np.count_nonzero(time_ns[1:] < time_ns[:-1] - _FAR_NS)
    if 0 < breaks <= 2 * most:
        odd = _out_of_order(time_ns)
        if np.count_nonzero(odd) > most:
            odd[:] = False
    odd[_at_the_ends(time_ns, odd, most - int(np.count_nonzero(odd)))] = True
    return odd, _step_back(time_ns[~odd])


def _step_back(time_ns: IntArray) -> int:
    """By how much a stamp lies before one in front of it, at most."""
    if len(time_ns) < 2:
        return 0
    return int((np.maximum.accumulate(time_ns) - time_ns).max())


def _out_of_order(time_ns: IntArray) -> BoolArray:
    """Stamps outside the longest ordered sequence, and far from their neighbours in it."""
    kept = _longest_ordered(time_ns)
    inside = time_ns[kept]
    odd = np.ones(len(time_ns), bool)
    odd[kept] = False
    rows = np.flatnonzero(odd)
    after = np.searchsorted(kept, rows)
    early = inside[np.maximum(after - 1, 0)]
    late = inside[np.minimum(after, len(kept) - 1)]
    stamps = time_ns[rows]
    away = np.maximum(np.minimum(early, late) - stamps, stamps - np.maximum(early, late))
    far = away > max(_FAR_NS, _FAR_SHARE * int(inside[-1] - inside[0]))
    odd[rows[~far]] = False
    return odd


def _longest_ordered(values: IntArray) -> IntArray:
    """Positions of a longest sequence that never falls (patience sorting)."""
    tails: list[int] = []
    heads: list[int] = []
    before: list[int] = []
    for row, value in enumerate(values.tolist()):
        if not tails or value >= tails[-1]:
            before.append(heads[-1] if heads else -1)
            tails.append(value)
            heads.append(row)
        else:
            pile = bisect_right(tails, value)
            before.append(heads[pile - 1] if pile else -1)
            tails[pile], heads[pile] = value, row
    found = np.empty(len(tails), np.int64)
    row = heads[-1]
    for place in range(len(tails) - 1, -1, -1):
        found[place], row = row, before[row]
    return found


def _at_the_ends(time_ns: IntArray, odd: BoolArray, most: int) -> IntArray:
    """Rows of the few earliest and latest stamps that a long pause parts from all others."""
    rows = np.flatnonzero(~odd)
    if _step_back(time_ns[rows]):
        rows = rows[np.argsort(time_ns[rows], kind="stable")]
    most = min(most, (len(rows) - 1) // 2)
    if most < 1:
        return rows[:0]
    # Floats: a difference of two hostile stamps can exceed an int64.
    times = time_ns[rows].astype(np.float64)
    lasts = times[-1 - most] - times[most]
    long = np.diff(times) > longest_pause_ns(lasts)
    first = np.flatnonzero(long[:most])
    last = np.flatnonzero(long[-most:])
    early = rows[: first[-1] + 1] if len(first) else rows[:0]
    late = rows[len(rows) - most + last[0] :] if len(last) else rows[:0]
    found = np.concatenate((early, late))
    return found if len(found) <= most else rows[:0]

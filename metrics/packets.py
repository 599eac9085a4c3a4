"""When packets left a link, from a capture: the gaps between them against the ideal.

Of a packet only its time and size are of interest here; ``analysis.pcap`` reads everything else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.aliases import FloatArray
from model.rates import transmission_s

_FULL_BYTES = 1000
_FILE_HEADER_BYTES, _NANOSECOND_MAGIC = 24, 0xA1B23C4D
_RECORD = struct.Struct("=IIII")  # seconds, nanoseconds, captured bytes, bytes on the wire


@dataclass(slots=True)
class Packets:
    """Packets in the order in which they left: when, s of real time, and bytes on the wire."""

    time_s: FloatArray = field(default_factory=lambda: np.zeros(0))
    bytes: FloatArray = field(default_factory=lambda: np.zeros(0))

    def between(self, begin_s: float, end_s: float) -> Packets:
        """Those within a stretch of time."""
        mine = (self.time_s >= begin_s) & (self.time_s <= end_s)
        return Packets(self.time_s[mine], self.bytes[mine])

    def full_gaps(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Of each full frame: when it left, s, the gap to the next packet, s, and its bytes.

        Frames right behind a small packet are left out: a timer that is 20 µs late is nothing in a
        full frame's 1211 µs at 10 Mbps, and a quarter of a ping's; the shaper makes up for it in
        the frame that follows.
        """
        full = self.bytes >= _FULL_BYTES
        mine = np.flatnonzero(full[1:-1] & full[:-2]) + 1
        return self.time_s[mine], self.time_s[mine + 1] - self.time_s[mine], self.bytes[mine]

    def gap_ratios(self, rate_mbps: float) -> FloatArray:
        """Gap behind each full frame / the time that the frame takes at the rate."""
        _, gap_s, size = self.full_gaps()
        ratios: FloatArray = gap_s / transmission_s(size, rate_mbps)
        return ratios

    @property
    def rate_mbps(self) -> float:
        """Of the whole, Mbps; the last packet is not counted, its time comes after it."""
        if len(self.time_s) < 3:
            return float("nan")
        return float(self.bytes[:-1].sum() * 8e-6 / (self.time_s[-1] - self.time_s[0]))


def read_packets(path: Path, offset_s: float, into: Packets) -> None:
    """Read a pcap file of this machine with nanoseconds; ``offset_s`` is taken off its wall clock.

    Raises ``ValueError`` for any other file; a truncated last record is left out.
    """
    data, position = path.read_bytes(), _FILE_HEADER_BYTES
    if len(data) < position or struct.unpack_from("=I", data)[0] != _NANOSECOND_MAGIC:
        raise ValueError(f"{path}: no capture with nanoseconds")
    times, sizes = [], []
    while position + _RECORD.size <= len(data):
        seconds, nanoseconds, captured, length = _RECORD.unpack_from(data, position)
        # Taken off before adding: 1e9 s and 1 ns do not fit into one float.
        times.append((seconds - offset_s) + nanoseconds * 1e-9)
        sizes.append(length)
        position += _RECORD.size + captured
    into.time_s, into.bytes = np.asarray(times), np.asarray(sizes, dtype=np.float64)

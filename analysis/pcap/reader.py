"""Reads classic pcap files, a million records in a fraction of a second.

A record says how long it is, so records cannot be found without walking through all of them; one
``unpack_from`` a record does that at some five million a second. Everything else is done for all
records at once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.errors import UserError

ETHERNET, RAW_IP, LINUX_SLL, LINUX_SLL2 = 1, 101, 113, 276
LINK_HEADER_BYTES = {ETHERNET: 14, RAW_IP: 0, LINUX_SLL: 16, LINUX_SLL2: 20}
"""Link type (tcpdump.org/linktypes.html) → bytes in front of the IP header."""

_FILE_HEADER_BYTES, _RECORD_HEADER_BYTES = 24, 16
_MICROSECONDS, _NANOSECONDS, _PCAPNG = 0xA1B2C3D4, 0xA1B23C4D, 0x0A0D0D0A
_MAX_RECORD_BYTES = 262_144
"""What tcpdump captures of a packet at most; a longer record is none."""
PADDING_BYTES = 256
"""Zeros behind the file's bytes, so that fields of a short last packet can be gathered blindly."""


@dataclass(frozen=True)
class Capture:
    """The records of one file, in the order in which they lie in it.

    Attributes:
        path: the file.
        link_type: what the packets begin with, see ``LINK_HEADER_BYTES``.
        data: the file's bytes and ``PADDING_BYTES`` zeros, uint8.
        starts: where each packet's bytes begin in ``data``, int64.
        captured: bytes of each packet that are in the file, int64.
        lengths: bytes each packet had on the wire, link header included, int64.
        time_ns: when each was captured, ns since 1970, int64.
        note: what was left out of the file, or ''.
    """

    path: Path
    link_type: int
    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    captured: NDArray[np.int64]
    lengths: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    note: str = ""

    def __len__(self) -> int:
        return len(self.starts)

    def packet(self, number: int) -> bytes:
        """The captured bytes of a packet, counted from 1 as Wireshark counts."""
        start = int(self.starts[number - 1])
        return self.data[start : start + int(self.captured[number - 1])].tobytes()


def read_capture(path: Path) -> Capture:
    """Read a capture. A truncated last record is left out, which ``note`` says.

    Raises ``UserError`` for a file that cannot be read, is no classic pcap file, or holds packets
    of a link type that nothing in this lab makes.
    """
    data, size = _load(path)
    order, nanoseconds = _byte_order(path, data[:4].tobytes(), size)
    (link_type,) = struct.unpack_from(f"{order}I", data.data, 20)
    link_type &= 0x0FFFFFFF  # the upper bits tell of frame check sequences
    if link_type not in LINK_HEADER_BYTES:
        raise UserError(
            f"{path}: packets of link type {link_type}; this lab reads Ethernet (1), raw IP (101) "
            "and Linux 'any' captures (113, 276)"
        )
    starts, note = _walk(path, data, size, order)
    headers = _words(data, starts - _RECORD_HEADER_BYTES, order)
    seconds, fraction, captured, lengths = headers
    return Capture(
        path=path,
        link_type=link_type,
        data=data,
        starts=starts,
        captured=captured,
        lengths=lengths,
        time_ns=seconds * 1_000_000_000 + fraction * (1 if nanoseconds else 1000),
        note=note,
    )


def _load(path: Path) -> tuple[NDArray[np.uint8], int]:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            data = np.zeros(size + PADDING_BYTES, np.uint8)
            # The file may be growing; what it has beyond that size is left for the next reading.
            return data, file.readinto(data[:size].data)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _byte_order(path: Path, magic: bytes, size: int) -> tuple[str, bool]:
    if size == 0:
        raise UserError(f"{path}: is empty, it has not even a pcap header")
    for order in "<>":
        (number,) = struct.unpack(f"{order}I", magic)
        if number == _PCAPNG:
            raise UserError(
                f"{path}: is in pcapng format; make a classic pcap file of it with: "
                f"tshark -F pcap -r {path} -w {path.stem}.classic.pcap"
            )
        if number in (_MICROSECONDS, _NANOSECONDS):
            if size < _FILE_HEADER_BYTES:
                raise UserError(f"{path}: is truncated within the pcap file header")
            return order, number == _NANOSECONDS
    raise UserError(f"{path}: is no pcap file (it begins with {magic[:size].hex(' ')})")


def _walk(
    path: Path, data: NDArray[np.uint8], size: int, order: str
) -> tuple[NDArray[np.int64], str]:
    """Where the packets begin, and a note on what follows the last whole one."""
    lengths_at = struct.Struct(f"{order}I").unpack_from
    view = data.data
    starts: list[int] = []
    position, append = _FILE_HEADER_BYTES, starts.append
    while position + _RECORD_HEADER_BYTES <= size:
        (captured,) = lengths_at(view, position + 8)
        following = position + _RECORD_HEADER_BYTES + captured
        if following > size or captured > _MAX_RECORD_BYTES:
            break
        append(position + _RECORD_HEADER_BYTES)
        position = following
    note = ""
    if position + _RECORD_HEADER_BYTES <= size:
        (captured,) = lengths_at(view, position + 8)
        if captured > _MAX_RECORD_BYTES:
            raise UserError(
                f"{path}: is damaged: record {len(starts) + 1}, at byte {position}, claims to be "
                f"{captured} bytes long"
            )
    if position < size:
        note = f"{path}: its last record, number {len(starts) + 1}, is truncated and was left out"
    return np.array(starts, np.int64), note


def _words(
    data: NDArray[np.uint8], at: NDArray[np.int64], order: str
) -> tuple[NDArray[np.int64], ...]:
    """Four 32-bit words behind each other, for many positions at once."""
    raw = np.empty((len(at), 16), np.uint8)
    for k in range(16):
        raw[:, k] = data[at + k]
    words = raw.view(f"{order}u4").astype(np.int64)
    return tuple(np.ascontiguousarray(words[:, k]) for k in range(4))

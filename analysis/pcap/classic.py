"""Classic pcap files: microseconds, nanoseconds, and the "modified" ones of old Linux systems.

A record says how long it is, so records cannot be found without walking through all of them; one
``unpack_from`` a record does that at some five million a second. Everything else is done for all
records at once.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.pcap.capture import MAX_RECORD_BYTES, Capture, Interface, Numbers
from analysis.pcap.source import name_of
from model.aliases import BoolArray, IntArray
from model.errors import UserError

_FILE_HEADER_BYTES = 24
_RECORD_HEADER_BYTES = {0xA1B2C3D4: 16, 0xA1B23C4D: 16, 0xA1B2CD34: 24}
"""By magic number; a "modified" record also names interface, protocol and packet type."""
_NANOSECONDS = 0xA1B23C4D


def read_classic(path: Path, data: NDArray[np.uint8], size: int) -> Capture:
    """The records of a classic pcap file of ``size`` bytes.

    Raises ``UserError`` for a truncated file header, and where the first record is none.
    """
    if size < _FILE_HEADER_BYTES:
        raise UserError(f"{name_of(path)}: is truncated within the pcap file header")
    order, magic = next(
        (order, number)
        for order in "<>"
        for number in struct.unpack_from(f"{order}I", data.data)
        if number in _RECORD_HEADER_BYTES
    )
    (kind,) = struct.unpack_from(f"{order}I", data.data, 20)
    # The upper bits say whether and how long frame check sequences are, in units of 2 bytes.
    fcs_bytes = 2 * (kind >> 28) if kind & 0x0400_0000 else 0
    starts, notes = _walk(path, data, size, order, _RECORD_HEADER_BYTES[magic])
    read, headers = Numbers(data, order), starts - _RECORD_HEADER_BYTES[magic]
    seconds, fraction, captured, lengths = (
        read.u32(headers + at).astype(np.int64) for at in (0, 4, 8, 12)
    )
    in_second = 10**9 if magic == _NANOSECONDS else 10**6
    timed, note = _possible(path, fraction, in_second)
    return Capture(
        path=path,
        interfaces=(Interface(kind & 0xFFFF, fcs_bytes=fcs_bytes),),
        data=data,
        starts=starts,
        captured=captured,
        lengths=lengths,
        time_ns=np.where(timed, seconds * 10**9 + fraction * (10**9 // in_second), 0),
        timed=timed,
        interface=np.zeros(len(starts), np.int64),
        notes=notes + note,
    )


def _possible(path: Path, fraction: IntArray, in_second: int) -> tuple[BoolArray, list[str]]:
    """Which time stamps can be ones: their fraction is less than a second."""
    timed = fraction < in_second
    wrong = int(len(timed) - np.count_nonzero(timed))
    if not wrong:
        return timed, []
    note = (
        f"{name_of(path)}: {wrong} of {len(timed)} packets: the fraction of a second in the time "
        f"stamp is not below {in_second}"
    )
    if 2 * wrong > len(timed):
        timed = np.zeros(len(timed), bool)
        note += "; nanoseconds were written as microseconds, and no time stamp of the file is used"
    return timed, [note]


def _walk(
    path: Path, data: NDArray[np.uint8], size: int, order: str, header_bytes: int
) -> tuple[IntArray, list[str]]:
    """Where the packets begin, and a note on what follows the last whole one."""
    length_at = struct.Struct(f"{order}I").unpack_from
    view = data.data
    starts: list[int] = []
    position, append, name = _FILE_HEADER_BYTES, starts.append, name_of(path)
    while position + header_bytes <= size:
        (captured,) = length_at(view, position + 8)
        following = position + header_bytes + captured
        if following > size or captured > MAX_RECORD_BYTES:
            break
        append(position + header_bytes)
        position = following
    notes = []
    if position + header_bytes <= size and captured > MAX_RECORD_BYTES:
        damage = (
            f"{name}: is damaged: record {len(starts) + 1}, at byte {position}, claims to be "
            f"{captured} bytes long"
        )
        if not starts:
            raise UserError(damage)
        notes = [f"{damage}; the {len(starts)} records before it were read, {size - position} "
                 "bytes from there on were left out"]  # fmt: skip
    elif position < size:
        notes = [f"{name}: its last record, number {len(starts) + 1}, is truncated and was left "
                 "out"]  # fmt: skip
    return np.array(starts, np.int64), notes

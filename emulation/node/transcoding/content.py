"""The clips as files, and how a unit knows from the bytes which one it has.

A clip is an MPEG transport stream of exactly the size that the catalogue says: stuffing packets,
which every reader skips, fill it up, and the first one carries the clip's index, so that a unit
knows from the bytes alone what is to become of them.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

from model.clips import PACKET_BYTES

_STUFFING = b"\x47\x1f\xff\x10"
"""Header of a packet of stuffing: sync byte, PID 0x1FFF, payload only."""
_LABEL = struct.Struct("!4sH")
_MARK = b"CLIP"


def clip_path(folder: Path, index: int) -> Path:
    """The file of a clip."""
    return folder / f"{index:04d}.ts"


def stuffing(count: int) -> bytes:
    """So many packets that every reader skips."""
    return _STUFFING.ljust(PACKET_BYTES, b"\xff") * count


def label(index: int) -> bytes:
    """The first packet of a clip."""
    return (_STUFFING + _LABEL.pack(_MARK, index)).ljust(PACKET_BYTES, b"\xff")


def index_of(data: bytes | bytearray | memoryview) -> int:
    """Which clip it is that these bytes begin. Raises ``ValueError`` if they begin none."""
    head = bytes(data[: len(_STUFFING) + _LABEL.size])
    if len(head) < len(_STUFFING) + _LABEL.size or not head.startswith(_STUFFING):
        raise ValueError("not a clip")
    mark, index = _LABEL.unpack(head[len(_STUFFING) :])
    if mark != _MARK:
        raise ValueError("not a clip")
    return int(index)


def digests(folder: str | os.PathLike[str], count: int) -> tuple[str, ...]:
    """SHA-256 of each clip of a catalogue of so many, in hexadecimal. Raises ``OSError``."""
    return tuple(hashlib.sha256(load(folder, k)).hexdigest() for k in range(count))


def load(folder: str | os.PathLike[str], index: int) -> bytes:
    """The bytes of a clip. Raises ``OSError``."""
    return clip_path(Path(folder), index).read_bytes()

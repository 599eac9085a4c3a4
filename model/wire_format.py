"""The header of the frames between devices and units, as bytes; see ``emulation.protocol.frames``.

It stands here because two rooms need it that must not know each other: the emulation, which sends
it, and the analysis, which finds tasks in packet captures by it. All fields are big-endian:

    offset  size  field
         0     4  magic, "CELT"
         4     1  version, 1
         5     1  type: 1 HELLO, 2 TASK, 3 ARRIVED, 4 RESULT, 5 ERROR, 6 UNSERVED
         6     2  device: its position among the scenario's devices, from 0
         8     4  task: its id, the position in the run's trace
        12     4  attempt: which try of the transfer this is, from 1 (HELLO: 0)
        16     8  payload bytes: how many bytes follow the header (real bytes)
        24     8  value, IEEE 754 double, by type, see ``emulation.protocol.frames``
"""

from __future__ import annotations

import struct
from enum import IntEnum

MAGIC = b"CELT"
VERSION = 1
HEADER = struct.Struct("!4sBBHIIQd")
HEADER_BYTES = HEADER.size
KIND_AT, DEVICE_AT, TASK_AT, ATTEMPT_AT, PAYLOAD_AT, VALUE_AT = 5, 6, 8, 12, 16, 24
"""Offsets of the fields, for readers of many headers at once."""


class Kind(IntEnum):
    """Type of a frame."""

    HELLO = 1
    TASK = 2
    ARRIVED = 3
    RESULT = 4
    ERROR = 5
    UNSERVED = 6

"""The protocol between devices and units: frames over TCP port ``model.addressing.TASK_PORT``.

Every frame is a header of 32 bytes, laid out in ``model.wire_format``, followed by as many bytes as
its field ``payload bytes`` says. Its field ``value`` depends on the type:

    type     sent by  payload              value
    HELLO    device   none                 0
    TASK     device   the task's data      work, GHz·s
    ARRIVED  unit     none                 when the last byte had arrived, scenario time, s
    RESULT   unit     the result           processing delay there: waiting and service, scenario s
    ERROR    unit     reason, UTF-8        0
    UNSERVED unit     reason, UTF-8        as of RESULT

A device sends HELLO first on each connection, then one TASK after another, the next one only after
the ARRIVED of the one before. UNSERVED stands for a RESULT where service failed. ERROR concerns the
connection, which the unit then closes; its device and task are all ones. RESULTs come in the order
of service. So a TASK header is always at the beginning of a TCP segment, and a capture shows task
and device without reassembly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from model.errors import ProtocolError
from model.wire_format import HEADER, HEADER_BYTES, MAGIC, VERSION, Kind

__all__ = [
    "HEADER_BYTES",
    "MAX_ERROR_BYTES",
    "MAX_RESULT_BYTES",
    "MAX_TASK_BYTES",
    "Frame",
    "FrameReader",
    "Kind",
    "WireError",
    "decode",
    "encode",
    "error_frame",
]

MAX_TASK_BYTES = 10**14
"""Ten times what the largest mean of a scenario is at the lowest speed-up."""
MAX_RESULT_BYTES = 1 << 26
MESSAGE_BYTES = 65536
"""A result that is but a message is no larger."""
MAX_ERROR_BYTES = 512
MAX_PAYLOAD = {
    Kind.HELLO: 0,
    Kind.TASK: MAX_TASK_BYTES,
    Kind.ARRIVED: 0,
    Kind.RESULT: MAX_RESULT_BYTES,
    Kind.ERROR: MAX_ERROR_BYTES,
    Kind.UNSERVED: MAX_ERROR_BYTES,
}
MAX_WORK_GHZ_S = 1e7
"""Ten times the largest mean that a scenario may ask for. More would fill the receiver's queue
beyond what it may report, and so get a unit cut off for what somebody else has sent."""
MAX_TIME_S = 1e15
MAX_VALUE = {kind: MAX_WORK_GHZ_S if kind is Kind.TASK else MAX_TIME_S for kind in Kind}


class WireError(ProtocolError, ConnectionError):
    """The other end does not speak this protocol; the connection is of no use any more."""


class Frame(NamedTuple):
    """A frame's header; the module's docstring says what the fields mean."""

    kind: Kind
    device: int
    task: int
    attempt: int
    payload_bytes: int
    value: float


def encode(frame: Frame) -> bytes:
    """The 32 bytes of a header. Raises ``struct.error`` if a field does not fit."""
    kind, device, task, attempt, payload, value = frame
    return HEADER.pack(MAGIC, VERSION, kind, device, task, attempt, payload, value)


def decode(header: bytes | bytearray | memoryview) -> Frame:
    """The header in 32 bytes.

    Raises ``WireError`` for a wrong magic, version or type, a length beyond the type's limit, or a
    value that is negative, not finite or beyond the type's limit.
    """
    magic, version, number, device, task, attempt, payload, value = HEADER.unpack(header)
    if magic != MAGIC:
        raise WireError(f"not a frame: it begins with {magic!r}")
    if version != VERSION:
        raise WireError(f"version {version}; this end speaks {VERSION}")
    try:
        kind = Kind(number)
    except ValueError as error:
        raise WireError(f"type {number} does not exist") from error
    if payload > MAX_PAYLOAD[kind]:
        raise WireError(
            f"{kind.name} with {payload} bytes; at most {MAX_PAYLOAD[kind]} are allowed"
        )
    if not 0.0 <= value <= MAX_VALUE[kind]:
        raise WireError(f"{kind.name} with value {value}")
    return Frame(kind, device, task, attempt, payload, value)


def error_frame(reason: str) -> tuple[Frame, bytes]:
    """An ERROR and its payload."""
    text = reason.encode()[:MAX_ERROR_BYTES]
    return Frame(Kind.ERROR, 0xFFFF, 0xFFFFFFFF, 0, len(text), 0.0), text


class FrameReader:
    """Takes a stream of bytes apart; for the direction of small frames, unit to device.

    Keeps at most one frame's header and payload; ``most_bytes`` is what a payload may have.
    """

    def __init__(self, *allowed: Kind, most_bytes: int = MESSAGE_BYTES):
        self._allowed, self._most_bytes = allowed, most_bytes
        self._buffer = bytearray()
        self._frame: Frame | None = None

    def feed(self, data: bytes) -> Iterator[tuple[Frame, bytes]]:
        """Yield each frame that is complete, with its payload.

        Raises ``WireError`` as ``decode`` does, or for a type that this direction does not have.
        """
        self._buffer += data
        while True:
            if self._frame is None:
                if len(self._buffer) < HEADER_BYTES:
                    return
                self._frame = decode(memoryview(self._buffer)[:HEADER_BYTES])
                if self._frame.kind not in self._allowed:
                    raise WireError(f"{self._frame.kind.name} in this direction")
                if self._frame.payload_bytes > self._most_bytes:
                    raise WireError(
                        f"{self._frame.kind.name} with {self._frame.payload_bytes} bytes; "
                        f"at most {self._most_bytes} are expected"
                    )
            frame, end = self._frame, HEADER_BYTES + self._frame.payload_bytes
            if len(self._buffer) < end:
                return
            payload = bytes(memoryview(self._buffer)[HEADER_BYTES:end])
            del self._buffer[:end]
            self._frame = None
            yield frame, payload

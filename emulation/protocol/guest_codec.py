"""Messages between a device and the process of its policy: one packet each, first byte its kind.

To the policy's process: ``RESET`` (JSON), ``SLOT`` (an observation), ``DECIDE`` (a task and an
observation). From it: ``READY``, ``DECISION``, and texts. Numbers are little-endian; an observation
is float64, its arrays in the order of ``model.observation.Observation``.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from model.observation import DeviceProfile, Observation, TaskView
from model.text import safe_line

RESET, SLOT, DECIDE = b"R", b"S", b"D"
READY, DECISION, FAULT, REFUSED, COMPLAINT, PRINTED = b"K", b"A", b"F", b"E", b"L", b"P"
"""From the policy: it is reset; a decision; ``decide`` failed, for one task; the reset failed;
``begin_slot`` failed; a line that it has printed."""
_TASK = struct.Struct("<Idd")
_ANSWER = struct.Struct("<Iqd")
_NUMBER = struct.Struct("<I")
SCALARS, STATUS = 3, 2
"""Fields of an ``Observation`` before and after its arrays of targets."""
_ARRAYS = tuple(f.name for f in fields(Observation))[SCALARS:-STATUS]
_MOST_TEXT = 500
MOST_BYTES = 4096
"""Of a packet from the policy's process."""


def to_reset(
    policy: str, params: dict[str, Any], profile: DeviceProfile, key: tuple[int, ...]
) -> bytes:
    """Everything that a policy gets before the first slot; ``key`` is of its random stream."""
    value = {"policy": policy, "params": params, "profile": asdict(profile), "key": key}
    return RESET + json.dumps(value).encode()


def from_reset(data: bytes) -> tuple[str, dict[str, Any], DeviceProfile, tuple[int, ...]]:
    """What ``to_reset`` made, without its kind."""
    value = json.loads(data)
    lists: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in value["profile"].items()
    }
    return value["policy"], value["params"], DeviceProfile(**lists), tuple(value["key"])


def _to_bytes(seen: Observation) -> bytes:
    numbers = [(seen.time_s, seen.queue_ghz_s, seen.ghz), *(getattr(seen, a) for a in _ARRAYS)]
    if seen.status_ghz is not None and seen.status_queue_ghz_s is not None:
        numbers += [seen.status_queue_ghz_s, seen.status_ghz]
    return np.concatenate(numbers).tobytes()


def observation(data: bytes, targets: int) -> Observation:
    """An observation from its bytes; the arrays are the caller's own."""
    numbers = np.frombuffer(bytearray(data), np.float64)
    rows = numbers[SCALARS:].reshape(-1, targets)
    status = (None, None) if len(rows) == len(_ARRAYS) else (rows[-2], rows[-1])
    return Observation(*numbers[:SCALARS].tolist(), *rows[: len(_ARRAYS)], *status)


def to_slot(seen: Observation) -> bytes:
    """The start of a slot."""
    return SLOT + _to_bytes(seen)


def from_slot(data: bytes, targets: int) -> Observation:
    """What ``to_slot`` made, without its kind; the arrays are the caller's own."""
    return observation(data, targets)


def to_decide(number: int, task: TaskView, seen: Observation) -> bytes:
    """A task to be placed; ``number`` comes back with the answer."""
    return DECIDE + _TASK.pack(number, task.work_ghz_s, task.data_mb) + _to_bytes(seen)


def from_decide(data: bytes, targets: int) -> tuple[int, TaskView, Observation]:
    """What ``to_decide`` made, without its kind."""
    number, work_ghz_s, data_mb = _TASK.unpack_from(data)
    return number, TaskView(work_ghz_s, data_mb), observation(data[_TASK.size :], targets)


def to_decision(number: int, target: int, rate_mbps: float) -> bytes:
    """The answer for a task."""
    return DECISION + _ANSWER.pack(number, target, rate_mbps)


def from_decision(data: bytes) -> tuple[int, int, float]:
    """Number, target and rate, unchecked. Raises ``ValueError`` if it is none."""
    if len(data) != _ANSWER.size:
        raise ValueError(f"a decision of {len(data)} bytes")
    number, target, rate_mbps = _ANSWER.unpack(data)
    return number, target, rate_mbps


def to_fault(number: int, text: str) -> bytes:
    """Why there is no decision for a task."""
    return FAULT + _NUMBER.pack(number) + _short(text)


def from_fault(data: bytes) -> tuple[int, str]:
    """Number and reason. Raises ``ValueError`` if it is none."""
    if len(data) < _NUMBER.size:
        raise ValueError("a fault without a number")
    return _NUMBER.unpack_from(data)[0], from_text(data[_NUMBER.size :])


def to_text(kind: bytes, text: str) -> bytes:
    """A text, cut to what one packet may hold."""
    return kind + _short(text)


def from_text(data: bytes) -> str:
    """A text from a policy, fit for one line of a log or a terminal."""
    return safe_line(data.decode(errors="replace"), _MOST_TEXT)


def _short(text: str) -> bytes:
    return text.encode(errors="replace")[:_MOST_TEXT]

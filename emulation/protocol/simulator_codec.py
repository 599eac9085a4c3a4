"""Packets between the simulator and a process of policies: kind, number of the policy, numbers.

A process may hold the policies of several devices; a packet's number says whose turn it is. The
simulator waits for the answer to every packet, so at most one is under way in a pipe. Numbers are
little-endian, arrays float64 or int64; an observation is laid out as in ``codec``.

To the process: ``DESCRIBE`` and ``RESET`` (JSON), ``ATTACH`` (where targets are in the state),
``SLOT`` (an observation), ``DECIDE`` (a task and an observation), ``DECIDE_BY_STATE`` (the state,
too). From it: ``FACTS`` (JSON), ``DONE``, ``DECISION``, and texts: ``PRINTED``, ``REFUSED``,
``RAISED``, ``FAULT``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from emulation.protocol import guest_codec
from model.aliases import FloatArray, Value
from model.observation import DeviceProfile, Observation, TaskView
from rl.policies.state_policy import Layout, SystemState

DESCRIBE, RESET, ATTACH, SLOT, DECIDE, DECIDE_BY_STATE = b"Q", b"R", b"T", b"S", b"D", b"W"
FACTS, DONE, DECISION, PRINTED = b"I", b"K", b"A", b"P"
REFUSED, RAISED, FAULT = b"E", b"X", b"F"
"""Why there is no answer: a mistake of the user's; a module or a constructor raised; a method
raised, or the decision is illegal. A traceback may follow the first line."""
HEAD = struct.Struct("<cxxxIdd")
"""Kind, number, and the work and data of a task to decide. 24 bytes: arrays stay aligned."""
ANSWER = struct.Struct("<cqd")
_STATE_ARRAYS = (
    "queue_ghz_s", "ghz", "incoming_ghz_s", "backlog_mb", "rate_mbps", "coming_mb",
)  # fmt: skip
_SIZES = struct.Struct("<3q")
_MOST_TEXT, _MOST_TRACE = 2000, 12_000
_MOST_FACTS = 200


class Facts(NamedTuple):
    """What the simulator must know of a policy's class.

    Attributes:
        name: of the class.
        needs: observation, state or truth.
        parameters: names of its constructor's keyword arguments.
        algorithm: of a learner of the lab that it is derived from; "" for any other.
        begins: whether it has a ``begin_slot`` of its own.
    """

    name: str
    needs: str
    parameters: tuple[str, ...]
    algorithm: str
    begins: bool


def head(kind: bytes, number: int, work_ghz_s: float = 0.0, data_mb: float = 0.0) -> bytes:
    """The beginning of a packet to a process."""
    return HEAD.pack(kind, number, work_ghz_s, data_mb)


def to_describe(policy: str, params: Mapping[str, Value] | None) -> bytes:
    """Ask for the facts of a class; with ``params`` one is made, to see whether they fit."""
    value = {"policy": policy, "params": None if params is None else dict(params)}
    return head(DESCRIBE, 0) + json.dumps(value).encode()


def from_describe(data: bytes) -> tuple[str, dict[str, Value] | None]:
    """Policy and parameters of ``DESCRIBE``, without its head."""
    value = json.loads(data)
    return value["policy"], value["params"]


def to_reset(
    number: int,
    policy: str,
    params: Mapping[str, Value],
    profile: DeviceProfile,
    key: tuple[int, ...],
) -> bytes:
    """Have a device's policy made and reset; ``key`` is of its random stream."""
    return head(RESET, number) + guest_codec.to_reset(policy, dict(params), profile, key)[1:]


def to_attach(number: int, layout: Layout) -> bytes:
    """Where a device's targets are in the state's arrays."""
    shape = np.array(layout.links.shape, dtype=np.int64)
    return head(ATTACH, number) + b"".join(
        a.astype(np.int64).tobytes() for a in (shape, layout.units, layout.links)
    )


def from_attach(data: bytes) -> Layout:
    """What ``to_attach`` made, without its head."""
    numbers = np.frombuffer(bytearray(data), np.int64)
    targets, hops = numbers[:2].tolist()
    return Layout(numbers[2 : 2 + targets], numbers[2 + targets :].reshape(targets, hops))


def arrays_of(state: SystemState) -> bytes:
    """The arrays of a state, to which a coordinator adds."""
    return b"".join(getattr(state, name).tobytes() for name in _STATE_ARRAYS)


def to_state(seen: bytes | memoryview, state: SystemState) -> bytes:
    """An observation's bytes and a state, to follow the head of ``DECIDE_BY_STATE``."""
    sizes = _SIZES.pack(len(seen), len(state.ghz), len(state.rate_mbps))
    times = np.array([state.time_s, state.age_s])
    return sizes + seen + times.tobytes() + arrays_of(state)


def from_state(data: bytes, targets: int) -> tuple[Observation, SystemState]:
    """The observation and the state of ``DECIDE_BY_STATE``, without its head."""
    size, units, links = _SIZES.unpack_from(data)
    end = _SIZES.size + size
    seen = guest_codec.observation(data[_SIZES.size : end], targets)
    numbers = np.frombuffer(bytearray(data[end:]), np.float64)
    time_s, age_s = numbers[:2].tolist()
    return seen, SystemState(time_s, age_s, *_split(numbers[2:], units, links))


def _split(numbers: FloatArray, units: int, links: int) -> list[FloatArray]:
    ends = np.cumsum([units, units, units, links, links])
    return np.split(numbers, ends)


def write_back(data: bytes, state: SystemState) -> None:
    """Write what a policy has left of a state's arrays into them.

    Raises ``ValueError`` if there are not as many numbers.
    """
    own = [getattr(state, name) for name in _STATE_ARRAYS]
    if len(data) != 8 * sum(a.size for a in own):
        raise ValueError(f"a state of {len(data)} bytes")
    numbers = np.frombuffer(data, np.float64)
    found = _split(numbers, state.ghz.size, state.rate_mbps.size)
    for target, values in zip(own, found, strict=True):
        target[:] = values


def task_of(data: bytes) -> TaskView:
    """The task of a packet, head included."""
    _, _, work_ghz_s, data_mb = HEAD.unpack_from(data)
    return TaskView(work_ghz_s, data_mb)


def from_decide(data: bytes, targets: int) -> tuple[TaskView, Observation]:
    """The task and the observation of ``DECIDE``, head included."""
    return task_of(data), guest_codec.observation(data[HEAD.size :], targets)


def to_facts(facts: Facts) -> bytes:
    """Answer ``DESCRIBE``."""
    return FACTS + json.dumps(facts).encode()


def from_facts(data: bytes) -> Facts:
    """What ``to_facts`` made, checked. Raises ``ValueError`` if it is none."""
    match json.loads(data):
        case [
            str(name),
            ("observation" | "state" | "truth") as needs,
            [*parameters],
            str(algorithm),
            bool(begins),
        ] if len(parameters) < _MOST_FACTS:
            names = tuple(guest_codec.from_text(str(p).encode()) for p in parameters)
            name, algorithm = (guest_codec.from_text(t.encode()) for t in (name, algorithm))
            return Facts(name, str(needs), names, algorithm, begins)
    raise ValueError("no facts")


def to_fault(kind: bytes, text: str, trace: str = "") -> bytes:
    """``REFUSED`` or ``RAISED``: a line, and a traceback where there is one."""
    line = " ".join(text.split())[:_MOST_TEXT]
    return kind + f"{line}\n{trace[-_MOST_TRACE:]}".encode(errors="replace")

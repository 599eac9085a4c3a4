"""What passes between the orchestrator, the spawner and the nodes: JSON, one value a line.

Records (node → orchestrator) are lists ``[kind, field, field, …]``; the classes below are their
only definition, for writer and reader. All times are scenario time, s, unless the name says real.

The first line to a node is its ``Briefing``; ``emulation.protocol.orders`` defines what follows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, NamedTuple

from model.errors import ProtocolError
from model.text import is_unicode, safe_line

_MAX_ITEMS = 10_000
_MAX_TEXT = 4000
_MAX_NUMBER = 1e15


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """What the spawner is told of a node: where it lives and as whom, nothing of the network.

    The rest, ``emulation.protocol.briefing.Briefing``, goes to the node alone, over its control
    socket: all nodes share the spawner's memory, so nothing may lie in there that not all of them
    may know.

    Attributes:
        name: the unit's name in the network.
        policy: of devices, ``''`` elsewhere: checked to be readable before anything runs.
        checkpoint: of a learned policy, else ``''``: read before the node is forked.
        netns: path of the network namespace, e.g. ``/run/netns/x``.
        uid, gid: what the process becomes; above 0.
        hidden: folders that are empty for nodes; the same for all nodes of a run.
        oom_score_adj: nodes are to be killed for memory before anything else.
        worker: whether a process of its own is to do the node's real work.
        guest: whether a process of its own is to run the policy, which is a user's.
        files: what that process may read besides code: files that the policy's parameters name.
    """

    name: str
    policy: str
    checkpoint: str
    netns: str
    uid: int
    gid: int
    hidden: tuple[str, ...] = ()
    oom_score_adj: int = 500
    worker: bool = False
    guest: bool = False
    files: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> NodeConfig:
        """Check the keys of a request. Raises ``ProtocolError``."""
        known = {f.name for f in fields(cls)}
        required = known - {"oom_score_adj", "hidden", "worker", "guest", "files"}
        if not required <= set(value) <= known:
            raise ProtocolError(
                f"request for a node: missing {sorted(required - set(value))}, "
                f"unknown {sorted(set(value) - known)}"
            )
        lists = {k: tuple(value.get(k, ())) for k in ("hidden", "files")}
        return cls(**{**value, **lists})


def guest_name(device: str) -> str:
    """The name of the process of a device's policy."""
    return f"{device}'s policy"


class Ready(NamedTuple):
    """The node is up and waits for orders; ``policy`` is '' where none decides."""

    pid: int
    policy: str


class Baseline(NamedTuple):
    """Smallest idle round trip to each target, scenario s, and the targets that do not answer."""

    rtt_s: dict[str, float]
    unreachable: list[str]


class Born(NamedTuple):
    """A task was born and decided on: target and rate on the wire, Mbps."""

    task: int
    target: str
    rate_mbps: float
    at_s: float


class Dispatched(NamedTuple):
    """The first byte of an attempt was handed to the network (self: it joined the queue)."""

    task: int
    attempt: int
    at_s: float


class Arrived(NamedTuple):
    """From the unit: the last byte has arrived (overflow: at the edge).

    ``device`` is the index of whose task it is, as the sender's address says; None: the unit's own.
    """

    task: int
    at_s: float
    device: int | None = None


class Service(NamedTuple):
    """From the unit, at the end of service; ``device`` as in ``Arrived``."""

    task: int
    start_s: float
    end_s: float
    device: int | None = None


class Transcoded(NamedTuple):
    """From the unit, at a transcoding's end: what it took and gave; ``error`` '' if all is well.

    ``cpu_s`` is FFmpeg's own CPU time, ``frames`` what ffprobe counted in the result; ``device`` as
    in ``Arrived``.
    """

    task: int
    clip: int
    start_s: float
    end_s: float
    cpu_s: float
    frames: int
    data_bytes: int
    result_bytes: int
    error: str
    device: int | None = None


class Known(NamedTuple):
    """From the device: it has the result."""

    task: int
    at_s: float


POLICY_FAULT = "policy: "
"""How the reason of a task begins that failed by its device's policy."""


class Failed(NamedTuple):
    """From the device: the task has failed for good."""

    task: int
    at_s: float
    reason: str


class Ping(NamedTuple):
    """A ping sent at ``at_s``; ``rtt_s`` None: no reply."""

    target: str
    at_s: float
    rtt_s: float | None


class Slot(NamedTuple):
    """At a slot boundary b = 0 … slots (time b·Δt): the unit, and how late the tick came.

    ``busy_share`` is of the slot that ends here, None at b = 0; the rest is of this moment.
    """

    boundary: int
    lateness_real_s: float
    queue_ghz_s: float
    ghz: float
    busy_share: float | None


class Seen(NamedTuple):
    """From a device of a stepped run: what it sees at boundary b = 0 … slots.

    Its own Q and F, and ``rl.environment.encoding.table`` of its targets, row by row.
    """

    boundary: int
    queue_ghz_s: float
    ghz: float
    targets: list[float]


class Log(NamedTuple):
    """Something a person should know; level is info, warning or error."""

    level: str
    at_s: float
    text: str


class Replaced(NamedTuple):
    """From a device: its policy's process decides no more, and why; tasks stay on the device."""

    at_s: float
    reason: str


class Bye(NamedTuple):
    """The last record of an orderly end; see ``emulation.node.main`` for the counters."""

    counters: dict[str, float | None]


class Fatal(NamedTuple):
    """The last record of a node that cannot go on; one line. ``user`` tells whose mistake."""

    text: str
    user: bool


Record = (
    Ready
    | Baseline
    | Born
    | Dispatched
    | Arrived
    | Service
    | Transcoded
    | Known
    | Failed
    | Ping
    | Slot
    | Seen
    | Log
    | Replaced
    | Bye
    | Fatal
)
TaskRecord = Born | Dispatched | Arrived | Service | Known | Failed
_KINDS: dict[str, type[Record]] = {
    "ready": Ready,
    "baseline": Baseline,
    "born": Born,
    "dispatched": Dispatched,
    "arrived": Arrived,
    "service": Service,
    "transcoded": Transcoded,
    "known": Known,
    "failed": Failed,
    "ping": Ping,
    "slot": Slot,
    "seen": Seen,
    "log": Log,
    "replaced": Replaced,
    "bye": Bye,
    "fatal": Fatal,
}
_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "int | None": (int, NoneType),
    "float": (float, int),
    "float | None": (float, int, NoneType),
    "str": (str,),
    "bool": (bool,),
    "dict[str, float]": (dict,),
    "dict[str, float | None]": (dict,),
    "list[str]": (list,),
    "list[float]": (list,),
}
_ITEM_TYPES: dict[str, tuple[type, ...]] = {
    "dict[str, float]": (float, int, NoneType),
    "dict[str, float | None]": (float, int, NoneType),
    "list[str]": (str,),
    "list[float]": (float, int),
}
_FIELDS = {
    record: [(name, a.__forward_arg__) for name, a in record.__annotations__.items()]
    for record in _KINDS.values()
}
"""Nodes run no user's code; the check finds mistakes of the lab's own."""
_LEAST: dict[str, float] = {"attempt": 1, "pid": 1, "ghz": 1e-6, "rate_mbps": 1e-6}
"""Of numbers; of those that are not named 0, and of ``_SIGNED`` as far below 0 as above."""
_MOST: dict[str, float] = {
    "task": 2**32 - 1, "device": 2**16 - 1, "attempt": 2**16, "boundary": 2**31 - 1, "pid": 2**31,
    "clip": 2**31 - 1, "frames": 2**31 - 1, "busy_share": 1.5, "rate_mbps": 1e6, "ghz": 1e6,
}  # fmt: skip
_SIGNED = frozenset({"targets", "counters"})
_LEVELS = ("info", "warning", "error")


def _fits(value: object, name: str, kind: str) -> bool:
    """Whether a field's value is of its type and in its range, and its items are.

    Of exactly its type: for Python, and so for NumPy, True is a number that selects everything.
    """
    if type(value) not in _FIELD_TYPES[kind]:
        return False
    if not isinstance(value, dict | list):
        return _is_plain(value, name) and (name != "level" or value in _LEVELS)
    items = value.values() if isinstance(value, dict) else value
    keys = value if isinstance(value, dict) else ()
    return (
        len(value) <= _MAX_ITEMS
        and all(_is_plain(k, name) and k.isprintable() for k in keys)
        and all(type(v) in _ITEM_TYPES[kind] and _is_plain(v, name) for v in items)
    )


def _is_plain(value: object, name: str) -> bool:
    """Numbers finite and in range, texts of one screen that can be written to a file."""
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT and is_unicode(value)
    most = _MOST.get(name, _MAX_NUMBER)
    least = -most if name in _SIGNED else _LEAST.get(name, 0.0)
    return value is None or type(value) is bool or least <= value <= most  # type: ignore[operator]


_NAMES = {record: kind for kind, record in _KINDS.items()}


def to_list(record: Record) -> list[Any]:
    """``[kind, field, …]``, for JSON; of a text, which a policy may have made, what is let in."""
    return [_NAMES[type(record)], *(_shown(v) if isinstance(v, str) else v for v in record)]


def _shown(text: str) -> str:
    return safe_line(text, _MAX_TEXT)


def from_list(value: Any) -> Record:
    """The record of a list, its texts fit for a terminal. Raises ``ValueError`` if it is none."""
    named = isinstance(value, list) and bool(value) and isinstance(value[0], str)
    kind = _KINDS.get(value[0]) if named else None
    if kind is None:
        raise _not_a_record(value)
    try:
        record = kind(*value[1:])
    except TypeError as error:
        raise _not_a_record(value) from error
    fields_of = _FIELDS[kind]
    if not all(_fits(v, *field) for v, field in zip(record, fields_of, strict=True)):
        raise _not_a_record(value)
    shown: list[Any] = [_shown(v) if isinstance(v, str) else v for v in record]
    return kind(*shown)


def _not_a_record(value: Any) -> ValueError:
    return ValueError(f"not a record: {safe_line(str(value), 200)}")

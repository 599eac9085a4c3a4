"""What passes between the controller, the orchestrator and the operator's API: JSON, one a line.

Times are CLOCK_MONOTONIC in real s, bytes are real bytes. Each class is the only definition of its
message, for writer and reader; ``type`` in the JSON object is its tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

LinkSample = tuple[str, int, int, int, bool]
"""Link, backlog in bytes, bytes sent, packets dropped, up; both totals since the first look."""
QueueSample = tuple[str, int, int]
"""Link, backlog in bytes, total of bytes sent since the network was built."""
PortSample = tuple[str, int, int, int, int, int, int]
"""Neighbour, then received and sent each: bytes, packets, dropped packets (rx, tx, rx, tx, …)."""
UnitSample = tuple[str, float, float, float]
"""Unit, Q in GHz·s, F in GHz, share of the slot in use."""


class _Message(msgspec.Struct, tag_field="type"):
    """One line."""


class Listening(_Message, tag="listening"):
    """The controller waits for switches."""


class SwitchChanged(_Message, tag="switch"):
    """A switch has connected, or has gone."""

    name: str
    up: bool


class Installed(_Message, tag="installed"):
    """All switches are connected and have answered barriers after their flows."""

    flows: int


class CableChanged(_Message, tag="link"):
    """A cable went down, or is up again."""

    cable: str
    up: bool


class Rerouted(_Message, tag="rerouted"):
    """Flows were changed; ``seconds`` from the notice until barriers were answered."""

    flows_changed: int
    seconds: float


class LinksSampled(_Message, tag="links"):
    """All shaped links at the end of slot ``slot``, 1 … N, in the network's order.

    ``virtual_backlog_bytes``: V of eq. (2) for each of them.
    """

    slot: int
    sampled_at: float
    links: list[LinkSample]
    virtual_backlog_bytes: list[int]


class PortsSampled(_Message, tag="ports"):
    """A switch's ports at the end of slot ``slot``, 0 … N, since the switch was made."""

    slot: int
    sampled_at: float
    switch: str
    ports: list[PortSample]


class QueuesSampled(_Message, tag="queues"):
    """The links on which something waits at a look within a slot, or did at the look before."""

    sampled_at: float
    links: list[QueueSample]


Event = (
    Listening
    | SwitchChanged
    | Installed
    | CableChanged
    | Rerouted
    | LinksSampled
    | PortsSampled
    | QueuesSampled
)
"""From the controller."""


class Start(_Message, tag="start"):
    """Slot k ends at ``t0 + k * slot_s``.

    Attributes:
        looks: how often a slot the queues are looked at.
        first: the first look is when this slot ends, and the first ``LinksSampled`` is of the next.
    """

    t0: float
    slot_s: float
    slots: int
    looks: int = 1
    first: int = 0


class RateChanged(_Message, tag="rate"):
    """c_l of eq. (2) has changed."""

    link: str
    rate_mbps: float


class UnitsReported(_Message, tag="units"):
    """All units at the end of slot ``slot``, for the operator's API."""

    slot: int
    units: list[UnitSample]


class Stop(_Message, tag="stop"):
    """The controller is to end."""


Command = Start | RateChanged | UnitsReported | Stop
"""To the controller."""


class FlowsInstalled(_Message, tag="flows"):
    """A switch's flows as they are, for the operator's API."""

    switch: str
    connected: bool
    flows: list[dict[str, Any]]


class CablesDown(_Message, tag="cables"):
    """All cables that are out of service."""

    down: list[str]


ApiMessage = Event | Command | FlowsInstalled | CablesDown
"""To the operator's API."""

_EVENT = msgspec.json.Decoder(Event)
_COMMAND = msgspec.json.Decoder(Command)
_API_MESSAGE = msgspec.json.Decoder(ApiMessage)
_encode = msgspec.json.Encoder().encode


def encode(message: ApiMessage) -> bytes:
    """Return the line of a message, with its end."""
    return _encode(message) + b"\n"


def decode_event(line: bytes) -> Event:
    """Return the event of a line. Raises ``ValueError`` if it is none."""
    event: Event = _EVENT.decode(line)
    return event


def decode_command(line: bytes) -> Command:
    """Return the command of a line. Raises ``ValueError`` if it is none."""
    command: Command = _COMMAND.decode(line)
    return command


def decode_api_message(line: bytes) -> ApiMessage:
    """Return what a line tells the operator's API. Raises ``ValueError`` if it is no message."""
    message: ApiMessage = _API_MESSAGE.decode(line)
    return message


def tag_of(message: ApiMessage) -> str:
    """Return the kind of a message, as its ``type`` in JSON."""
    return str(message.__struct_config__.tag)


def fields_of(message: ApiMessage) -> Mapping[str, Any]:
    """Return the fields of a message by name, for a log."""
    return msgspec.structs.asdict(message)

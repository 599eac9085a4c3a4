"""What the controller and its switches say to each other, free of any OpenFlow library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.forwarding import FlowChange


@dataclass(frozen=True, slots=True)
class MakeMeter:
    """To a switch: make the meter that bounds ARP requests, and no other."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """To a switch: forget all flows that were not sent over this connection.

    Ordered behind the flows, so that a switch that was forwarding goes on, packet by packet.
    """


@dataclass(frozen=True, slots=True)
class Barrier:
    """To a switch: answer with ``BarrierDone(number)`` when everything before is in place."""

    number: int


@dataclass(frozen=True, slots=True)
class AskPorts:
    """To a switch: send the counters of all ports, marked with ``number``."""

    number: int


@dataclass(frozen=True, slots=True)
class SendPacket:
    """To a switch: send a frame out of a port."""

    port: int
    frame: bytes


Order = FlowChange | MakeMeter | Sweep | Barrier | AskPorts | SendPacket


@dataclass(frozen=True, slots=True)
class SwitchConnected:
    """From a switch: here I am; ``ports`` says of each port whether it is up."""

    datapath_id: int
    ports: Mapping[int, bool]


@dataclass(frozen=True, slots=True)
class SwitchLost:
    """The connection with a switch has ended."""

    datapath_id: int


@dataclass(frozen=True, slots=True)
class PortChanged:
    """From a switch: a port came up, or went down or away."""

    datapath_id: int
    port: int
    up: bool


@dataclass(frozen=True, slots=True)
class BarrierDone:
    """From a switch: all before the barrier of this number is in place."""

    datapath_id: int
    number: int


@dataclass(frozen=True, slots=True)
class PacketIn:
    """From a switch: a packet for the controller."""

    datapath_id: int
    port: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class PortCounters:
    """From a switch: totals of one port since it was made."""

    port: int
    rx_bytes: int
    tx_bytes: int
    rx_packets: int
    tx_packets: int
    rx_dropped: int
    tx_dropped: int


@dataclass(frozen=True, slots=True)
class PortsCounted:
    """From a switch: (a part of) its answer to ``AskPorts(number)``; ``last``: nothing follows."""

    datapath_id: int
    number: int
    counters: tuple[PortCounters, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """Something that must end the process: an error of a switch, of a library, of a thread."""

    why: str


Report = SwitchConnected | SwitchLost | PortChanged | BarrierDone | PacketIn | PortsCounted | Failed

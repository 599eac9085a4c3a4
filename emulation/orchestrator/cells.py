"""Which devices share a process: those that a base station serves, up to a number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from model.network import Network, Node

MOST_DEVICES = 32
"""In one process: their tasks, clocks and pings take turns in one loop."""


def cells(network: Network, *, apart: bool) -> list[Sequence[Node]]:
    """Units by the process that carries them; ``apart``: each device has one of its own.

    Edges and the cloud always have one each. A process lives in the network namespace of its
    first unit.
    """
    found: list[Sequence[Node]] = [(n,) for n in network.units if n.kind != "device"]
    most = 1 if apart else MOST_DEVICES
    for _, group in groupby(sorted(network.devices, key=_cell), key=_cell):
        devices = tuple(group)
        found += [devices[k : k + most] for k in range(0, len(devices), most)]
    return found


def _cell(device: Node) -> str:
    return device.cell

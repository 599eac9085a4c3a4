"""The status of their targets that devices receive, where the scenario lets agents observe it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emulation.protocol.orders import ShowStatus
from model.network import Network
from model.scenario import Scenario

Row = tuple[str, float, float, float]
"""A unit at a slot boundary: its name, Q in GHz·s, F in GHz, and the share of the slot in use."""


def status_orders(
    scenario: Scenario, network: Network, units: Sequence[Row]
) -> Iterator[tuple[str, ShowStatus]]:
    """Each device and its order: Q_u and F_u of its targets, and of no other unit."""
    if scenario.decision.compute_status != "observed":
        return
    queue, ghz = {u[0]: u[1] for u in units}, {u[0]: u[2] for u in units}
    for device in network.devices:
        targets = network.targets(device.name)
        mine = [name for name in targets if name in queue]
        yield (
            device.name,
            ShowStatus({n: queue[n] for n in mine}, {n: ghz[n] for n in mine}),
        )

"""The nodes and links of a scenario as plain rows, for lists and maps: names, rates, addresses.

Any process may import it. It reads the scenario alone: what events do while a run goes is only
named, and a drawn rate (``events.capacity_process``) is given as its range.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.addressing import datapath_id, host_ip, host_mac, port_number
from model.compute import device_max_ghz
from model.network import Link, Network, Node, build_network
from model.scenario import Scenario

KINDS = {
    "device": "device",
    "edge": "edge server",
    "cloud": "cloud",
    "bs": "base station",
    "ap": "access point",
    "core": "core switch",
}
"""Kind of a node → what that is, in words."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node.

    Attributes:
        name, kind: as in scenarios and results.
        cell: the base station that serves it; "" for the cloud.
        cluster: of a device or a shared radio; else "".
        max_ghz: F_max of a unit, GHz; None for a switch, which computes nothing.
        ip, mac: of a unit, fixed by the scenario; None for a switch.
        datapath_id: of a switch; None for a unit.
    """

    name: str
    kind: str
    cell: str
    cluster: str
    max_ghz: float | None
    ip: str | None
    mac: str | None
    datapath_id: int | None


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A link: one direction of a cable.

    Attributes:
        name: ``"c1d1>bs1"``; ``cable``: ``"bs1-c1d1"``, both directions.
        link_class: e2e, e2d, access, backbone; None: an ideal cable, which is not shaped.
        rate_mbps, delay_ms, loss_percent, buffer_mb: at the start of a run; None if not shaped.
        changes: what events do to it: ``capacity``, ``capacity x0.4-1``, ``failure``.
        switch_port: OpenFlow port from which it leaves; None where it leaves a unit.
    """

    name: str
    cable: str
    source: str
    target: str
    link_class: str | None
    rate_mbps: float | None
    delay_ms: float | None
    loss_percent: float | None
    buffer_mb: float | None
    changes: tuple[str, ...]
    switch_port: int | None


def node_rows(scenario: Scenario, network: Network | None = None) -> list[NodeRow]:
    """Return every node of a scenario, in the network's order."""
    network = network or build_network(scenario)
    return [_node(scenario, network, node) for node in network.nodes.values()]


def _node(scenario: Scenario, network: Network, node: Node) -> NodeRow:
    unit = node.is_unit
    return NodeRow(
        name=node.name,
        kind=node.kind,
        cell=node.cell,
        cluster=node.cluster,
        max_ghz=_max_ghz(scenario, node) if unit else None,
        ip=host_ip(network, node) if unit else None,
        mac=host_mac(network, node) if unit else None,
        datapath_id=None if unit else datapath_id(network, node),
    )


def _max_ghz(scenario: Scenario, node: Node) -> float:
    if node.kind == "device":
        return device_max_ghz(scenario, node)
    return scenario.compute.edge_ghz if node.kind == "edge" else scenario.compute.cloud_ghz


def link_rows(scenario: Scenario, network: Network | None = None) -> list[LinkRow]:
    """Return every link of a scenario, both directions of a cable one after the other."""
    network = network or build_network(scenario)
    return [_link(scenario, network, link) for link in network.links.values()]


def _link(scenario: Scenario, network: Network, link: Link) -> LinkRow:
    spec = link.spec
    from_unit = network.nodes[link.source].is_unit
    return LinkRow(
        name=link.name,
        cable=link.cable,
        source=link.source,
        target=link.target,
        link_class=link.link_class,
        rate_mbps=None if spec is None else spec.rate_mbps,
        delay_ms=None if spec is None else spec.delay_ms,
        loss_percent=None if spec is None else spec.loss_percent,
        buffer_mb=None if spec is None else spec.buffer_mb,
        changes=_changes(scenario, link),
        switch_port=None if from_unit else port_number(network, link.source, link.target),
    )


def _changes(scenario: Scenario, link: Link) -> tuple[str, ...]:
    events = scenario.events
    both = {f"{link.source}-{link.target}", f"{link.target}-{link.source}"}
    found = ["capacity"] if any(e.link in {*both, link.name} for e in events.capacity) else []
    found += [
        f"capacity x{e.factor[0]:g}-{e.factor[1]:g}"
        for e in events.capacity_process
        if e.link_class == link.link_class
    ]
    found += ["failure"] if any(e.link in both for e in events.failures) else []
    return tuple(found)

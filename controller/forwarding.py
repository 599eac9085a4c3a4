"""What every switch is to do with packets, computed from the graph alone.

Base stations forward like routers, by IPv4 destination, along ``Network.path``; nothing is ever
flooded and nothing is learned. Table 0 is anti-spoofing: what enters from a host must carry that
host's addresses. Table 1 forwards; at the last hop the Ethernet addresses are rewritten, as a
router does. Whatever no flow matches is dropped (OpenFlow 1.3, section 5.4).

Where a cluster shares its radio, its access point passes everything that comes from a device up to
the base station, also what is meant for a neighbour; the base station sends that back down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx

from model.addressing import GATEWAY_MAC, host_ip, host_mac, port_number
from model.network import Network, Node

INGRESS_TABLE, FORWARDING_TABLE = 0, 1
ARP_METER = 1
"""Meter of a switch through which ARP requests pass on their way to the controller."""

_IPV4, _ARP, _ARP_REQUEST = 0x0800, 0x0806, 1
IN_PORT = 0xFFFFFFF8
"""OpenFlow's name for the port a packet came in by; its number itself would drop the packet."""
_PRIORITY_FORWARD, _PRIORITY_RADIO, _PRIORITY_CELL = 100, 150, 200

MatchValue = int | str | tuple[str, str]
FlowKey = tuple[int, int, tuple[tuple[str, MatchValue], ...]]
FlowTable = Mapping[FlowKey, "Flow"]


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow; without any of the last four fields it drops.

    Attributes:
        match: OpenFlow field → value; an address may be (address, mask).
        rewrite: OpenFlow field → new value.
        output: port number of the switch, or ``IN_PORT``.
        goto: the table that goes on.
        to_controller: hand the packet to the controller, through ``ARP_METER``.
    """

    table: int
    priority: int
    match: tuple[tuple[str, MatchValue], ...]
    rewrite: tuple[tuple[str, str], ...] = ()
    output: int | None = None
    goto: int | None = None
    to_controller: bool = False

    @property
    def key(self) -> FlowKey:
        """What makes two flows of a switch the same flow."""
        return self.table, self.priority, self.match


@dataclass(frozen=True, slots=True)
class FlowChange:
    """A flow to be added, modified in place (its counters go on) or deleted."""

    command: Literal["add", "modify", "delete"]
    flow: Flow


def changes(installed: FlowTable, wanted: FlowTable) -> list[FlowChange]:
    """What turns one table of flows into another: first what leads somewhere, deletions last."""
    steps = []
    for key, flow in wanted.items():
        if key not in installed:
            steps.append(FlowChange("add", flow))
        elif installed[key] != flow:
            steps.append(FlowChange("modify", flow))
    steps += [FlowChange("delete", flow) for key, flow in installed.items() if key not in wanted]
    return steps


@dataclass(frozen=True, slots=True)
class Host:
    """Where a host is attached and what it is called."""

    name: str
    switch: str
    port: int
    ip: str
    mac: str
    cable: str


class Forwarding:
    """The flows of all switches of a network, for any set of cables that are down.

    Attributes:
        hosts: all hosts by name, in the order of ``Network.units``.
        ports: switch → neighbour → OpenFlow port number.
    """

    def __init__(self, network: Network, *, arp: bool = False):
        """``arp``: hosts may ask for addresses (stock Mininet's do); otherwise ARP is dropped."""
        self.network, self._arp = network, arp
        self.ports: dict[str, dict[str, int]] = {
            s.name: {n: port_number(network, s.name, n) for n in network.graph.successors(s.name)}
            for s in network.switches
        }
        self.hosts: dict[str, Host] = {n.name: self._host(n) for n in network.units}
        self._ingress = {s: self._ingress_flows(s) + self._cell_flows(s) for s in self.ports}

    def _host(self, node: Node) -> Host:
        (switch,) = self.network.graph.successors(node.name)
        cable = self.network.links[f"{node.name}>{switch}"].cable
        ip, mac = host_ip(self.network, node), host_mac(self.network, node)
        return Host(node.name, switch, self.ports[switch][node.name], ip, mac, cable)

    def _ingress_flows(self, switch: str) -> list[Flow]:
        flows = []
        for neighbour, port in self.ports[switch].items():
            host = self.hosts.get(neighbour)
            if host is None:
                match: tuple[tuple[str, MatchValue], ...] = (("in_port", port), ("eth_type", _IPV4))
            else:
                match = (
                    ("in_port", port),
                    ("eth_src", host.mac),
                    ("eth_type", _IPV4),
                    ("ipv4_src", host.ip),
                )
            flows.append(Flow(INGRESS_TABLE, _PRIORITY_FORWARD, match, goto=FORWARDING_TABLE))
            if host is not None and self._arp:
                flows.append(self._arp_flow(host))
        return flows

    def _arp_flow(self, host: Host) -> Flow:
        match: tuple[tuple[str, MatchValue], ...] = (
            ("in_port", host.port),
            ("eth_src", host.mac),
            ("eth_type", _ARP),
            ("arp_op", _ARP_REQUEST),
            ("arp_spa", host.ip),
            ("arp_sha", host.mac),
        )
        return Flow(INGRESS_TABLE, _PRIORITY_FORWARD, match, to_controller=True)

    def _cell_flows(self, switch: str) -> list[Flow]:
        """Devices reach the devices of their own cell only, as ``Network.targets`` says.

        The base station of the sender drops the rest; what it passes on between devices never
        leaves its cell, so no other base station is in the way.
        """
        node = self.network.nodes[switch]
        if node.kind != "bs":
            return []
        clusters = {d.cluster: d for d in self.network.devices if d.cell != switch}
        flows = []
        for device in clusters.values():
            first, second, third, _ = self.hosts[device.name].ip.split(".")
            match: tuple[tuple[str, MatchValue], ...] = (
                ("eth_type", _IPV4),
                ("ipv4_src", (f"{first}.{second}.0.0", "255.255.0.0")),
                ("ipv4_dst", (f"{first}.{second}.{third}.0", "255.255.255.0")),
            )
            flows.append(Flow(FORWARDING_TABLE, _PRIORITY_CELL, match))
        return flows

    def flows(self, down: frozenset[str] = frozenset()) -> dict[str, dict[FlowKey, Flow]]:
        """The flows of every switch while the cables named by ``down`` are out of service.

        A destination that a switch cannot reach has no flow there: its packets are dropped.
        """
        tables = {s: {f.key: f for f in flows} for s, flows in self._ingress.items()}
        hops = {s: self.next_hops(s, down) for s in {h.switch for h in self.hosts.values()}}
        for host in self.hosts.values():
            if host.cable in down:
                continue
            match: tuple[tuple[str, MatchValue], ...] = (
                ("eth_type", _IPV4),
                ("ipv4_dst", host.ip),
            )
            final = Flow(
                FORWARDING_TABLE,
                _PRIORITY_FORWARD,
                match,
                rewrite=(("eth_src", GATEWAY_MAC), ("eth_dst", host.mac)),
                output=host.port,
            )
            if self.network.nodes[host.switch].kind == "ap":
                self._add_radio_flows(tables, host, final, down)
            else:
                tables[host.switch][final.key] = final
            for switch, neighbour in hops[host.switch].items():
                port = self.ports[switch][neighbour]
                flow = Flow(FORWARDING_TABLE, _PRIORITY_FORWARD, match, output=port)
                tables[switch][flow.key] = flow
        return tables

    def _add_radio_flows(
        self,
        tables: dict[str, dict[FlowKey, Flow]],
        host: Host,
        final: Flow,
        down: frozenset[str],
    ) -> None:
        """What leads to a device behind an access point, wherever it comes from.

        At the access point: from the base station, to the device; from its neighbours, up. At the
        base station: what came up that radio goes down again.
        """
        radio, station = host.switch, self.network.nodes[host.switch].cell
        up, back = self.ports[radio][station], self.ports[station][radio]
        if self.network.links[f"{radio}>{station}"].cable in down:
            return
        arriving = replace(final, priority=_PRIORITY_RADIO, match=(("in_port", up), *final.match))
        leaving = replace(final, rewrite=(), output=up)
        returning = replace(
            arriving, match=(("in_port", back), *final.match), rewrite=(), output=IN_PORT
        )
        for switch, flow in ((radio, arriving), (radio, leaving), (station, returning)):
            tables[switch][flow.key] = flow

    def next_hops(self, target: str, down: frozenset[str]) -> dict[str, str]:
        """Switch → neighbouring switch on its shortest path to the switch ``target``.

        One breadth-first search serves every host behind ``target``: of the neighbours that are
        one hop nearer the first in order is taken, which is what ``Network.path`` says too,
        because each tail of its path is again the first shortest path of where it begins. The core
        is in nobody's way except to and from the cloud; so it is left out of the search unless the
        cloud is behind ``target``, and otherwise only begins paths.
        """
        graph: nx.Graph[str] = nx.Graph()
        graph.add_nodes_from(self.ports)
        graph.add_edges_from(
            (k.source, k.target)
            for k in self.network.links.values()
            if k.source in self.ports and k.target in self.ports and k.cable not in down
        )
        inner = graph
        if "core" in graph and target != "core":
            inner = graph.subgraph(s for s in graph if s != "core")
        distance = nx.single_source_shortest_path_length(inner, target)
        hops = {}
        for switch in graph:
            nearer = [(distance[n], n) for n in graph[switch] if n in distance]
            if switch != target and nearer:
                hops[switch] = min(nearer)[1]
        return hops

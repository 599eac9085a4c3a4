"""The crowd-edge graph of a scenario: nodes, directed links, shortest paths.

Vocabulary: a *cable* joins two nodes; a *link* is one direction of a cable and is named
``"c2d3>bs1"``. Units that compute (devices, edges, the cloud) are hosts; base stations and, where a
cluster shares its radio, the cluster's access point are switches; so is the ``core`` in front of
the cloud. A host has one cable only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import networkx as nx
import numpy as np

from model.random_streams import stream
from model.scenario import ClusterSpec, LinkClass, LinkSpec, Scenario

NodeKind = Literal["device", "edge", "cloud", "bs", "ap", "core"]
UNIT_KINDS: tuple[NodeKind, ...] = ("device", "edge", "cloud")


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph; ``cell`` is the base station that serves it ('' for the cloud)."""

    name: str
    kind: NodeKind
    cell: str
    cluster: str
    index: int
    position_m: tuple[float, float]

    @property
    def is_unit(self) -> bool:
        """Whether the node computes (and is a host rather than a switch)."""
        return self.kind in UNIT_KINDS


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a cable. ``spec`` None: an ideal cable inside a shared radio, not shaped."""

    source: str
    target: str
    link_class: LinkClass | None
    spec: LinkSpec | None

    @property
    def name(self) -> str:
        """``"c2d3>bs1"``."""
        return f"{self.source}>{self.target}"

    @property
    def cable(self) -> str:
        """Name of the cable, the same for both directions: ``"bs1-c2d3"``."""
        return "-".join(sorted((self.source, self.target)))


class Network:
    """The graph of a scenario, in a fixed order: everything indexed by it is reproducible.

    Attributes:
        nodes: all nodes by name.
        links: all directed links by name; shaped ones carry a class and a spec.
    """

    def __init__(
        self,
        nodes: list[Node],
        cables: list[tuple[str, str, LinkClass | None, LinkSpec | None]],
        *,
        cloud_is_target: bool = False,
    ):
        self._cloud_is_target = cloud_is_target
        self.nodes: dict[str, Node] = {n.name: n for n in nodes}
        self.links: dict[str, Link] = {}
        for a, b, link_class, spec in cables:
            for source, target in ((a, b), (b, a)):
                link = Link(source, target, link_class, spec)
                self.links[link.name] = link
        self.graph: nx.DiGraph[str] = nx.DiGraph()
        self.graph.add_nodes_from(self.nodes)
        self.graph.add_edges_from((k.source, k.target) for k in self.links.values())

    @cached_property
    def shaped_links(self) -> tuple[Link, ...]:
        """The links with a capacity, in fixed order."""
        return tuple(k for k in self.links.values() if k.spec is not None)

    @cached_property
    def link_classes(self) -> tuple[LinkClass, ...]:
        """Classes of the shaped links that there are."""
        classes = (k.link_class for k in self.shaped_links)
        return tuple(dict.fromkeys(c for c in classes if c is not None))

    def of_kind(self, *kinds: NodeKind) -> tuple[Node, ...]:
        """Nodes of the given kinds, kind by kind, in fixed order."""
        return tuple(n for kind in kinds for n in self.nodes.values() if n.kind == kind)

    @property
    def devices(self) -> tuple[Node, ...]:
        """The agents."""
        return self.of_kind("device")

    @property
    def units(self) -> tuple[Node, ...]:
        """Everything that computes: devices, then edges, then the cloud."""
        return self.of_kind(*UNIT_KINDS)

    @property
    def switches(self) -> tuple[Node, ...]:
        """Base stations, then access points of shared radios and the core."""
        return self.of_kind("bs", "ap", "core")

    def targets(self, device: str) -> tuple[str, ...]:
        """Units a device may choose: itself, the devices of its cell, the edges, (the cloud).

        The cloud is a target only where agents may choose it (``cloud.mode: target``); with
        ``overflow`` the edges use it on their own account and the agents need not know.
        """
        own = self.nodes[device]
        peers = [n.name for n in self.devices if n.cell == own.cell and n.name != device]
        edges = [n.name for n in self.of_kind("edge")]
        far = [n.name for n in self.of_kind("cloud")] if self._cloud_is_target else []
        return (device, *peers, *edges, *far)

    def path(
        self, source: str, target: str, down: frozenset[str] = frozenset()
    ) -> tuple[Link, ...]:
        """Shortest path as links; ``down`` names cables that are out of service.

        Ties go to the path whose node names come first in order, so that both worlds and the
        controller agree. Two devices that share a radio talk through their base station: up the
        radio and down again. Raises ``networkx.NetworkXNoPath`` if there is none.
        """
        if radio := self.shared_radio(source, target):
            hops = [source, radio, self.nodes[radio].cell, radio, target]
            return self._along(hops, down)
        graph: nx.DiGraph[str] = self.graph
        transit_only_for_cloud = "core" in graph and "cloud" not in (source, target)
        if down or transit_only_for_cloud:
            graph = graph.copy()
            graph.remove_edges_from(
                (k.source, k.target) for k in self.links.values() if k.cable in down
            )
            if transit_only_for_cloud:
                graph.remove_node("core")
        hops = min(nx.all_shortest_paths(graph, source, target))
        return self._along(hops, frozenset())

    def shared_radio(self, source: str, target: str) -> str:
        """Name of the access point that two different devices have in common, or ''."""
        a, b = self.nodes[source], self.nodes[target]
        both = a.kind == b.kind == "device" and a is not b and a.cluster == b.cluster
        return a.cluster if both and a.cluster in self.nodes else ""

    def _along(self, hops: list[str], down: frozenset[str]) -> tuple[Link, ...]:
        links = tuple(self.links[f"{a}>{b}"] for a, b in pairwise(hops))
        if any(link.cable in down for link in links):
            raise nx.NetworkXNoPath(f"{hops[0]} and {hops[-1]} are cut off from each other")
        return links


def cluster_sizes(scenario: Scenario) -> dict[str, int]:
    """Number of devices of each cluster, drawn by ``topology_seed``."""
    rng = stream(scenario.network.topology_seed, "cluster-sizes")

    def size(cluster: ClusterSpec) -> int:
        if isinstance(cluster.devices, int):
            return cluster.devices
        return int(rng.integers(cluster.devices[0], cluster.devices[1] + 1))

    return {cluster.name: size(cluster) for cluster in scenario.network.clusters}


def _station_positions(scenario: Scenario) -> dict[str, tuple[float, float]]:
    """Base stations side by side along the longer side of the area."""
    width, height = scenario.network.area_m
    count = len(scenario.network.base_stations)
    return {
        bs.name: (width / 2, height * (k + 0.5) / count)
        for k, bs in enumerate(scenario.network.base_stations)
    }


def _device_nodes(scenario: Scenario) -> list[Node]:
    rng = stream(scenario.network.topology_seed, "positions")
    stations = _station_positions(scenario)
    spread = scenario.network.area_m[1] / len(stations) / 2.2
    sizes = cluster_sizes(scenario)
    nodes = []
    for cluster in scenario.network.clusters:
        centre = np.asarray(stations[cluster.bs]) + rng.uniform(-spread, spread, 2) * (0.8, 0.6)
        for k in range(1, sizes[cluster.name] + 1):
            x, y = centre + rng.normal(0.0, spread / 6, 2)
            name = f"{cluster.name}d{k}"
            nodes.append(Node(name, "device", cluster.bs, cluster.name, k, (float(x), float(y))))
    return nodes


def _station_pairs(scenario: Scenario) -> list[tuple[str, str]]:
    names = [b.name for b in scenario.network.base_stations]
    if scenario.network.backbone_topology == "mesh":
        return [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    pairs = list(pairwise(names))
    if scenario.network.backbone_topology == "ring" and len(names) > 2:
        pairs.append((names[-1], names[0]))
    return pairs


def build_network(scenario: Scenario) -> Network:
    """The graph of a scenario; the same for the same scenario, always."""
    spec = scenario.network
    stations = _station_positions(scenario)
    devices = _device_nodes(scenario)
    nodes = list(devices)
    cables: list[tuple[str, str, LinkClass | None, LinkSpec | None]] = []
    to_cloud = scenario.cloud.mode == "target"
    for k, bs in enumerate(spec.base_stations, 1):
        x, y = stations[bs.name]
        nodes.append(Node(bs.edge, "edge", bs.name, "", k, (x + 15.0, y)))
    if scenario.cloud.mode != "none":
        far = (spec.area_m[0] * 1.4, spec.area_m[1] / 2)
        nodes.append(Node("cloud", "cloud", "", "", 1, far))
        nodes.append(Node("core", "core", "", "", 1, far))
        cables.append(("cloud", "core", None, None))
    for k, bs in enumerate(spec.base_stations, 1):
        nodes.append(Node(bs.name, "bs", bs.name, "", k, stations[bs.name]))
        cables.append((bs.edge, bs.name, "access", spec.access))
        if scenario.cloud.mode != "none":
            cables.append((bs.name, "core", "backbone", spec.backbone))
    cables += [(a, b, "e2e", spec.e2e) for a, b in _station_pairs(scenario)]
    if spec.wireless_scope == "device":
        cables += [(d.name, d.cell, "e2d", spec.e2d) for d in devices]
        return Network(nodes, cables, cloud_is_target=to_cloud)
    for k, cluster in enumerate(spec.clusters, 1):
        nodes.append(Node(cluster.name, "ap", cluster.bs, cluster.name, k, stations[cluster.bs]))
        cables.append((cluster.name, cluster.bs, "e2d", spec.e2d))
    cables += [(d.name, d.cluster, None, None) for d in devices]
    return Network(nodes, cables, cloud_is_target=to_cloud)

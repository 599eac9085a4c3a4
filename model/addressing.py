"""Addresses of hosts: derived from names' positions in the graph, so nobody has to be asked.

Hosts live in 10.0.0.0/8: devices 10.1.<cluster>.<index>, edges 10.2.0.<index>, the cloud 10.3.0.1.
Base stations forward by IPv4 destination and act as everybody's gateway, 10.0.0.1, with one shared
MAC address; hosts hold one permanent neighbour entry for it, so that no ARP crosses the network.
"""

from __future__ import annotations

from model.network import Network, Node

PREFIX_LENGTH = 8
GATEWAY_IP = "10.0.0.1"
GATEWAY_MAC = "02:ce:00:00:00:01"
TASK_PORT = 5000
"""TCP port on which every unit accepts tasks."""


def host_ip(network: Network, node: Node) -> str:
    """IPv4 address of a host (a unit)."""
    if node.kind == "edge":
        return f"10.2.0.{node.index}"
    if node.kind == "cloud":
        return "10.3.0.1"
    clusters = list(dict.fromkeys(n.cluster for n in network.devices))
    return f"10.1.{clusters.index(node.cluster) + 1}.{node.index}"


def host_mac(network: Network, node: Node) -> str:
    """MAC address of a host: locally administered, spelling out its IPv4 address."""
    return "02:ce:" + ":".join(f"{int(octet):02x}" for octet in host_ip(network, node).split("."))


def datapath_id(network: Network, node: Node) -> int:
    """OpenFlow datapath id of a switch: its position among the switches, from 1."""
    return [n.name for n in network.switches].index(node.name) + 1


def port_number(network: Network, switch: str, neighbour: str) -> int:
    """OpenFlow port of ``switch`` towards ``neighbour``: its position among them, from 1."""
    return list(network.graph.successors(switch)).index(neighbour) + 1


def interface_name(source: str, target: str) -> str:
    """Interface from which a link's packets leave, in the run's fabric namespace: ``c2d3-bs1``."""
    return f"{source}-{target}"

"""A paper switch: follows a packet through tables of flows as OpenFlow 1.3 says."""

from __future__ import annotations

from ipaddress import IPv4Address

from controller.forwarding import IN_PORT, Flow, FlowKey, Forwarding

Tables = dict[str, dict[FlowKey, Flow]]


def _fits(flow: Flow, packet: dict[str, object]) -> bool:
    for name, wanted in flow.match:
        have = packet.get(name)
        if isinstance(wanted, tuple):
            address, mask = (int(IPv4Address(part)) for part in wanted)
            if have is None or int(IPv4Address(str(have))) & mask != address:
                return False
        elif have != wanted:
            return False
    return True


def _lookup(flows: dict[FlowKey, Flow], table: int, packet: dict[str, object]) -> Flow | None:
    fitting = [f for f in flows.values() if f.table == table and _fits(f, packet)]
    if not fitting:
        return None
    best = max(f.priority for f in fitting)
    (flow,) = [f for f in fitting if f.priority == best]
    return flow


def walk(
    forwarding: Forwarding,
    tables: Tables,
    source: str,
    target: str,
    down: frozenset[str] = frozenset(),
    claimed: str | None = None,
) -> tuple[list[str], dict[str, object]]:
    """The nodes that a packet visits and the packet as it ends; ``claimed``: whose IP it bears.

    Raises ``AssertionError`` if it loops or is sent over a cable that is down.
    """
    hosts, links = forwarding.hosts, forwarding.network.links
    packet: dict[str, object] = {
        "eth_src": hosts[source].mac,
        "eth_type": 0x0800,
        "ipv4_src": hosts[claimed or source].ip,
        "ipv4_dst": hosts[target].ip,
    }
    visited, previous, here = [source], source, hosts[source].switch
    crossed = set()
    while True:
        link = links[f"{previous}>{here}"]
        assert link.cable not in down
        assert link.name not in crossed, f"{visited} crosses {link.name} again"
        crossed.add(link.name)
        visited.append(here)
        if here in hosts:
            return visited, packet
        packet["in_port"] = forwarding.ports[here][previous]
        flow = _lookup(tables[here], 0, packet)
        while flow is not None and flow.goto is not None:
            flow = _lookup(tables[here], flow.goto, packet)
        if flow is None or flow.output is None:
            return visited, packet
        packet |= dict(flow.rewrite)
        assert flow.output != packet["in_port"], "OpenFlow drops what leaves where it came in"
        output = packet["in_port"] if flow.output == IN_PORT else flow.output
        (neighbour,) = [n for n, p in forwarding.ports[here].items() if p == output]
        previous, here = here, neighbour

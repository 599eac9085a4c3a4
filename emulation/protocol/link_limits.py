"""What slow links, long delays and small buffers mean for a run, known before it starts.

Before the first slot every device pings each of its targets and opens a connection to it. On slow
links these first exchanges are spaced and waited for accordingly, so that round trips are of idle
paths; where that would take minutes, the run is refused in one line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from model.errors import UserError
from model.network import Link, Network, build_network
from model.packet_sizes import FRAME_BYTES, PING_HEADERS_BYTES
from model.rates import transmission_s
from model.scenario import LinkClass, Scenario

GAP_S, LIMIT_S = 0.02, 5.0
"""Between two first exchanges of a device, and to wait for the last; real s, on fast links."""
PINGS = 3
"""First pings to each target; then comes the connection."""
_MOST_S = 120.0
"""The kernel gives up opening a connection after about so long."""
_OPENING_BYTES = 1000
"""Of a connection on the wire, one way: handshake, and HELLO in eleven pieces."""
_MAX_BUFFER_BYTES = 2**32 - 1
"""What the kernel's FIFO counts up to."""


@dataclass(frozen=True, slots=True)
class FirstExchanges:
    """How the first pings and connections are spaced and how long they may take, real s.

    Attributes:
        gap_s: between two exchanges of one device.
        limit_s: from the last one to the time when it must be answered.
        total_s: of all of them, at most.
        slowest: class of the link that decides.
    """

    gap_s: float
    limit_s: float
    total_s: float
    slowest: LinkClass


def first_exchanges(scenario: Scenario, network: Network, speedup: float) -> FirstExchanges:
    """Plan the first pings and connections of all devices, all of which begin at once."""
    one_round = _seconds_of_a_round(scenario, network)
    slowest = max(one_round, key=lambda name: one_round[name][0])
    ping_s, opening_s = one_round[slowest]
    cloud = scenario.cloud.mode == "target"
    cells = Counter(d.cell for d in network.devices)
    targets = max(cells.values()) - 1 + len(network.of_kind("edge")) + cloud
    gap_s = max(GAP_S, ping_s)
    # All connections are opened in the last turns, and may wait for each other; a lost packet of
    # one is sent again. A connection is there after two round trips.
    limit_s = max(LIMIT_S, 2 * targets * opening_s + 4 * _longest_delay_s(scenario) / speedup)
    total_s = (PINGS + 1) * targets * gap_s + limit_s
    return FirstExchanges(gap_s, limit_s, total_s, slowest)


def require_first_exchanges(scenario: Scenario, network: Network, speedup: float) -> None:
    """Raise ``UserError`` if the first pings and connections would take minutes."""
    plan = first_exchanges(scenario, network, speedup)
    if plan.total_s > _MOST_S:
        spec = scenario.network.link(plan.slowest)
        delay_s = _longest_delay_s(scenario)
        raise UserError(
            f"the first pings and connections of {len(network.devices)} devices would take "
            f"{plan.total_s:.0f} s over network.{plan.slowest} ({spec.rate_mbps:g} Mbps) and "
            f"delays of {delay_s:g} s there and back; at most {_MOST_S:.0f} s are allowed: raise "
            "rate_mbps, lower delay_ms, take fewer devices, or simulate (--world simulator)"
        )


def require_buffers(scenario: Scenario, speedup: float) -> None:
    """Raise ``UserError`` for a link whose buffer, at this speed-up, the kernel cannot make.

    A buffer must hold one frame, or no full packet ever passes.
    """
    for name in build_network(scenario).link_classes:
        spec = scenario.network.link(name)
        real = spec.buffer_mb * 1e6 / speedup
        if FRAME_BYTES <= real <= _MAX_BUFFER_BYTES:
            continue
        raise UserError(
            f"network.{name}.buffer_mb = {spec.buffer_mb:g} is {real:.0f} real bytes at --speedup "
            f"{speedup:g}; a link needs {FRAME_BYTES} (a frame) to {_MAX_BUFFER_BYTES} bytes: "
            "choose another buffer or speed-up"
        )


def _seconds_of_a_round(
    scenario: Scenario, network: Network
) -> dict[LinkClass, tuple[float, float]]:
    """Class of links → real s of a ping, and of the opening of a connection, of all that share it.

    Speed-up does not matter: rates and packets of a run are real.
    """
    ping_bytes = scenario.probes.ping_bytes + PING_HEADERS_BYTES
    seconds = {}
    for link in network.shaped_links:
        if link.link_class is None:
            continue
        spec = scenario.network.link(link.link_class)
        byte_s = transmission_s(_sharing(link, network), spec.rate_mbps)
        seconds[link.link_class] = (ping_bytes * byte_s, _OPENING_BYTES * byte_s)
    return seconds


def _sharing(link: Link, network: Network) -> int:
    """Exchanges that may be on a link in one turn: its own device's, and those of its peers."""
    if link.link_class != "e2d":
        return len(network.devices)
    own = {link.source, link.target} & {d.name for d in network.devices}
    return 2 if own else 2 * max(Counter(d.cluster for d in network.devices).values())


def _longest_delay_s(scenario: Scenario) -> float:
    """Sum of the propagation delays of the longest path, there and back, scenario s."""
    net = scenario.network
    hops = {"mesh": 1, "line": len(net.base_stations) - 1, "ring": len(net.base_stations) // 2}
    between = min(hops[net.backbone_topology], len(net.base_stations) - 1) * net.e2e.delay_ms
    far = net.backbone.delay_ms if scenario.cloud.mode != "none" else 0.0
    last = max(net.access.delay_ms, net.e2d.delay_ms, far)
    return 2 * (net.e2d.delay_ms + between + last) / 1e3

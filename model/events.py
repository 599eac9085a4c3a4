"""What happens to the network during a run, as one list in order of time; one for both worlds."""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import ScenarioError
from model.network import Network
from model.random_streams import stream
from model.scenario import CapacityProcess, Scenario


@dataclass(frozen=True, slots=True)
class CapacityEvent:
    """From ``at_s`` on, a directed link has the capacity c_l(t) = ``rate_mbps``."""

    at_s: float
    link: str
    rate_mbps: float


@dataclass(frozen=True, slots=True)
class CableEvent:
    """At ``at_s`` a cable (both of its links) goes down or comes up again."""

    at_s: float
    cable: str
    up: bool


NetworkEvent = CapacityEvent | CableEvent


def _directed(network: Network, name: str) -> list[str]:
    """The shaped links meant by ``"a>b"`` (one direction) or ``"a-b"`` (both, in either order)."""
    if name in network.links:
        names = [name]
    else:
        a, _, b = name.partition("-")
        names = [n for n in (f"{a}>{b}", f"{b}>{a}") if n in network.links]
    if not names or network.links[names[0]].spec is None:
        example = network.shaped_links[0]
        raise ScenarioError(
            f"events: there is no shaped link '{name}'; a link is named like '{example.name}' "
            f"(one direction) or '{example.source}-{example.target}' (both)"
        )
    return names


def _process_events(
    scenario: Scenario, network: Network, seed: int, process: CapacityProcess, number: int
) -> list[NetworkEvent]:
    events: list[NetworkEvent] = []
    for link in network.shaped_links:
        if link.link_class != process.link_class or link.spec is None:
            continue
        rng = stream(seed, "capacity", str(number), link.name)
        steps = int(scenario.duration_s / process.every_s)
        for k in range(1, steps + 1):
            rate = link.spec.rate_mbps * float(rng.uniform(*process.factor))
            if k * process.every_s < scenario.duration_s:
                events.append(CapacityEvent(k * process.every_s, link.name, rate))
    return events


def timeline(scenario: Scenario, network: Network, seed: int) -> tuple[NetworkEvent, ...]:
    """All network events of (scenario, seed) in order of time.

    Raises ``ScenarioError`` if an event names a link that does not exist.
    """
    events: list[NetworkEvent] = []
    for change in scenario.events.capacity:
        events += [
            CapacityEvent(change.at_s, n, change.rate_mbps) for n in _directed(network, change.link)
        ]
    for number, process in enumerate(scenario.events.capacity_process):
        events += _process_events(scenario, network, seed, process, number)
    for failure in scenario.events.failures:
        cable = network.links[_directed(network, failure.link)[0]].cable
        events.append(CableEvent(failure.at_s, cable, up=False))
        events.append(CableEvent(failure.at_s + failure.down_s, cable, up=True))
    return tuple(sorted(events, key=lambda e: e.at_s))

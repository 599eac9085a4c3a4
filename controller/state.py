"""Everything the controller knows, in one object: what its operator's interface will show."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.forwarding import Flow, FlowKey, Forwarding
from controller.link_sampler import LinkReading
from controller.switch_messages import PortCounters
from model.addressing import datapath_id
from model.network import Network


@dataclass(slots=True)
class Switch:
    """A switch as the controller knows it.

    Attributes:
        neighbours: port number → the node behind it, by the scenario.
        seen: it has been connected at least once; before, its cables count as up.
        ports: port number → up, of the ports that it has.
        flows: what was sent to it.
        counters: port number → the last statistics.
    """

    name: str
    datapath_id: int
    neighbours: dict[int, str]
    connected: bool = False
    seen: bool = False
    ports: dict[int, bool] = field(default_factory=dict)
    flows: dict[FlowKey, Flow] = field(default_factory=dict)
    counters: dict[int, PortCounters] = field(default_factory=dict)

    def reaches(self, port: int) -> bool:
        """Whether the switch, if it was ever seen, can use a port now."""
        return not self.seen or (self.connected and self.ports.get(port, False))


class ControllerState:
    """The network, its switches, its cables and the last look at its links.

    Only the controller's main thread changes it.

    Attributes:
        switches: by name, in order.
        down: names of the cables that are out of service.
        sampled_at: when ``readings`` were taken (CLOCK_MONOTONIC, s); None before the first look.
        readings: the last look at the shaped links.
        virtual_backlog_bytes: V_l of eq. (2), in the order of ``readings``.
    """

    def __init__(self, network: Network, forwarding: Forwarding):
        self.network = network
        self.switches: dict[str, Switch] = {
            node.name: Switch(
                node.name,
                datapath_id(network, node),
                {port: name for name, port in forwarding.ports[node.name].items()},
            )
            for node in network.switches
        }
        self._by_id = {s.datapath_id: s for s in self.switches.values()}
        self.down: frozenset[str] = frozenset()
        self.sampled_at: float | None = None
        self.readings: list[LinkReading] = []
        self.virtual_backlog_bytes: list[float] = []

    def by_id(self, identity: int) -> Switch | None:
        """The switch with a datapath id; None if the scenario has no such switch."""
        return self._by_id.get(identity)

    @property
    def all_connected(self) -> bool:
        """Whether every switch of the scenario is there."""
        return all(s.connected for s in self.switches.values())

    @property
    def flow_count(self) -> int:
        """Flows on all switches."""
        return sum(len(s.flows) for s in self.switches.values())

    def cables_down(self) -> frozenset[str]:
        """Cables that a switch at either end cannot use, by what the switches have said."""
        return frozenset(
            self.network.links[f"{switch.name}>{neighbour}"].cable
            for switch in self.switches.values()
            for port, neighbour in switch.neighbours.items()
            if not switch.reaches(port)
        )

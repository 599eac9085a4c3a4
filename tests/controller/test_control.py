"""What the controller does about reports, with switches that only take orders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import Control, ControllerError
from controller.forwarding import Flow, FlowChange, FlowKey, Forwarding
from controller.link_sampler import LinkReading
from controller.sampling_clock import SlotEnded
from controller.switch_messages import (
    AskPorts,
    Barrier,
    BarrierDone,
    Failed,
    MakeMeter,
    Order,
    PacketIn,
    PortChanged,
    PortCounters,
    PortsCounted,
    SendPacket,
    Sweep,
    SwitchConnected,
    SwitchLost,
)
from model import controller_messages as messages
from tests.controller.scenarios import network
from tests.controller.test_arp import _request


class Switches:
    """Switches that do what they are told at once and answer barriers when asked to."""

    def __init__(self, *, arp: bool = False, **fields: Any):
        self.network = network(**fields)
        self.events: list[messages.Event] = []
        self.control = Control(self.network, self._take, self.events.append, arp=arp)
        self.orders: dict[int, list[Order]] = {}
        self.flows: dict[int, dict[FlowKey, Flow]] = {}
        self.barriers: list[BarrierDone] = []
        self.ids = {s.name: s.datapath_id for s in self.control.state.switches.values()}

    def _take(self, datapath_id: int, orders: Iterable[Order]) -> None:
        flows = self.flows.setdefault(datapath_id, {})
        orders = list(orders)
        # A sweep comes with the first flows of a connection, and only then.
        added = [o.flow for o in orders if isinstance(o, FlowChange)]
        fresh = Sweep() in orders
        for order in orders:
            self.orders.setdefault(datapath_id, []).append(order)
            match order:
                case Sweep():
                    for key in flows.keys() - {f.key for f in added}:
                        del flows[key]
                case FlowChange("delete", flow):
                    del flows[flow.key]
                case FlowChange(command, flow):
                    assert fresh or (flow.key in flows) == (command == "modify")
                    flows[flow.key] = flow
                case Barrier(number):
                    self.barriers.append(BarrierDone(datapath_id, number))

    def ports(self, switch: str) -> dict[str, int]:
        neighbours = self.control.state.switches[switch].neighbours
        return {name: port for port, name in neighbours.items()}

    def connect(self, *names: str) -> None:
        for name in names or self.ids:
            ports = dict.fromkeys(self.ports(name).values(), True) | {0xFFFFFFFE: False}
            self.control.handle(SwitchConnected(self.ids[name], ports))

    def answer(self) -> None:
        for done in self.barriers:
            self.control.handle(done)
        self.barriers.clear()

    def cable(self, a: str, b: str, *, up: bool) -> None:
        """Both ends notice, one after the other."""
        for switch, other in ((a, b), (b, a)):
            if switch in self.ids:
                port = self.ports(switch)[other]
                self.control.handle(PortChanged(self.ids[switch], port, up))

    def told(self, event: str) -> list[Any]:
        return [e for e in self.events if messages.tag_of(e) == event]


def test_installed_is_told_once_all_barriers_are_answered() -> None:
    net = Switches()
    net.connect("bs1", "bs2")
    net.answer()
    assert not net.told("installed")
    net.connect("bs3")
    assert not net.told("installed")
    net.answer()
    wanted = Forwarding(net.network).flows()
    assert net.told("installed") == [messages.Installed(sum(len(t) for t in wanted.values()))]
    assert {net.ids[s]: t for s, t in wanted.items()} == net.flows
    assert not net.told("rerouted")


def test_a_failed_cable_moves_only_what_used_it_and_back() -> None:
    net = Switches()
    net.connect()
    net.answer()
    net.orders.clear()
    net.cable("bs1", "bs2", up=False)
    assert net.told("link") == [messages.CableChanged("bs1-bs2", up=False)]
    changed = [o for orders in net.orders.values() for o in orders if isinstance(o, FlowChange)]
    assert not net.told("rerouted")
    net.answer()
    (event,) = net.told("rerouted")
    assert event.flows_changed == len(changed) == 6
    assert event.seconds >= 0
    net.cable("bs1", "bs2", up=True)
    net.answer()
    assert net.told("link")[-1] == messages.CableChanged("bs1-bs2", up=True)
    assert len(net.told("rerouted")) == 2
    wanted = Forwarding(net.network).flows()
    assert {net.ids[s]: t for s, t in wanted.items()} == net.flows


def test_a_lost_switch_is_bypassed_and_filled_anew_when_it_returns() -> None:
    net = Switches(cloud="target")
    net.connect()
    net.answer()
    net.control.handle(SwitchLost(net.ids["bs2"]))
    net.flows[net.ids["bs2"]] = {}
    net.answer()
    assert {e.cable for e in net.told("link")} == {
        "bs1-bs2", "bs2-bs3", "bs2-core", "bs2-e2", "bs2-c2d1", "bs2-c2d2",
    }  # fmt: skip
    wanted = Forwarding(net.network).flows(net.control.state.down)
    assert net.flows[net.ids["bs1"]] == wanted["bs1"]
    net.connect("bs2")
    net.answer()
    assert not net.control.state.down
    assert len(net.told("installed")) == 2
    wanted = Forwarding(net.network).flows()
    assert {net.ids[s]: t for s, t in wanted.items()} == net.flows


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_happens_switches_end_up_with_the_right_flows(data: st.DataObject) -> None:
    net = Switches(cloud="target", devices=1)
    cables = sorted({tuple(k.cable.split("-")) for k in net.network.links.values()})
    broken: set[tuple[str, ...]] = set()
    connected: set[str] = set()
    steps = st.one_of(st.sampled_from(cables), st.sampled_from(sorted(net.ids)), st.none())
    for step in [*data.draw(st.lists(steps, max_size=20)), *sorted(net.ids)]:
        if step is None:
            net.answer()
        elif isinstance(step, tuple):
            if {*step} & net.ids.keys() <= connected:
                broken ^= {step}
                net.cable(*step, up=step not in broken)
        elif step in connected and data.draw(st.booleans()):
            connected.remove(step)
            net.control.handle(SwitchLost(net.ids[step]))
        else:
            connected.add(step)
            net.connect(step)
            for cable in broken:
                if step in cable:
                    other = cable[1 - cable.index(step)]
                    port = net.ports(step)[other]
                    net.control.handle(PortChanged(net.ids[step], port, False))
    net.answer()
    down = frozenset("-".join(cable) for cable in broken)
    missing = net.ids.keys() - connected
    if not missing:
        assert net.control.state.down == down
    wanted = Forwarding(net.network).flows(net.control.state.down)
    for name in connected:
        assert net.flows[net.ids[name]] == wanted[name]


def test_arp_requests_are_answered_out_of_the_port_they_came_from() -> None:
    net = Switches(arp=True)
    net.connect()
    assert net.orders[1][0] == MakeMeter()
    net.orders.clear()
    net.control.handle(PacketIn(1, 4, _request("10.2.0.1")))
    net.control.handle(PacketIn(1, 4, _request("10.9.9.9")))
    (order,) = net.orders[1]
    assert isinstance(order, SendPacket)
    assert order.port == 4


def _slot(net: Switches, slot: int, sent: int) -> None:
    links = net.network.shaped_links
    readings = [LinkReading(k.name, 100 * slot, sent, sent // 1000, slot, True) for k in links]
    net.control.handle(SlotEnded(slot, 50.0 + slot, readings))


def test_totals_are_counted_from_the_beginning_of_the_first_slot() -> None:
    net = Switches(stations=1, devices=1)
    net.connect()
    _slot(net, 0, sent=7_000)
    assert not net.told("links")
    _slot(net, 1, sent=9_000)
    (event,) = net.told("links")
    assert event.slot == 1
    assert event.sampled_at == 51.0
    assert event.links[0] == (net.network.shaped_links[0].name, 100, 2_000, 1, True)
    assert len(event.virtual_backlog_bytes) == len(net.network.shaped_links)
    assert net.control.state.readings[0].backlog_bytes == 100


def test_a_controller_that_begins_late_counts_from_its_first_look() -> None:
    net = Switches(stations=1, devices=1)
    net.connect()
    _slot(net, 7, sent=70_000)
    assert not net.told("links")
    _slot(net, 8, sent=71_000)
    (event,) = net.told("links")
    assert event.slot == 8
    assert event.links[0][2] == 1_000


def test_counters_of_ports_are_told_by_the_neighbour() -> None:
    net = Switches(stations=1, devices=1)
    net.connect()
    _slot(net, 0, sent=0)
    (number,) = [o.number for o in net.orders[1] if isinstance(o, AskPorts)]
    port = net.ports("bs1")["c1d1"]
    local = PortCounters(0xFFFFFFFE, 1, 1, 1, 1, 1, 1)
    wanted = PortCounters(port, 10, 20, 1, 2, 3, 4)
    net.control.handle(PortsCounted(1, number, (local,), last=False))
    assert not net.told("ports")
    net.control.handle(PortsCounted(1, number, (wanted,), last=True))
    (event,) = net.told("ports")
    assert (event.switch, event.slot) == ("bs1", 0)
    assert event.ports == [("c1d1", 10, 20, 1, 2, 3, 4)]


def test_failures_end_it_and_strangers_do_not() -> None:
    net = Switches()
    net.control.handle(SwitchConnected(99, {}))
    net.control.handle(PortChanged(99, 1, False))
    net.control.handle(SwitchLost(99))
    assert not net.events
    with pytest.raises(ControllerError, match="told so"):
        net.control.handle(Failed("told so"))

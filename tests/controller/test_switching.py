"""The controller with both libraries against a real Open vSwitch: who reaches whom."""

from __future__ import annotations

import importlib.util
import itertools
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from model.addressing import host_ip, port_number
from model.controller_messages import Start
from tests.busy import measuring
from tests.controller.lab import Controller, SwitchedLab, sh
from tests.controller.scenarios import scenario

pytestmark = pytest.mark.ovs


@pytest.fixture(params=["ryu", "os-ken"])
def library(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param.replace("-", "_")) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def serve(tmp_path: Path, library: str) -> Iterator[Any]:
    """Builds a network with its controller, all flows installed."""
    labs = []

    def build(arp: str = "off", **fields: Any) -> tuple[SwitchedLab, Controller]:
        wanted = scenario(**fields)
        lab = SwitchedLab(wanted, tmp_path, arp=arp == "on")
        labs.append(lab)
        controller = Controller(lab, wanted, tmp_path, library, arp)
        controller.wait_for("installed")
        return lab, controller

    yield build
    for lab in labs:
        lab.close()


def _reached(lab: SwitchedLab) -> dict[tuple[str, str], bool]:
    pairs = list(itertools.permutations(lab.hosts, 2))
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(pairs, pool.map(lambda pair: lab.ping(*pair), pairs), strict=True))


def test_one_cell(serve: Any) -> None:
    lab, controller = serve(stations=1, devices=2)
    assert [e["type"] for e in controller.events] == ["listening", "switch", "installed"]
    assert all(_reached(lab).values())
    # A device that calls itself another one is not heard, whatever it says.
    sh("ip", "-n", lab.hosts["c1d1"], "addr", "add", "10.1.1.9/32", "dev", "eth0")
    assert not lab.ping("c1d1", "e1", "-I", "10.1.1.9")
    sh("ip", "-n", lab.hosts["c1d1"], "link", "set", "eth0", "address", "02:00:00:00:00:09")
    assert not lab.ping("c1d1", "e1")
    assert lab.ping("c1d2", "e1")
    controller.stop()


def test_a_host_that_asks_is_not_answered(serve: Any) -> None:
    lab, controller = serve(stations=1, devices=1)
    sh("ip", "-n", lab.hosts["c1d1"], "neigh", "flush", "all", "nud", "permanent")
    assert not lab.ping("c1d1", "e1")
    controller.stop()


def test_hosts_of_stock_mininet_ask_for_addresses(serve: Any) -> None:
    lab, controller = serve(arp="on", stations=1, devices=2)
    assert all(_reached(lab).values())
    assert "02:ce:00:00:00:01" in sh("ip", "-n", lab.hosts["c1d1"], "neigh")
    controller.stop()


@pytest.mark.timing
def test_three_cells_and_a_cable_that_fails(serve: Any) -> None:
    lab, controller = serve(stations=3, devices=1)
    reached = _reached(lab)
    foreign = {(a, b) for a, b in reached if a[0] == b[0] == "c"}
    assert {pair for pair, done in reached.items() if not done} == foreign

    with measuring():
        lab.set_cable("bs1", "bs2", up=False)
        controller.wait_for("link", cable="bs1-bs2", up=False)
        moved = controller.wait_for("rerouted")
    assert moved["flows_changed"] == 4
    assert moved["seconds"] < 1.0
    assert "output:bs1-bs3" in lab.flows("bs1", "ip,nw_dst=10.2.0.2").replace('"', "")
    assert lab.ping("c1d1", "e2")
    assert lab.ping("e2", "e1")

    lab.set_cable("bs1", "bs2", up=True)
    controller.wait_for("link", cable="bs1-bs2", up=True)
    assert controller.wait_for("rerouted")["flows_changed"] == 4
    assert lab.ping("c1d1", "e2")
    controller.stop()


def test_a_host_that_falls_off_and_a_switch_that_goes(serve: Any) -> None:
    lab, controller = serve(stations=3, devices=1)
    lab.set_cable("bs1", "c1d1", up=False)
    controller.wait_for("link", cable="bs1-c1d1", up=False)
    assert controller.wait_for("rerouted")["flows_changed"] == 3
    lab.set_cable("bs1", "c1d1", up=True)
    controller.wait_for("rerouted")

    lab.vsctl("del-br", "bs2")
    controller.wait_for("switch", name="bs2", up=False)
    controller.wait_for("rerouted")
    assert lab.ping("c1d1", "e3")
    assert not lab.ping("c1d1", "e2")
    lab.vsctl(*lab.bridge("bs2"))
    controller.wait_for("switch", name="bs2", up=True)
    controller.wait_for("installed")
    # The barrier says that the flows are there; Open vSwitch may still drop a packet or two by what
    # its cache of decisions holds.
    assert lab.ping("c1d1", "e2", "-c5", "-i0.2")
    controller.stop()


def test_shared_radios_and_a_cloud(serve: Any) -> None:
    lab, controller = serve(
        stations=2, devices=2, cloud="target", wireless_scope="cluster", backbone_topology="line"
    )
    reached = _reached(lab)
    foreign = {(a, b) for a, b in reached if a[0] == b[0] == "c" and a[:2] != b[:2]}
    # "cloud" begins with a c too, and everybody reaches it.
    foreign = {pair for pair in foreign if "cloud" not in pair}
    assert {pair for pair, done in reached.items() if not done} == foreign
    # Neighbours at one access point have met at their base station: a ping and a reply each way.
    radio = port_number(lab.network, "bs1", "c1")
    for device in ("c1d1", "c1d2"):
        address = host_ip(lab.network, lab.network.nodes[device])
        flow = lab.flows("bs1", f"ip,in_port={radio},nw_dst={address}")
        assert "IN_PORT" in flow
        assert "n_packets=2," in flow
    controller.stop()


def test_counters_of_ports_count_what_was_sent(serve: Any) -> None:
    lab, controller = serve(stations=1, devices=1)
    for host in lab.hosts:  # the uplinks' queues, which this network does without
        sh("ip", "-n", lab.fabric, "link", "add", f"{host}-bs1", "up", "type", "veth")
    controller.send(Start(t0=time.monotonic(), slot_s=0.5, slots=4))
    before = dict(zip(*_counters(controller), strict=True))
    assert lab.ping("c1d1", "e1", "-c10", "-i0.01", "-s", "972")  # 1014 bytes each
    for _ in range(3):
        after = dict(zip(*_counters(controller), strict=True))
    received, sent = (after["c1d1"][k] - before["c1d1"][k] for k in (0, 1))
    assert (received, sent) == (10_140, 10_140)
    assert after["e1"][3] - before["e1"][3] == 10
    controller.stop()


def _counters(controller: Controller) -> tuple[list[str], list[list[int]]]:
    rows = controller.wait_for("ports")["ports"]
    return [r[0] for r in rows], [r[1:] for r in rows]


def test_switches_that_die_are_missed_but_survived(serve: Any) -> None:
    lab, controller = serve(stations=2, devices=1)
    lab.kill_switches()
    for switch in ("bs1", "bs2"):
        if not any(e == {"type": "switch", "name": switch, "up": False} for e in controller.events):
            controller.wait_for("switch", name=switch, up=False)
    controller.stop()
    assert "Traceback" not in controller.log.read_text()


def test_a_controller_that_is_replaced_costs_no_packet(
    serve: Any, library: str, tmp_path: Path
) -> None:
    lab, first = serve(stations=1, devices=2)
    inside = ["nsenter", f"--net=/run/netns/{lab.hosts['c1d1']}", "--"]
    address = host_ip(lab.network, lab.network.nodes["e1"])
    pinging = subprocess.Popen(
        [*inside, "ping", "-q", "-i0.005", "-c700", address], stdout=subprocess.PIPE, text=True
    )
    first.end(signal.SIGKILL)
    second = Controller(lab, scenario(stations=1, devices=2), tmp_path, library)
    second.wait_for("installed")
    assert "700 received" in pinging.communicate(timeout=20)[0]
    # A flow that nobody wants any more does not survive the next controller.
    lab.add_flow("bs1", "priority=77,ip,nw_dst=10.9.9.9,actions=drop")
    assert "10.9.9.9" in lab.flows("bs1", "ip,nw_dst=10.9.9.9")
    second.end(signal.SIGKILL)
    third = Controller(lab, scenario(stations=1, devices=2), tmp_path, library)
    third.wait_for("installed")
    assert "10.9.9.9" not in lab.flows("bs1", "ip,nw_dst=10.9.9.9")
    third.stop()

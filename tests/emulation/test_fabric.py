"""The network as the kernel has it, against the ``Topo`` that was asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulation.host import netlink
from emulation.host.commands import CommandError, run
from emulation.host.ledger import Ledger, clean
from emulation.network.fabric import FABRIC, Fabric
from emulation.network.shaping import Shape, ShapingError, verify
from model.addressing import GATEWAY_IP, host_ip
from tests.emulation.scenarios import small_scenario
from topologies.crowd_edge import CrowdEdgeTopo

pytestmark = pytest.mark.ovs


@pytest.fixture(scope="module", params=["device", "cluster"])
def fabric(request: pytest.FixtureRequest) -> Iterator[Fabric]:
    """A built network of each wireless scope, without a controller."""
    ledger = Ledger.open_new()
    topo = CrowdEdgeTopo(scenario=small_scenario(wireless_scope=request.param))
    try:
        built = Fabric(topo, ledger, "netdev", speedup=2.0)
        built.build()
        yield built
        built.close()
    finally:
        ledger.remove_all()


def _qdiscs(fabric: Fabric) -> list[dict[str, object]]:
    answer = run(["tc", "-n", fabric.namespaces[FABRIC], "-j", "qdisc"])
    return list(json.loads(answer))


def test_every_shaped_link_has_its_queue(fabric: Fabric) -> None:
    leaves = {q["dev"]: q for q in _qdiscs(fabric) if q["kind"] == "bfifo"}
    network = fabric._topo.network
    assert set(leaves) == {k.name.replace(">", "-") for k in network.shaped_links}
    for link in network.shaped_links:
        assert link.spec is not None
        limit = leaves[link.name.replace(">", "-")]["options"]["limit"]  # type: ignore[index]
        assert limit == round(link.spec.buffer_mb * 1e6 / 2.0)  # speed-up 2 halves real bytes


def test_rates_are_what_tc_says(fabric: Fabric) -> None:
    for link, shape in fabric.shapes.items():
        interface = link.replace(">", "-")
        told = run(["tc", "-n", fabric.namespaces[FABRIC], "class", "show", "dev", interface])
        assert f"rate {shape.rate_mbps:g}Mbit ceil {shape.rate_mbps:g}Mbit" in told


def test_a_wrong_shape_is_found(fabric: Fabric) -> None:
    name, shape = next(iter(fabric.shapes.items()))
    with netlink.netlink(fabric.namespaces[FABRIC]) as handle:
        index = handle.link_lookup(ifname=name.replace(">", "-"))[0]
        verify(handle, {index: (name, shape)})
        with pytest.raises(ShapingError, match=name):
            verify(handle, {index: (name, Shape(shape.rate_mbps * 1.01, shape.buffer_bytes))})
        with pytest.raises(ShapingError, match=name):
            verify(handle, {index: (name, Shape(shape.rate_mbps, shape.buffer_bytes + 1))})


def test_change_rate_reaches_the_kernel(fabric: Fabric) -> None:
    link, shape = next(iter(fabric.shapes.items()))
    fabric.change_rates({link: 3.5})
    interface = link.replace(">", "-")
    told = run(["tc", "-n", fabric.namespaces[FABRIC], "class", "show", "dev", interface])
    fabric.change_rates({link: shape.rate_mbps})
    assert "rate 3500Kbit" in told


def test_hosts_have_one_interface_one_route_one_neighbour(fabric: Fabric) -> None:
    network = fabric._topo.network
    for node in network.units:
        namespace = fabric.namespaces[node.name]
        links = json.loads(run(["ip", "-n", namespace, "-j", "addr"]))
        addresses = {
            a["ifname"]: [i["local"] for i in a["addr_info"] if i["family"] == "inet"]
            for a in links
        }
        assert addresses == {"lo": ["127.0.0.1"], "eth0": [host_ip(network, node)]}
        assert not [i for a in links for i in a["addr_info"] if i["family"] == "inet6"]
        routes = json.loads(run(["ip", "-n", namespace, "-j", "route"]))
        assert {r["dst"] for r in routes} == {"default", GATEWAY_IP}
        neighbours = json.loads(run(["ip", "-n", namespace, "-j", "neigh"]))
        assert [n["dst"] for n in neighbours] == [GATEWAY_IP]


def test_offloads_are_off_everywhere(fabric: Fabric) -> None:
    interfaces = [
        (fabric.namespaces[FABRIC], str(q["dev"])) for q in _qdiscs(fabric) if q["kind"] == "htb"
    ]
    interfaces += [(fabric.namespaces[n], "eth0") for n in fabric._topo.hosts()]
    for namespace, interface in interfaces:
        told = run(["ip", "netns", "exec", namespace, "ethtool", "-k", interface])
        for feature in ("generic-segmentation-offload", "generic-receive-offload"):
            assert f"{feature}: off" in told, (namespace, interface)
        assert "tx-tcp-segmentation: off" in told
        assert "tx-checksumming: off" in told


def test_the_switch_daemon_runs_before_others(fabric: Fabric) -> None:
    pids = fabric.switch.pids
    daemon = pids["ovs-vswitchd"]
    threads = [int(thread.name) for thread in Path(f"/proc/{daemon}/task").iterdir()]
    assert {os.getpriority(os.PRIO_PROCESS, k) for k in threads} == {-10}
    assert os.getpriority(os.PRIO_PROCESS, pids["ovsdb-server"]) == 0
    group = Path(f"/proc/{daemon}/autogroup")
    if group.exists():
        assert group.read_text().split()[-1] == "-10"
        assert fabric.switch.scheduling == "niceness -10, as its session"
        other = Path(f"/proc/{pids['ovsdb-server']}/autogroup")
        assert other.read_text().split()[-1] == "0"
    else:
        assert fabric.switch.scheduling == "niceness -10"


def test_netem_that_the_kernel_lacks_is_an_error_not_a_silence(
    capabilities: object,
) -> None:
    if capabilities["netem"].ok:  # type: ignore[index]
        pytest.skip("this kernel has netem")
    ledger = Ledger.open_new()
    scenario = small_scenario(e2e={"rate_mbps": 30, "delay_ms": 5})
    try:
        broken = Fabric(CrowdEdgeTopo(scenario=scenario), ledger, "netdev")
        with pytest.raises(CommandError, match="netem"):
            broken.build()
        broken.close()
    finally:
        ledger.remove_all()


def test_clean_leaves_the_living_alone_and_nothing_of_the_dead(tmp_path: Path) -> None:
    alive = Ledger.open_new()
    dead = Ledger.open_new()
    kept = alive.create_namespaces(["x"])["x"]
    lost = dead.create_namespaces(["y"])["y"]
    dead._lock.close()  # as the kernel does when the orchestrator is killed
    try:
        removed = {r.run_id: r for r in clean()}
        assert dead.run_id in removed
        assert alive.run_id not in removed
        assert kept in netlink.existing_namespaces()
        assert lost not in netlink.existing_namespaces()
        assert not dead.directory.exists()
    finally:
        alive.remove_all()
    assert kept not in netlink.existing_namespaces()

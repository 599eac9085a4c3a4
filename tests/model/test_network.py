"""The graph of a scenario."""

from __future__ import annotations

import networkx as nx
import pytest

from model.addressing import host_ip, host_mac, interface_name
from model.network import build_network, cluster_sizes
from model.scenario.load import load_scenario
from model.shipped_scenarios import scenario_names


@pytest.mark.parametrize("name", scenario_names())
def test_names_and_addresses_fit(name: str) -> None:
    network = build_network(load_scenario(name))
    assert all(len(interface_name(k.source, k.target)) <= 15 for k in network.links.values())
    for address in (host_ip, host_mac):
        assert len({address(network, u) for u in network.units}) == len(network.units)


@pytest.mark.parametrize("seed", range(20))
def test_number_of_devices(seed: int) -> None:
    scenario = load_scenario("case1", {"network.topology_seed": seed})
    assert 30 <= len(build_network(scenario).devices) <= 60
    assert all(5 <= size <= 10 for size in cluster_sizes(scenario).values())


def names(network_path: tuple[object, ...]) -> list[str]:
    return [k.name for k in network_path]  # type: ignore[attr-defined]


def test_paths() -> None:
    network = build_network(load_scenario("case1"))
    assert names(network.path("c1d1", "c2d3")) == ["c1d1>bs1", "bs1>c2d3"]
    assert names(network.path("c1d1", "e1")) == ["c1d1>bs1", "bs1>e1"]
    assert names(network.path("c1d1", "e3")) == ["c1d1>bs1", "bs1>bs3", "bs3>e3"]
    assert network.path("c1d1", "c1d1") == ()


def test_path_around_a_failure_and_without_one() -> None:
    network = build_network(load_scenario("case1"))
    down = frozenset({"bs1-bs3"})
    assert names(network.path("e1", "e3", down)) == ["e1>bs1", "bs1>bs2", "bs2>bs3", "bs3>e3"]
    with pytest.raises(nx.NetworkXNoPath):
        network.path("e1", "e3", down | {"bs1-bs2"})


def test_line_and_ring() -> None:
    line = build_network(load_scenario("case1", {"network.backbone_topology": "line"}))
    ring = build_network(load_scenario("case1", {"network.backbone_topology": "ring"}))
    assert len(line.path("e1", "e3")) == 4
    assert len(ring.path("e1", "e3")) == 3


def test_shared_radio_has_one_link_per_cluster() -> None:
    network = build_network(load_scenario("case1-shared"))
    radio = [k for k in network.shaped_links if k.link_class == "e2d"]
    assert len(radio) == 2 * 6
    assert names(network.path("c1d1", "e1")) == ["c1d1>c1", "c1>bs1", "bs1>e1"]
    # Peers of a cell in different clusters cross both radios, peers of one cluster theirs twice.
    assert names(network.path("c1d1", "c2d1")) == ["c1d1>c1", "c1>bs1", "bs1>c2", "c2>c2d1"]
    assert names(network.path("c1d1", "c1d2")) == ["c1d1>c1", "c1>bs1", "bs1>c1", "c1>c1d2"]
    assert network.path("c1d1", "c1d1") == ()
    for cut in ("bs1-c1", "c1-c1d1", "c1-c1d2"):
        with pytest.raises(nx.NetworkXNoPath):
            network.path("c1d1", "c1d2", frozenset({cut}))


def test_cloud_is_reached_but_is_no_shortcut() -> None:
    network = build_network(load_scenario("case1-cloud", {"network.backbone_topology": "line"}))
    assert names(network.path("c1d1", "cloud")) == ["c1d1>bs1", "bs1>core", "core>cloud"]
    assert names(network.path("e1", "e3")) == ["e1>bs1", "bs1>bs2", "bs2>bs3", "bs3>e3"]


@pytest.mark.parametrize(("mode", "is_target"), [("target", True), ("overflow", False)])
def test_devices_may_choose_the_cloud_where_the_scenario_lets_them(
    mode: str, is_target: bool
) -> None:
    network = build_network(load_scenario("case1-cloud", {"cloud.mode": mode}))
    assert ("cloud" in network.targets("c1d1")) == is_target


def test_same_scenario_same_graph() -> None:
    first, second = (build_network(load_scenario("case2")) for _ in range(2))
    assert first.nodes == second.nodes
    assert list(first.links) == list(second.links)

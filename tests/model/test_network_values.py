"""Numbers, names, capacities and places of nodes, as a slip by one would change them."""

from __future__ import annotations

import numpy as np
import pytest

from model.network import build_network, cluster_sizes
from model.scenario.load import load_scenario


@pytest.mark.parametrize("name", ["mini", "case1", "case1-shared", "case3"])
def test_each_cluster_has_its_devices_numbered_from_one(name: str) -> None:
    scenario = load_scenario(name)
    network = build_network(scenario)
    names = [f"{c}d{k}" for c, size in cluster_sizes(scenario).items() for k in range(1, size + 1)]
    assert [d.name for d in network.devices] == names
    assert [d.index for d in network.devices] == [int(n.partition("d")[2]) for n in names]


def test_sizes_of_clusters_reach_both_ends_of_their_range_alike() -> None:
    sizes: list[int] = []
    for seed in range(60):
        sizes += cluster_sizes(load_scenario("case1", {"network.topology_seed": seed})).values()
    counts = np.bincount(sizes, minlength=11)[5:]
    assert counts.sum() == len(sizes)
    assert counts.min() > len(sizes) / 6 * 0.6
    assert counts.max() < len(sizes) / 6 * 1.4


def test_base_stations_stand_side_by_side_and_each_edge_beside_its_own() -> None:
    scenario = load_scenario("case1-cloud")
    width, height = scenario.network.area_m
    network = build_network(scenario)
    stations = scenario.network.base_stations
    for k, bs in enumerate(stations):
        place = (width / 2, height * (2 * k + 1) / (2 * len(stations)))
        assert network.nodes[bs.name].position_m == pytest.approx(place)
        assert network.nodes[bs.edge].position_m == pytest.approx((place[0] + 15, place[1]))
    assert network.nodes["cloud"].position_m == (1.4 * width, height / 2)


def test_devices_stand_about_their_cluster_s_centre_and_that_about_its_station() -> None:
    centres, apart = [], []
    for seed in range(25):
        scenario = load_scenario("case1", {"network.topology_seed": seed})
        network = build_network(scenario)
        spread = scenario.network.area_m[1] / len(scenario.network.base_stations) / 2.2
        for cluster in scenario.network.clusters:
            members = [d for d in network.devices if d.cluster == cluster.name]
            places = np.array([d.position_m for d in members]) / spread
            station = np.array(network.nodes[cluster.bs].position_m) / spread
            centres.append(places.mean(axis=0) - station)
            apart += list(places - places.mean(axis=0))
    centre, device = np.array(centres), np.array(apart)
    # A uniform draw over ±a has the standard deviation a / √3.
    assert centre.mean(axis=0) == pytest.approx([0.0, 0.0], abs=0.08)
    assert centre.std(axis=0) == pytest.approx([0.8 / 3**0.5, 0.6 / 3**0.5], rel=0.1)
    assert abs(np.corrcoef(centre.T)[0, 1]) < 0.2
    assert device.std(axis=0) == pytest.approx([1 / 6, 1 / 6], rel=0.12)


@pytest.mark.parametrize(
    ("shape", "stations"), [("mesh", 6), ("ring", 6), ("line", 4)], ids=lambda v: str(v)
)
def test_cables_between_stations_by_shape(shape: str, stations: int) -> None:
    network = build_network(load_scenario("case1", {"network.backbone_topology": shape}))
    assert len([k for k in network.links.values() if k.link_class == "e2e"]) == stations


def test_switches_are_all_that_do_not_compute() -> None:
    network = build_network(load_scenario("case1-cloud"))
    assert [n.name for n in network.switches] == ["bs1", "bs2", "bs3", "core"]
    shared = build_network(load_scenario("case1-shared"))
    clusters = [c.name for c in load_scenario("case1-shared").network.clusters]
    assert [n.name for n in shared.switches] == ["bs1", "bs2", "bs3", *clusters]
    for one in (network, shared):
        assert set(one.graph) == set(one.nodes) == {n.name for n in (*one.units, *one.switches)}


@pytest.mark.parametrize("mode", ["target", "overflow", "none"])
def test_targets_are_oneself_then_the_cell_then_all_edges_then_the_cloud(mode: str) -> None:
    network = build_network(load_scenario("case1-cloud", {"cloud.mode": mode}))
    cell = [d.name for d in network.devices if d.cell == "bs2"]
    own = cell.pop(1)
    far = ("cloud",) if mode == "target" else ()
    assert network.targets(own) == (own, *cell, "e1", "e2", "e3", *far)


def test_edges_and_stations_are_numbered_from_one() -> None:
    network = build_network(load_scenario("case1-cloud"))
    for kind in ("edge", "bs"):
        assert [n.index for n in network.of_kind(kind)] == [1, 2, 3]
    assert [n.index for n in network.of_kind("cloud", "core")] == [1, 1]

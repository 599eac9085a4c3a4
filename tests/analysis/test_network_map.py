"""Maps of networks can be read: no node lies on another, or on another's link."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest

from analysis.network_map import draw_network, layout, save_picture
from analysis.network_text import dot, mermaid
from model.network import build_network
from model.scenario import Scenario
from model.scenario.load import load_scenario

NODE = 0.24
"""Radius of a device's mark, units of the picture."""


def of(count: int, topology: str, devices: int = 4, *, cloud: bool = False) -> Scenario:
    """A scenario of so many base stations."""
    numbers = range(1, count + 1)
    return load_scenario("mini", {
        "network.base_stations": [{"name": f"b{k}", "edge": f"e{k}"} for k in numbers],
        "network.clusters": [{"name": f"c{k}", "bs": f"b{k}", "devices": devices} for k in numbers],
        "network.backbone_topology": topology, "cloud.mode": "target" if cloud else "none",
    })  # fmt: skip


SCENARIOS = {
    **{name: load_scenario(name) for name in (
        "mini", "case1", "case2", "case3", "case3-cloud", "case3-shared", "livecast")},
    "ring of 12": of(12, "ring"),
    "ring of 12 with a cloud": of(12, "ring", cloud=True),
    "line of 5": of(5, "line", cloud=True),
    "mesh of 4": of(4, "mesh", cloud=True),
    "one crowded cell": of(1, "mesh", 60),
    "two cells": of(2, "ring", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_two_nodes_lie_on_each_other(name: str) -> None:
    scenario = SCENARIOS[name]
    network = build_network(scenario)
    places = layout(scenario, network)
    assert places.keys() == network.nodes.keys()
    for a, b in combinations(places, 2):
        assert math.dist(places[a], places[b]) > 2 * NODE, (a, b)


@pytest.mark.parametrize("name", [n for n in SCENARIOS if n != "case3-shared"])
def test_no_device_lies_on_the_link_of_another(name: str) -> None:
    scenario = SCENARIOS[name]
    network = build_network(scenario)
    places = layout(scenario, network)
    radio = [k for k in network.links.values() if network.nodes[k.source].kind == "device"]
    for link in radio:
        for other in network.devices:
            if other.name != link.source:
                distance = _distance(places[other.name], places[link.source], places[link.target])
                assert distance > 0.2, (link.name, other.name)


def _distance(p: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return how far a point is from the stretch between two others."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    share = ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy)
    share = min(1.0, max(0.0, share))
    return math.dist(p, (a[0] + share * dx, a[1] + share * dy))


def test_the_picture_has_every_name_and_each_class_with_its_rate(tmp_path: Path) -> None:
    scenario = load_scenario("case3-cloud")
    save_picture(draw_network(scenario), tmp_path / "m.svg", "svg")
    text = re.findall(r"<text[^>]*>(?:<tspan[^>]*>)?([^<]*)", (tmp_path / "m.svg").read_text())
    assert set(build_network(scenario).nodes) <= set(text)
    assert "BACKBONE: 30 Mbps, 50 ms, buffer 4 MB" in text


def test_dot_and_mermaid_have_every_cable_once() -> None:
    scenario = load_scenario("case3-failure")
    cables = {link.cable for link in build_network(scenario).links.values()}
    joined = re.findall(r'"(\w+)" -- "(\w+)" \[label="(\d+ Mbps)"', dot(scenario))
    assert {"-".join(sorted(pair[:2])) for pair in joined} == cables
    assert len(joined) == len(cables)
    lines = re.findall(r'n_(\w+) (-\.-|---)\|"(\d+ Mbps)"\| n_(\w+)', mermaid(scenario))
    assert {"-".join(sorted((one[0], one[3]))) for one in lines} == cables
    assert sum(one[1] == "-.-" for one in lines) == dot(scenario).count("dashed") == 4


def test_a_change_of_one_direction_marks_its_cable() -> None:
    event = [{"at_s": 1, "link": "bs1>e1", "rate_mbps": 1}]
    scenario = load_scenario("mini", {"events.capacity": event})
    assert dot(scenario).count("dashed") == mermaid(scenario).count("-.-") == 1


def test_graphviz_takes_it() -> None:
    program = shutil.which("dot")
    if program is None:
        pytest.skip("Graphviz is not installed")
    subprocess.run([program, "-Tsvg"], input=dot(load_scenario("mini")), text=True, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip

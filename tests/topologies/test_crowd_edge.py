"""The ``Topo`` says what the scenario says, and stock ``mn`` runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model.network import build_network
from model.scenario.load import load_scenario
from model.shipped_scenarios import scenario_names
from topologies.crowd_edge import CrowdEdgeTopo, topos

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("name", scenario_names())
def test_the_topo_is_the_scenarios_network(name: str) -> None:
    scenario = load_scenario(name)
    network, topo = build_network(scenario), CrowdEdgeTopo(scenario=scenario)
    assert sorted(topo.hosts()) == sorted(n.name for n in network.units)
    assert sorted(topo.switches()) == sorted(n.name for n in network.switches)
    cables = {k.cable: k for k in network.links.values()}
    assert len(topo.links()) == len(cables)
    for a, b, options in topo.links(withInfo=True):
        link = cables["-".join(sorted((a, b)))]
        if link.spec is None:
            assert "bw" not in options
        else:
            assert options["bw"] == link.spec.rate_mbps
            assert options["buffer_bytes"] == link.spec.buffer_mb * 1e6


def test_ports_of_a_switch_are_distinct() -> None:
    topo = CrowdEdgeTopo(scenario="case3")
    for switch in topo.switches():
        ports = [
            info["port1"] if a == switch else info["port2"]
            for a, b, info in topo.links(withInfo=True)
            if switch in (a, b)
        ]
        assert sorted(ports) == list(range(1, len(ports) + 1))


def test_mn_finds_the_topology_by_name() -> None:
    assert topos["crowdedge"] is CrowdEdgeTopo


@pytest.mark.ovs
@pytest.mark.slow
def test_stock_mn_runs_it_with_our_controller(tmp_path: Path) -> None:
    script = ["bash", str(HERE / "stock_mn.sh"), sys.executable, "mini", str(tmp_path)]
    done = subprocess.run(
        ["unshare", "--net", "--mount", *script],
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Results: 0% dropped (20/20 received)" in done.stdout + done.stderr, done.stderr

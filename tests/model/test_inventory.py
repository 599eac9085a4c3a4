"""Rows of nodes and links are the network's."""

from __future__ import annotations

from model.inventory import link_rows, node_rows
from model.network import build_network
from model.scenario.load import load_scenario


def test_every_node_and_link_has_a_row() -> None:
    scenario = load_scenario("case3-cloud")
    network = build_network(scenario)
    nodes = {row.name: row for row in node_rows(scenario)}
    assert list(nodes) == list(network.nodes)
    assert (nodes["e2"].ip, nodes["e2"].max_ghz) == ("10.2.0.2", scenario.compute.edge_ghz)
    assert nodes["bs1"].ip is None
    assert nodes["bs1"].datapath_id == 1
    addresses = [row.ip for row in nodes.values() if row.ip]
    assert len(set(addresses)) == len(network.units)
    links = {row.name: row for row in link_rows(scenario)}
    assert list(links) == list(network.links)
    assert (links["bs1>core"].rate_mbps, links["bs1>core"].delay_ms) == (30.0, 50.0)
    assert links["cloud>core"].link_class is None
    assert links["c1d1>bs1"].switch_port is None
    ports = [row.switch_port for row in links.values() if row.source == "bs1"]
    assert sorted(p for p in ports if p) == list(range(1, len(ports) + 1))


def test_events_are_named_at_the_links_that_they_change() -> None:
    events = {
        "events.capacity": [{"at_s": 1, "link": "c1d1>bs1", "rate_mbps": 1}],
        "events.capacity_process": [{"link_class": "access", "every_s": 5, "factor": [0.4, 1.0]}],
        "events.failures": [{"at_s": 1, "link": "c2d1-bs1", "down_s": 1}],
    }
    scenario = load_scenario("mini", events)
    changes = {row.name: row.changes for row in link_rows(scenario) if row.changes}
    assert changes == {
        "c1d1>bs1": ("capacity",),
        "bs1>e1": ("capacity x0.4-1",),
        "e1>bs1": ("capacity x0.4-1",),
        "c2d1>bs1": ("failure",),
        "bs1>c2d1": ("failure",),
    }

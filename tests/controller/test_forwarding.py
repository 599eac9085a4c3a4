"""Flows against the paths of the model: both worlds must take the same ones."""

from __future__ import annotations

import itertools
import time
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.forwarding import IN_PORT, Flow, FlowKey, Forwarding, changes
from model.addressing import GATEWAY_MAC
from model.network import Network, build_network
from tests.controller.scenarios import SHAPES, network, paper_scenario
from tests.controller.walker import walk


def _may_talk(graph: Network, source: str, target: str) -> bool:
    a, b = graph.nodes[source], graph.nodes[target]
    return not (a.kind == b.kind == "device" and a.cell != b.cell)


def _nodes(graph: Network, source: str, target: str, down: frozenset[str]) -> list[str] | None:
    try:
        return [source, *(k.target for k in graph.path(source, target, down))]
    except nx.NetworkXNoPath:
        return None


def _check_all_pairs(graph: Network, down: frozenset[str]) -> None:
    forwarding = Forwarding(graph)
    tables = forwarding.flows(down)
    for source, target in itertools.permutations(forwarding.hosts, 2):
        if forwarding.hosts[source].cable in down:
            continue
        visited, packet = walk(forwarding, tables, source, target, down)
        wanted = _nodes(graph, source, target, down)
        if not _may_talk(graph, source, target) or wanted is None:
            assert visited[-1] != target
            continue
        assert visited == wanted
        assert packet["eth_dst"] == forwarding.hosts[target].mac
        assert packet["eth_src"] == GATEWAY_MAC


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
def test_packets_take_the_paths_of_the_model(fields: dict[str, Any]) -> None:
    _check_all_pairs(network(**fields), frozenset())


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
def test_every_single_failure_is_survived_as_the_model_says(fields: dict[str, Any]) -> None:
    graph = network(**fields)
    for cable in sorted({k.cable for k in graph.links.values()}):
        _check_all_pairs(graph, frozenset({cable}))


def test_neighbours_at_one_radio_talk_through_their_base_station() -> None:
    graph = network(clusters=2, wireless_scope="cluster")
    forwarding = Forwarding(graph)
    visited, _ = walk(forwarding, forwarding.flows(), "c1d1", "c1d2")
    assert visited == ["c1d1", "c1", "bs1", "c1", "c1d2"]
    # Without the radio's cable they do not talk at all.
    down = frozenset({"bs1-c1"})
    visited, _ = walk(forwarding, forwarding.flows(down), "c1d1", "c1d2", down)
    assert visited == ["c1d1", "c1"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_failures_never_make_a_loop(data: st.DataObject) -> None:
    fields = data.draw(st.sampled_from(list(SHAPES.values())))
    graph = network(**fields)
    cables = sorted({k.cable for k in graph.links.values()})
    _check_all_pairs(graph, frozenset(data.draw(st.sets(st.sampled_from(cables)))))


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
def test_a_packet_with_a_foreign_source_is_dropped_at_once(fields: dict[str, Any]) -> None:
    forwarding = Forwarding(network(**fields))
    tables = forwarding.flows()
    for source, claimed in itertools.permutations(forwarding.hosts, 2):
        visited, _ = walk(forwarding, tables, source, "e1", claimed=claimed)
        assert visited == [source, forwarding.hosts[source].switch]


def test_arp_reaches_the_controller_only_where_it_is_asked_for() -> None:
    graph = network(stations=1)
    for arp in (False, True):
        flows = [f for t in Forwarding(graph, arp=arp).flows().values() for f in t.values()]
        asking = [dict(f.match) for f in flows if f.to_controller]
        assert len(asking) == (len(graph.units) if arp else 0)
        assert all(m["eth_type"] == 0x0806 and "arp_spa" in m for m in asking)


def test_nothing_is_flooded_and_no_flow_leads_nowhere() -> None:
    forwarding = Forwarding(network(cloud="target", clusters=2))
    for switch, table in forwarding.flows().items():
        ports = set(forwarding.ports[switch].values())
        for flow in table.values():
            assert flow.output is None or flow.output in ports | {IN_PORT}


def _apply(installed: dict[FlowKey, Flow], wanted: dict[FlowKey, Flow]) -> dict[FlowKey, Flow]:
    result = dict(installed)
    for change in changes(installed, wanted):
        key = change.flow.key
        assert (key in result) == (change.command != "add")
        if change.command == "delete":
            del result[key]
        else:
            result[key] = change.flow
    return result


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_differences_lead_from_any_state_to_any_other(data: st.DataObject) -> None:
    graph = network(**data.draw(st.sampled_from(list(SHAPES.values()))))
    forwarding = Forwarding(graph)
    failures = st.sets(st.sampled_from(sorted({k.cable for k in graph.links.values()})))
    before, after = (forwarding.flows(frozenset(data.draw(failures))) for _ in range(2))
    for switch in before:
        assert _apply(before[switch], after[switch]) == after[switch]


def test_a_failure_changes_only_what_it_concerns() -> None:
    forwarding = Forwarding(network(devices=2))
    before, after = forwarding.flows(), forwarding.flows(frozenset({"bs1-bs2"}))
    moved = {s: changes(before[s], after[s]) for s in before}
    # bs1 reaches the three hosts behind bs2 another way, and the other way round; bs3 is content.
    assert {s: len(m) for s, m in moved.items()} == {"bs1": 3, "bs2": 3, "bs3": 0}
    assert {c.command for m in moved.values() for c in m} == {"modify"}


def test_the_network_of_the_paper_is_computed_quickly() -> None:
    forwarding = Forwarding(build_network(paper_scenario()))
    begin = time.process_time()
    forwarding.flows(frozenset({"bs1-bs2"}))
    assert time.process_time() - begin < 0.1

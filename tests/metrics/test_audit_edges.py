"""What the audit lets pass and what it does not, close to where the one becomes the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metrics.audit import Finding, audit, describe
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace
from records.reader import Result
from rl import policies
from rl.simulator.run import simulate
from tests.metrics.test_audit import Rows, Tables, _honest, _result, _sent

FASTER = "transfers faster than their links"
FEWER = "ports with fewer bytes than the tasks that crossed them"
MORE = "ports with more bytes than tasks, pings and acknowledgements explain"


def findings(result: Result) -> dict[str, Finding]:
    return {f.rule: f for f in audit(result, build_network(result.scenario))}


def changed(table: str, change: Callable[[Rows], Any], policy: str = "greedy") -> Result:
    honest = _honest("mini", policy, 1)
    tables: Tables = {k: [dict(r) for r in rows] for k, rows in honest.rows.items()}  # type: ignore[attr-defined]
    change(tables[table])
    return _result(honest.manifest, tables)


@pytest.mark.parametrize(("share", "fault"), [(1.0, False), (0.995, False), (0.9, True)])
def test_a_transfer_is_not_faster_than_its_own_rate(share: float, fault: bool) -> None:
    def slower(rows: Rows) -> None:
        row = max(_sent(rows), key=lambda r: r["data_mb"])
        row["rate_mbps"] = 8 * row["data_mb"] / (row["arrived_s"] - row["dispatched_s"]) * share

    # The rate that is recorded is lower than the one that the bytes had.
    assert (FASTER in findings(changed("tasks", slower))) is fault


@pytest.mark.parametrize(("share", "fault"), [(1.0, False), (0.8, True)])
def test_a_transfer_is_not_faster_than_the_slowest_link_of_its_path(
    share: float, fault: bool
) -> None:
    slow = load_scenario("mini", {"network.access.rate_mbps": 4.0})
    tables = simulate(slow, lambda: policies.create("own-edge"), 1).tables
    rows = {name: table.to_pylist() for name, table in tables.items()}
    manifest = {"scenario": slow.model_dump(mode="json"), "seed": 1, "speedup": 1.0}
    assert FASTER not in findings(_result(manifest, rows))
    row = max(_sent(rows["tasks"]), key=lambda r: r["data_mb"])
    row["dispatched_s"] = row["arrived_s"] - share * 8 * row["data_mb"] / 4.0
    found = findings(_result(manifest, rows))
    assert (FASTER in found) is fault
    if fault:
        assert found[FASTER].example == f"task {row['task']} of {row['device']}"
        assert found[FASTER].count == 1


@pytest.mark.parametrize(("share", "fault"), [(0.96, False), (0.94, True)])
def test_a_port_may_lack_five_per_cent_of_the_bytes_of_its_tasks(share: float, fault: bool) -> None:
    honest = _honest("mini", "greedy", 1)
    # What arrives after the last reading of the counters is not in them.
    last_s = honest.scenario.duration_s - honest.scenario.slot_s
    crossed = sum(
        1e6 * row["data_mb"]
        for row in honest.rows["tasks"]  # type: ignore[attr-defined]
        if row["target"] == "e1" and row["arrived_s"] is not None and row["arrived_s"] <= last_s
    )

    def less(rows: Rows) -> None:
        next(r for r in rows if r["neighbour"] == "e1")["tx_bytes"] = share * crossed

    assert (FEWER in findings(changed("ports", less))) is fault


@pytest.mark.parametrize(("more", "fault"), [(150_000, False), (450_000, True)])
def test_a_device_that_sends_no_task_may_send_little(more: float, fault: bool) -> None:
    def talk(rows: Rows) -> None:
        for row in rows:
            row["rx_bytes"] += more if row["neighbour"] == "c1d1" else 0.0

    assert (MORE in findings(changed("ports", talk, "local"))) is fault


@pytest.mark.parametrize("beyond", [True, False])
def test_a_task_of_no_trace_is_left_to_the_check_of_states(beyond: bool) -> None:
    scenario = load_scenario("mini")
    task = len(generate_trace(scenario, 1)) if beyond else -1

    def other(rows: Rows) -> None:
        rows.append({**rows[0], "task": task, "work_ghz_s": 1e9})

    assert findings(changed("tasks", other)) == {}


@pytest.mark.parametrize(("slower", "fault"), [(1e-8, False), (1e-3, True)])
def test_services_are_held_against_the_work_exactly(slower: float, fault: bool) -> None:
    def shorten(rows: Rows) -> None:
        row = next(r for r in _sent(rows) if r["target"] == "e1")
        row["service_start_s"] += slower * (row["service_end_s"] - row["service_start_s"])

    found = findings(changed("tasks", shorten))
    assert ("services shorter than their work takes" in found) is fault


@pytest.mark.parametrize(("share", "fault"), [(1.0, False), (1 + 1e-6, True), (0.0, True)])
def test_rates_are_above_nothing_and_up_to_the_greatest(share: float, fault: bool) -> None:
    most = load_scenario("mini").decision.max_rate_mbps

    def rate(rows: Rows) -> None:
        row = next(r for r in rows if r["target"] == r["device"])
        row["rate_mbps"] = most * share

    assert ("rates out of range" in findings(changed("tasks", rate))) is fault


def test_a_description_names_four_rules_and_counts_the_others() -> None:
    found = [Finding(f"rule {k}", k + 1, f"task {k}") for k in range(6)]
    four = "; ".join(f"rule {k}: {k + 1} (task {k})" for k in range(4))
    assert describe(found) == f"{four}; 2 more rules are broken"
    assert describe(found[:4]) == four
    assert describe(found[:1]) == "rule 0: 1 (task 0)"


@pytest.mark.parametrize(("more", "fault"), [(-1, False), (1, True)])
@pytest.mark.parametrize(("speedup", "drops"), [(1.0, 0), (1.0, 7), (4.0, 7)])
def test_bytes_of_a_device_are_explained_by_what_it_sent(
    more: float, fault: bool, speedup: float, drops: int
) -> None:
    honest = _honest("mini", "own-edge", 1)
    tables: Tables = {k: [dict(r) for r in rows] for k, rows in honest.rows.items()}  # type: ignore[attr-defined]
    tables["links"][3]["drops"] = drops
    port = next(r for r in tables["ports"] if r["neighbour"] == "c1d1")
    own = [r for r in tables["tasks"] if r["device"] == "c1d1"]
    begun = sum(1e6 * r["data_mb"] for r in own if r["dispatched_s"] is not None)
    pings = [r for r in tables["probes"] if "c1d1" in (r["device"], r["target"])]
    # Of a real byte, packet or ping there are as many scenario bytes as the speed-up.
    messages = 3000 * sum(r["target"] == "e1" for r in own)
    messages += len(pings) * (honest.scenario.probes.ping_bytes + 42)
    explained = begun * 1514 / 1448 + port["tx_bytes"] * 66 / 1448 + speedup * messages
    most = 1.05 * explained + speedup * (200_000 + 3 * drops * 1514)
    port["rx_bytes"] = most + more
    found = findings(_result({**honest.manifest, "speedup": speedup}, tables))
    assert (MORE in found) is fault


def test_one_ping_to_a_unit_that_is_not_pinged_is_a_finding() -> None:
    def ping(rows: Rows) -> None:
        rows.append({**rows[0], "device": "c1d1", "target": "c1d1"})

    found = findings(changed("probes", ping))
    assert found["pairs with more pings than the scenario asks for"] == Finding(
        "pairs with more pings than the scenario asks for", 1, "c1d1 to c1d1: 1 instead of 0"
    )

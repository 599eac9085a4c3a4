"""The audit flags records that contradict the scenario, and no honest run.

Honest runs are the simulator's, with port counters that their tasks and pings explain. Each cheat
changes the records as a hostile process could.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from metrics.audit import audit, describe
from model.network import build_network
from model.scenario.load import load_scenario
from records.reader import Result
from records.schema import TABLES
from rl import policies
from rl.simulator.run import simulate

Rows = list[dict[str, Any]]
Tables = dict[str, Rows]
FRAME_SHARE = 1514 / 1448


@cache
def _honest(scenario: str, policy: str, seed: int) -> Result:
    """A simulated run with the ports that an emulation would have counted."""
    loaded = load_scenario(scenario, {"slots": 60} if scenario != "mini" else {})
    tables = simulate(loaded, lambda: policies.create(policy), seed).tables
    network = build_network(loaded)
    carried = {unit.name: [0.0, 0.0] for unit in network.units}
    for row in tables["tasks"].to_pylist():
        if row["target"] not in (None, row["device"]) and row["arrived_s"] is not None:
            carried[row["device"]][0] += row["data_mb"] * 1e6 * FRAME_SHARE
            carried[row["target"]][1] += row["data_mb"] * 1e6 * FRAME_SHARE
    ports = [
        {"slot": loaded.slots - 1, "switch": network.nodes[unit].cell, "neighbour": unit,
         "rx_bytes": rx + 0.03 * tx, "tx_bytes": tx + 0.03 * rx}
        for unit, (rx, tx) in carried.items()
    ]  # fmt: skip
    manifest = {"scenario": loaded.model_dump(mode="json"), "seed": seed, "speedup": 1.0}
    rows = {name: table.to_pylist() for name, table in tables.items()}
    return _result(manifest, {**rows, "ports": ports})


def _result(manifest: dict[str, Any], tables: Tables) -> Result:
    class Memory(Result):
        def table(self, name: str, columns: Any = None, *, packed: bool = False) -> pa.Table:
            whole = pa.Table.from_pylist(tables.get(name, []), schema=TABLES[name])
            return whole.select(columns or whole.column_names)

        rows = tables

    return Memory(Path("memory"), manifest)


def _rules(result: Result) -> list[str]:
    return [f.rule for f in audit(result, build_network(result.scenario))]


@pytest.mark.parametrize(
    ("scenario", "policy"),
    [
        ("mini", "greedy"), ("mini", "own-edge"), ("mini", "local"), ("case1-cloud", "random"),
        ("case2-shared", "random"), ("case3", "greedy"), ("case3-drift", "random"),
    ],
)  # fmt: skip
def test_an_honest_run_has_no_findings(scenario: str, policy: str) -> None:
    assert _rules(_honest(scenario, policy, 1)) == []


Cheat = Callable[[Rows], object]


def _sent(rows: Rows) -> Rows:
    """Tasks that another unit served, with data and work."""
    return [r for r in rows if r["outcome"] == "done" and r["target"] != r["device"]
            and r["data_mb"] > 0 and r["work_ghz_s"] > 0]  # fmt: skip


def _shift(rows: Rows, name: str, by_s: float) -> None:
    for row in rows:
        row[name] += by_s


def _other_target(rows: Rows) -> None:
    # Born says self, the bytes go to the edge.
    for row in _sent(rows):
        row["target"], row["target_kind"] = row["device"], "self"


def _swap_device(rows: Rows) -> None:
    rows[3]["device"] = "c1d1" if rows[3]["device"] == "c2d2" else "c2d2"


def _overlap(rows: Rows) -> None:
    served = sorted(_sent(rows), key=lambda r: r["service_start_s"])
    first = next(r for r in served if r["service_end_s"] - r["service_start_s"] > 0.01)
    for row in served:
        if row is not first and row["target"] == first["target"]:
            begin = first["service_start_s"] + 1e-3
            row["arrived_s"] = min(row["arrived_s"], begin)
            row["service_start_s"] = begin
            return


CHEATS: list[tuple[str, str, Cheat]] = [
    ("tasks", "tasks differ from the trace", lambda rows: rows[3].update(work_ghz_s=1e7)),
    ("tasks", "tasks differ from the trace", lambda rows: rows[3].update(data_mb=1e7)),
    ("tasks", "tasks differ from the trace", lambda rows: rows[3].update(born_s=1.0)),
    ("tasks", "tasks differ from the trace", _swap_device),
    ("tasks", "targets that the device may not choose",
     lambda rows: rows[3].update(target="e9")),
    ("tasks", "rates out of range", lambda rows: rows[3].update(rate_mbps=1e9)),
    ("tasks", "done tasks without all their times",
     lambda rows: _sent(rows)[0].update(service_end_s=None)),
    ("tasks", "known_s before service_end_s", lambda rows: _sent(rows)[0].update(known_s=0.1)),
    ("tasks", "dispatched_s before born_s", lambda rows: _shift(_sent(rows), "dispatched_s", -1.0)),
    ("tasks", "transfers faster than their links",
     lambda rows: _shift(_sent(rows), "dispatched_s", 0.2)),
    ("tasks", "services shorter than their work takes",
     lambda rows: _shift(_sent(rows), "service_start_s", 0.05)),
    ("tasks", "more tasks in service at once than the unit has workers", _overlap),
    ("tasks", "ports with more bytes than tasks, pings and acknowledgements explain",
     _other_target),
    ("units", "units with another F(t) than was drawn", lambda rows: rows[4].update(ghz=5e-324)),
    ("units", "units with another F(t) than was drawn",
     lambda rows: rows[4].update(ghz=rows[4]["ghz"] * 0.9)),
    ("units", "units without a record of a slot", lambda rows: rows.pop(4)),
    ("probes", "pairs with more pings than the scenario asks for",
     lambda rows: rows.extend(rows[:40])),
    ("ports", "ports with fewer bytes than the tasks that crossed them",
     lambda rows: [r.update(tx_bytes=r["tx_bytes"] / 2) for r in rows]),
]  # fmt: skip


@pytest.mark.parametrize(("table", "rule", "cheat"), CHEATS)
def test_each_cheat_is_found(table: str, rule: str, cheat: Cheat) -> None:
    honest = _honest("mini", "greedy", 1)
    tables = {name: [dict(r) for r in rows] for name, rows in honest.rows.items()}  # type: ignore[attr-defined]
    cheat(tables[table])
    result = _result(honest.manifest, tables)
    assert rule in _rules(result)
    assert rule in describe(audit(result, build_network(result.scenario)), most=99)


def test_a_run_that_was_killed_before_its_first_record_is_not_judged_wrong() -> None:
    honest = _honest("mini", "greedy", 1)
    assert _rules(_result(honest.manifest, {})) == []


def test_clocks_that_differ_by_less_than_a_millisecond_of_real_time_are_no_contradiction() -> None:
    honest = _honest("mini", "greedy", 1)
    tables = {name: [dict(r) for r in rows] for name, rows in honest.rows.items()}  # type: ignore[attr-defined]
    _shift([r for r in tables["tasks"] if r["known_s"] is not None], "known_s", -0.002)
    early = _result({**honest.manifest, "speedup": 4.0}, tables)
    found = {f.rule for f in audit(early, build_network(early.scenario))}
    assert "known_s before service_end_s" not in found
    tables["tasks"] = [dict(r) for r in honest.rows["tasks"]]  # type: ignore[attr-defined]
    done = [r for r in tables["tasks"] if r["known_s"] is not None]
    _shift(done, "known_s", float(np.max([r["service_end_s"] - r["known_s"] for r in done])) - 0.01)
    assert "known_s before service_end_s" in _rules(early)

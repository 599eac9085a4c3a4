"""The metrics of a run, worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from metrics.summary import Summary, delays_s, summarise, summarise_tables
from model.scenario.load import load_scenario
from records.reader import open_result
from records.schema import TABLES
from records.writer import ResultWriter, RunInfo

SCENARIO = load_scenario("mini")


def table(name: str, rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[name])


def task(
    born: float, known: float | None, data: float, work: float, kind: str | None
) -> dict[str, object]:
    outcome = "done" if known is not None else "unfinished"
    return {"born_s": born, "known_s": known, "data_mb": data, "work_ghz_s": work,
            "target_kind": kind, "outcome": outcome}  # fmt: skip


TASKS = [
    task(0, 2, 1, 10, "self"),
    task(1, 5, 3, 20, "edge"),
    task(10, None, 2, 5, "edge"),
    {**task(20, None, 0, 5, "device"), "outcome": "failed", "known_s": 25.0},
    task(28, None, 2, 5, None),
]
LINKS = [
    {"slot": s, "link": name, "link_class": c, "rate_mbps": rate, "load_s": load, "drops": drops,
     "virtual_backlog_bytes": virtual, "sent_bytes": sent, "utilisation": 0.5}
    for s, name, c, rate, load, drops, virtual, sent in (
        (0, "c1d1>bs1", "e2d", 10.0, 1.0, 0, 1.25e6, 3e6),
        (0, "bs1>e1", "access", 20.0, 3.0, 2, 2.5e6, 6e6),
        (1, "c1d1>bs1", "e2d", 10.0, 2.0, 0, 0.0, 3e6),
        (1, "bs1>e1", "access", 20.0, 5.0, 3, 2.5e6, 9e6),
    )
]  # fmt: skip
UNITS = [
    {"slot": 0, "unit": "e1", "kind": "edge", "load_s": 4.0},
    {"slot": 0, "unit": "c1d1", "kind": "device", "load_s": 1.0},
]
PROBES: list[dict[str, object]] = [
    {"device": "c1d1", "target": "e1", "rtt_s": r} for r in (0.01, 0.03, 0.02, None)
]


@pytest.fixture
def summary() -> Summary:
    tables: dict[str, list[dict[str, object]]] = {
        "tasks": TASKS,
        "links": LINKS,
        "units": UNITS,
        "probes": PROBES,
    }
    return summarise_tables(SCENARIO, {k: table(k, rows) for k, rows in tables.items()})


def test_delays_charge_what_has_no_result_until_the_end() -> None:
    assert delays_s(table("tasks", TASKS), 30.0).tolist() == [2, 4, 20, 10, 2]


def test_tasks(summary: Summary) -> None:
    assert summary.end_s == 30
    assert summary.tasks == {"done": 2, "failed": 1, "unfinished": 2}
    assert summary.generated == 5
    assert summary.unit_delay == pytest.approx(38 / 8)
    assert summary.finished_unit_delay == pytest.approx(6 / 4)
    assert summary.delay_mean == pytest.approx(38 / 5)
    assert summary.delay_p50 == 4
    # Mini's prices: device 1, edge 2.
    assert summary.resource_cost == pytest.approx(10 * 1 + 20 * 2)
    assert summary.mean_cost == pytest.approx((38 + 0.01 * (10 + 40 + 10 + 5)) / 5)
    assert summary.target_share == {"self": 0.25, "device": 0.25, "edge": 0.5}
    assert summary.processed_mb_s == pytest.approx({"device": 1 / (4 * 30), "edge": 3 / 30})


def test_links_units_and_probes(summary: Summary) -> None:
    assert summary.anlr == 2.5
    assert summary.node_load == {"device": 1.0, "edge": 4.0}
    assert summary.link_load == {"access": 4.0, "e2d": 1.5}
    assert summary.virtual_link_load == pytest.approx({"access": 1.0, "e2d": 0.5})
    assert summary.utilisation == {"access": 0.5, "e2d": 0.5}
    assert summary.drops == 5
    assert summary.received_mbps["edge"] == pytest.approx(15e6 * 8e-6 / 30)
    assert summary.sent_mbps["device"] == pytest.approx(6e6 * 8e-6 / (4 * 30))
    assert summary.received_mbps["bs"] == pytest.approx(6e6 * 8e-6 / 30)
    assert summary.ping_loss == 0.25
    assert summary.ping_rtt == 0.02


def test_a_link_that_is_down_has_no_load_while_that_lasts() -> None:
    down = LINKS[0] | {"slot": 2, "rate_mbps": 0.0, "load_s": math.nan}
    for backlog in (0.0, 1e6):
        rows = [*LINKS, down | {"virtual_backlog_bytes": backlog}]
        with np.errstate(all="raise"):
            found = summarise_tables(
                SCENARIO, {"tasks": table("tasks", TASKS), "links": table("links", rows)}
            )
        assert found.link_load["e2d"] == 1.5
        assert found.virtual_link_load["e2d"] == pytest.approx(0.5)


def test_display_and_json(summary: Summary) -> None:
    rows = {name: (value, unit) for name, value, unit in summary.rows()}
    assert rows["unit delay UD = ΣE/Σo"] == ("4.75", "s/MB")
    assert rows["tasks generated"] == ("5", "")
    assert rows["pings lost"] == ("25", "%")
    assert json.loads(json.dumps(summary.to_dict(), allow_nan=False))["drops"] == 5


def test_run_without_anything() -> None:
    empty = summarise_tables(SCENARIO, {"tasks": TABLES["tasks"].empty_table()})
    assert empty.generated == 0
    assert math.isnan(empty.unit_delay)
    assert empty.to_dict()["unit_delay"] is None
    assert all("nan" not in value for _, value, _ in empty.rows())


def test_killed_run_ends_with_its_last_sample(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path / "r", RunInfo(SCENARIO, "local", 1, "simulation"))
    writer.append("tasks", [task(4, None, 2, 1, "self")])
    writer.append("units", [{"slot": 6, "time_s": 7.0, "kind": "edge", "load_s": 1.0}])
    writer.flush()
    assert summarise(open_result(tmp_path / "r")).unit_delay == pytest.approx(1.5)
    writer.close()
    assert summarise(open_result(tmp_path / "r")).unit_delay == pytest.approx(13)


def test_an_interrupted_run_ends_when_it_ended(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path / "r", RunInfo(SCENARIO, "local", 1, "emulation"))
    late = task(20, None, 2, 1, "self")  # born after the interrupt
    writer.append("tasks", [task(4, None, 2, 1, "self"), late])
    writer.update_manifest(complete=False, ran_s=7.0)
    writer.close(130)
    summary = summarise(open_result(tmp_path / "r"))
    assert summary.end_s == 7.0
    assert summary.generated == 1
    assert summary.unit_delay == pytest.approx(1.5)

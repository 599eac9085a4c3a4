"""Figures of a summary that a slip of one operator or number would change."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from metrics.summary import Summary, delays_s, digits, summarise_tables
from model.scenario.load import load_scenario
from records.schema import TABLES

SCENARIO = load_scenario("mini")


def table(name: str, rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TABLES[name])


def done(born_s: float, known_s: float, kind: str = "edge") -> dict[str, object]:
    return {"born_s": born_s, "known_s": known_s, "data_mb": 1.0, "work_ghz_s": 2.0,
            "target_kind": kind, "outcome": "done"}  # fmt: skip


def crossed(name: str, link_class: str, sent_bytes: float, drops: int = 0) -> dict[str, object]:
    return {"slot": 0, "time_s": 1.0, "link": name, "link_class": link_class, "rate_mbps": 10.0,
            "load_s": 0.5, "virtual_backlog_bytes": 1e6, "sent_bytes": sent_bytes, "drops": drops,
            "utilisation": 0.125}  # fmt: skip


@pytest.fixture
def summary() -> Summary:
    probes: list[dict[str, object]] = [
        {"device": "c1d1", "target": "e1", "rtt_s": rtt_s} for rtt_s in (0.01, 0.03, 0.02, None)
    ]
    tables = {
        "tasks": table(
            "tasks", [done(1.0, 1.0 + k / 10, "edge" if k < 60 else "self") for k in range(101)]
        ),
        "links": table("links", [crossed("c1d1>bs1", "e2d", 3e6)]),
        "probes": table("probes", probes),
    }
    return summarise_tables(SCENARIO, tables)


def test_percentiles_are_those_they_are_named_after(summary: Summary) -> None:
    found = summary.delay_p50, summary.delay_p95, summary.delay_p99
    assert found == pytest.approx((5.0, 9.5, 9.9))


def test_shown_figures_are_in_the_unit_beside_them(summary: Summary) -> None:
    rows = {name: (value, unit) for name, value, unit in summary.rows()}
    assert rows["delay E, 95 %"] == ("9.5", "s")
    assert rows["delay E, 99 %"] == ("9.9", "s")
    assert rows["link load E2D = V/c"] == ("0.5", "s")
    assert rows["utilisation E2D"] == ("12.5", "%")
    assert rows["tasks sent to: edge"] == ("59.41", "%")
    assert rows["pings lost"] == ("25", "%")
    assert rows["ping round trip, median"] == ("20", "ms")
    assert rows["sent per device"] == (f"{3e6 * 8e-6 / (4 * SCENARIO.duration_s):.4g}", "Mbps")


def test_a_link_without_rows_has_carried_nothing(summary: Summary) -> None:
    assert summary.received_mbps["device"] == 0.0
    assert summary.received_mbps["edge"] == 0.0
    assert summary.sent_mbps["edge"] == 0.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00123456, "0.001235"), (600.54, "600.5"), (999.96, "1000"), (1234.56, "1235"),
        (9999.6, "10000"), (10000.0, "10000"), (123456.7, "123457"), (123456, "123456"),
    ],
)  # fmt: skip
def test_shown_figures_have_four_digits_and_no_exponent(value: float, shown: str) -> None:
    assert digits(value) == shown


def test_a_task_born_after_the_end_has_waited_for_nothing() -> None:
    late = done(8.0, 9.0) | {"known_s": None, "outcome": "unfinished"}
    assert delays_s(table("tasks", [late]), 5.0).tolist() == [0.0]


def test_a_run_that_ended_at_once_has_no_rates() -> None:
    rows = [done(0.0, 0.0)]
    links = [crossed("c1d1>bs1", "e2d", 3e6, drops=7)]
    tables = {"tasks": table("tasks", rows), "links": table("links", links)}
    summary = summarise_tables(SCENARIO, tables, end_s=0.0)
    assert summary.generated == 1
    assert summary.processed_mb_s == summary.received_mbps == summary.sent_mbps == {}
    assert summary.drops == 7


def test_tasks_without_data_have_no_unit_delay() -> None:
    empty = done(1.0, 2.0) | {"data_mb": 0.0}
    summary = summarise_tables(SCENARIO, {"tasks": table("tasks", [empty])})
    assert math.isnan(summary.unit_delay)
    assert summary.delay_mean == 1.0


def test_prices_count_by_kind_of_target() -> None:
    scenario = load_scenario("case1-cloud")
    compute = scenario.compute
    rows = [done(1.0, 2.0, kind) for kind in ("self", "device", "edge", "cloud")]
    summary = summarise_tables(scenario, {"tasks": table("tasks", rows)})
    fees = 2 * compute.device_price + compute.edge_price + compute.cloud_price
    assert summary.resource_cost == pytest.approx(2.0 * fees)

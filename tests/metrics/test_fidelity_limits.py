"""Every limit of the verdict from both sides: just within it a run is valid, just beyond it not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from metrics.fidelity import Check, Verdict, _lost_in_switches
from metrics.queues import Changes
from records.schema import TABLES
from tests.metrics.test_fidelity import (
    NETWORK,
    RATE,
    SLOTS,
    Tables,
    capture,
    failed,
    good_run,
    verdict_on,
)


def scaled(table: str, key: str, factor: float) -> Tables:
    tables = good_run()
    for row in tables[table]:
        row[key] *= factor
    return tables


def with_row(table: str, index: int, **values: Any) -> Tables:
    tables = good_run()
    tables[table][index] |= values
    return tables


def delayed(by_s: float) -> Tables:
    tables = good_run()
    for row in tables["probes"]:
        # The first ping of each device is the idle round trip that the others are held against.
        row["rtt_s"] += by_s if row["time_s"] >= 1.0 else 0.0
    return tables


def found(verdict: Verdict, name: str) -> Check:
    return next(c for c in verdict.checks if c.name == name)


LIMITS: list[tuple[str, Tables, Tables]] = [
    ("idle CPU", with_row("slots", 7, idle_cpu_share=0.01),
     with_row("slots", 7, idle_cpu_share=0.0099)),
    ("slot deadlines", with_row("slots", 0, lateness_s=0.1),
     with_row("slots", 0, lateness_s=0.101)),
    ("slot deadlines", with_row("slots", SLOTS - 1, lateness_s=0.099),
     with_row("slots", SLOTS - 1, lateness_s=0.101)),
    ("mean rate", scaled("queues", "total_sent_bytes", 0.991),
     scaled("queues", "total_sent_bytes", 0.989)),
    ("mean rate", scaled("queues", "total_sent_bytes", 1.009),
     scaled("queues", "total_sent_bytes", 1.011)),
    ("ping error", delayed(0.0030), delayed(0.0034)),
    ("unexplained loss", scaled("ports", "rx_bytes", 0.9995), scaled("ports", "rx_bytes", 0.9985)),
    ("unexplained loss", scaled("ports", "tx_bytes", 0.9995), scaled("ports", "tx_bytes", 0.9985)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "within", "beyond"), LIMITS)
def test_a_limit_from_both_sides(name: str, within: Tables, beyond: Tables) -> None:
    assert found(verdict_on(within), name).ok is True, found(verdict_on(within), name).text
    assert found(verdict_on(beyond), name).ok is False, found(verdict_on(beyond), name).text


MANIFESTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("clock drift", {"clocks": {"monotonic_s": 1000.0, "wall_s": 1000.9}},
     {"clocks": {"monotonic_s": 1000.0, "wall_s": 1001.1}}),
    ("clock drift", {"clocks": {"monotonic_s": 1000.0, "wall_s": 999.1}},
     {"clocks": {"monotonic_s": 1000.0, "wall_s": 998.9}}),
    ("decisions", {"nodes": {"c1d1": {"undecided": 1, "decisions": 99}, "c1d2": None}},
     {"nodes": {"c1d1": {"undecided": 2, "decisions": 98}}}),
    ("task order", {"disordered": 0}, {"disordered": 1}),
    ("incidents", {"incidents": []}, {"incidents": [], "unmeasured_slots": [3]}),
    ("task states", {"contradictions": 0}, {"contradictions": 1}),
    ("walls", {"missing_walls": {}}, {"missing_walls": {"files": "not permitted"}}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "within", "beyond"), MANIFESTS)
def test_a_limit_on_what_the_manifest_says(
    name: str, within: dict[str, Any], beyond: dict[str, Any]
) -> None:
    assert found(verdict_on(good_run(), **within), name).ok is True
    verdict = verdict_on(good_run(), **beyond)
    assert failed(verdict) == {name}
    assert found(verdict, name).text in verdict.text


def test_the_first_slot_of_a_run_may_be_busy_with_its_bring_up() -> None:
    assert verdict_on(with_row("slots", 0, idle_cpu_share=0.0)).valid
    assert failed(verdict_on(with_row("slots", 1, idle_cpu_share=0.0))) == {"idle CPU"}


def test_lateness_is_held_against_the_real_length_of_a_slot() -> None:
    tables = with_row("slots", 3, lateness_s=0.03, late_process="e1")
    assert found(verdict_on(tables), "slot deadlines").value == pytest.approx(0.03)
    check = found(verdict_on(tables, speedup=4.0), "slot deadlines")
    assert check.ok is False
    assert check.value == pytest.approx(0.12)
    assert check.text == "latest slot: 12.0% of a slot (e1, slot 3)"


@pytest.mark.parametrize(("count", "measured"), [(29, None), (30, True)])
def test_fewer_than_thirty_looks_at_a_busy_link_say_nothing(
    count: int, measured: bool | None
) -> None:
    tables = good_run()
    tables["queues"] = tables["queues"][: count + 1]
    for name in ("rate between looks", "mean rate"):
        check = found(verdict_on(tables), name)
        assert check.ok is measured
        assert f" {count} looks" in found(verdict_on(tables), "rate between looks").text


@pytest.mark.parametrize(("count", "measured"), [(29, None), (30, True)])
def test_fewer_than_thirty_pings_say_nothing(count: int, measured: bool | None) -> None:
    tables = good_run()
    tables["probes"] = tables["probes"][:count]
    assert found(verdict_on(tables), "ping error").ok is measured


@pytest.mark.parametrize(("outliers", "ok"), [(2, True), (3, False)])
def test_ninety_nine_per_cent_of_looks_are_within_ten_per_cent(outliers: int, ok: bool) -> None:
    tables = good_run()
    # Bytes that a later look has again: one look too few, the next too many.
    looks = len(tables["queues"]) - 1
    moved = 0.0
    for k, row in enumerate(tables["queues"]):
        moved += 0.15 * RATE * 0.1 if 10 <= k < 10 + outliers else 0.0
        row["total_sent_bytes"] += moved
    check = found(verdict_on(tables), "rate between looks")
    assert check.value == pytest.approx(1 - outliers / looks)
    assert check.ok is ok


@pytest.mark.parametrize(
    ("every", "ok"), [(0.92, True), (1.08, True), (0.88, False), (1.12, False)]
)
def test_gaps_within_ten_per_cent_pass(tmp_path: Path, every: float, ok: bool) -> None:
    verdict = verdict_on(good_run(), captures=capture(tmp_path, every), folder=tmp_path)
    check = found(verdict, "gaps between packets")
    assert (check.ok, check.value) == (ok, float(ok))


@pytest.mark.parametrize("change", [{"side": "arriving"}, {"captured": 0}, {"link": "c1d1>bs1"}])
def test_captures_that_cannot_be_judged_are_not(tmp_path: Path, change: dict[str, Any]) -> None:
    captures = [{**c, **change} for c in capture(tmp_path, every=1.2)]
    verdict = verdict_on(good_run(), captures=captures, folder=tmp_path)
    assert found(verdict, "gaps between packets").ok is None


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_a_verdict_names_four_incidents_and_counts_the_others(count: int) -> None:
    incidents = [{"at_s": k, "what": "e1", "text": f"e1 did {k}"} for k in range(count)]
    check = found(verdict_on(good_run(), incidents=incidents), "incidents")
    assert (check.ok, check.value) == (count == 0, float(count))
    parts = [f"at {k}.0 s e1 did {k}" for k in range(min(count, 4))]
    parts += ["1 more incidents"] if count == 5 else []
    assert check.text == ("; ".join(parts) or "no incidents")


@pytest.mark.parametrize(
    "clocks", [{"monotonic_s": 0.0, "wall_s": 30.0}, {"monotonic_s": -1.0, "wall_s": 3.0}]
)
def test_a_clock_that_did_not_run_is_not_measured(clocks: dict[str, float]) -> None:
    assert found(verdict_on(good_run(), clocks=clocks), "clock drift").ok is None


def missing(tables: Tables) -> Tables:
    tables["tasks"] = tables["tasks"][1:]
    return tables


def twice(tables: Tables) -> Tables:
    tables["tasks"].append(dict(tables["tasks"][0]))
    return tables


@pytest.mark.parametrize("change", [missing, twice])
def test_a_task_that_is_missing_or_there_twice_is_one_fault(
    change: Callable[[Tables], Tables],
) -> None:
    check = found(verdict_on(change(good_run())), "task states")
    assert (check.ok, check.value) == (False, 1.0)


def test_the_least_idle_second_is_what_is_shown() -> None:
    check = found(verdict_on(with_row("slots", 7, idle_cpu_share=0.25)), "idle CPU")
    assert (check.value, check.text) == (0.25, "idle CPU: at least 25.0% in every second")
    busy = found(verdict_on(with_row("slots", 7, idle_cpu_share=0.0)), "idle CPU")
    assert (busy.value, busy.text) == (0.0, f"no idle CPU in 1 of {SLOTS - 1} seconds")


@pytest.mark.parametrize(
    ("down_s", "up_s", "lost"), [(2.1, 2.3, 0.0), (1.6, 1.9, 0.2), (2.6, 2.9, 0.2)]
)
def test_bytes_lost_in_slots_of_half_a_second(down_s: float, up_s: float, lost: float) -> None:
    """Of 300 bytes 60 are lost in slot 4, from 2 to 2.5 s; an outage then excuses the slot."""
    ports = [
        {"slot": slot, "switch": "bs1", "neighbour": "e1", "rx_bytes": 300.0 * slot,
         "tx_bytes": 300.0 * slot - (60.0 if slot >= 4 else 0.0)}
        for slot in range(4, 2, -1)
    ]  # fmt: skip
    events = [
        {"time_s": time_s, "link": link, "up": up}
        for time_s, up in ((down_s, False), (up_s, True))
        for link in ("bs1>e1", "e1>bs1")
    ]
    tables = {
        name: pa.Table.from_pylist(rows, schema=TABLES[name])
        for name, rows in (("ports", ports), ("events", events))
    }
    share = _lost_in_switches(tables["ports"], Changes(NETWORK, tables["events"]), 0.5)
    assert share == (pytest.approx(lost) if lost else None)


@pytest.mark.parametrize(
    ("slots", "unmeasured"), [(0, {"idle CPU", "slot deadlines"}), (1, {"idle CPU"}), (2, set())]
)
def test_a_run_that_ended_at_once_has_nothing_to_be_judged_by(
    slots: int, unmeasured: set[str]
) -> None:
    tables = good_run()
    tables["slots"] = tables["slots"][:slots]
    verdict = verdict_on(tables)
    checks = [found(verdict, name) for name in ("idle CPU", "slot deadlines")]
    assert {c.name for c in checks if c.ok is None} == unmeasured
    assert all(c.text == f"{c.name}: too few slots" for c in checks[:1] if c.ok is None)
    assert all(c.text == f"{c.name}: no slots" for c in checks[1:] if c.ok is None)

"""The verdict can fail: each check is given a run that it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from metrics.fidelity import Check, Verdict, judge
from metrics.queues import Changes, Queues, ping_comparison
from model.compute import frequency_trace
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace
from records.reader import Result
from records.schema import TABLES
from tests.analysis.captures import write

SCENARIO = load_scenario("mini")
SLOTS, LOOKS_S, RATE = 30, 0.1, 20e6 / 8
BEGIN = 1_800_000_000.0
NETWORK = build_network(SCENARIO)
TRACE = generate_trace(SCENARIO, 1, NETWORK)
UNITS = {unit.name: frequency_trace(SCENARIO, 1, unit) for unit in NETWORK.units}
FEW = 5e3
"""Bytes a slot at a port: no more than a run without a task has."""
Tables = dict[str, list[dict[str, Any]]]


def good_run() -> Tables:
    """A run as it should be: one busy link, e1's access, and pings that meet its queue."""
    tables: Tables = {name: [] for name in TABLES}
    for slot in range(SLOTS):
        tables["slots"].append(
            {"slot": slot, "time_s": slot + 1.0, "lateness_s": 0.01, "late_process": "c1d1",
             "idle_cpu_share": 0.4}
        )  # fmt: skip
        for link, sent in (("bs1>e1", RATE), ("c1d1>bs1", FEW)):
            rate = 20.0 if link == "bs1>e1" else 10.0
            tables["links"].append(
                {"slot": slot, "time_s": slot + 1.0, "link": link, "rate_mbps": rate,
                 "sent_bytes": sent}
            )  # fmt: skip
        for neighbour, rx, tx in (("c1d1", FEW, 0.0), ("e1", 0.0, FEW)):
            tables["ports"].append(
                {"slot": slot, "switch": "bs1", "neighbour": neighbour,
                 "rx_bytes": rx * (slot + 1), "tx_bytes": tx * (slot + 1)}
            )  # fmt: skip
        for unit, frequency in UNITS.items():
            tables["units"].append(
                {"slot": slot, "time_s": slot + 1.0, "unit": unit, "ghz": frequency.at(slot + 1.0)}
            )
    for k in range(10, int(SLOTS / LOOKS_S)):  # the first second is idle
        now = k * LOOKS_S
        tables["queues"].append(
            {"time_s": now, "link": "bs1>e1", "backlog_bytes": backlog(now),
             "total_sent_bytes": RATE * now}
        )  # fmt: skip
    for k in range(2 * SLOTS - 2):
        # The first ping of each device meets an idle network.
        now = 0.2 * (k + 1) if k < 4 else 0.33 + (k - 1) / 2
        rtt = 0.0005 + (backlog(now) / RATE if now >= 1.0 else 0.0)
        device = NETWORK.devices[k % 4].name  # each of them pings e1 in every second slot
        tables["probes"].append({"time_s": now, "device": device, "target": "e1", "rtt_s": rtt})
    for task in range(len(TRACE)):
        tables["tasks"].append(
            {"task": task, "outcome": "unfinished" if task % 9 else "failed",
             "device": NETWORK.devices[TRACE.device[task]].name, "born_s": TRACE.born_s[task],
             "work_ghz_s": TRACE.work_ghz_s[task], "data_mb": TRACE.data_mb[task]}
        )  # fmt: skip
    return tables


def backlog(time_s: float) -> float:
    """Bytes waiting at the busy link: never empty, slowly up and down."""
    return 400_000 + 300_000 * float(np.sin(time_s))


def verdict_on(
    tables: Tables,
    clocks: dict[str, float] | None = None,
    captures: list[dict[str, Any]] | None = None,
    folder: Path = Path("memory"),
    speedup: float = 1.0,
    **entries: Any,
) -> Verdict:
    class Memory(Result):
        def table(self, name: str, columns: Any = None, *, packed: bool = False) -> pa.Table:
            whole = pa.Table.from_pylist(tables[name], schema=TABLES[name])
            return whole.select(columns or whole.column_names)

    manifest = {
        "scenario": SCENARIO.model_dump(mode="json"),
        "seed": 1,
        "speedup": speedup,
        "clocks": clocks or {"begin_unix_s": BEGIN, "monotonic_s": 30.0, "wall_s": 30.0001},
        "captures": captures or [],
        "incidents": [],
        **entries,
    }
    return judge(Memory(folder, manifest))


def failed(verdict: Verdict) -> set[str]:
    return {c.name for c in verdict.checks if c.ok is False}


def test_a_good_run_is_valid_and_everything_was_measured() -> None:
    verdict = verdict_on(good_run())
    assert failed(verdict) == set(), verdict.text
    measured = [c for c in verdict.checks if c.name != "gaps between packets"]
    assert all(c.ok for c in measured), [c.text for c in measured if not c.ok]
    assert verdict.text == "valid"


def change(table: str, key: str, value: Callable[[Any], Any], every: int = 1) -> Tables:
    tables = good_run()
    for row in tables[table][::every]:
        row[key] = value(row[key])
    return tables


@pytest.mark.parametrize(
    ("tables", "check"),
    [
        (change("slots", "idle_cpu_share", lambda _: 0.0), "idle CPU"),
        (change("slots", "idle_cpu_share", lambda _: 0.0, every=15), "idle CPU"),
        (change("slots", "lateness_s", lambda _: 0.11, every=29), "slot deadlines"),
        (change("queues", "total_sent_bytes", lambda v: v * 0.97), "mean rate"),
        (change("probes", "rtt_s", lambda v: v + 0.05, every=3), "ping error"),
        (change("ports", "rx_bytes", lambda v: v * 0.99), "unexplained loss"),
        (change("tasks", "task", lambda k: k + (k == 7)), "task states"),
        (change("tasks", "outcome", lambda _: "lost", every=20), "task states"),
        (change("ports", "tx_bytes", lambda v: v * 0.99), "unexplained loss"),
    ],
)
def test_each_fault_is_found(tables: Tables, check: str) -> None:
    verdict = verdict_on(tables)
    assert check in failed(verdict), verdict.text
    assert verdict.text.startswith("invalid: ")


def test_pings_that_ignore_the_queue_do_not_correlate() -> None:
    tables = good_run()
    rng = np.random.default_rng(1)
    for row in tables["probes"]:
        row["rtt_s"] = float(rng.uniform(0.0005, 0.3))
    assert "ping correlation" in failed(verdict_on(tables))


def test_uneven_service_is_found_though_its_mean_is_right() -> None:
    tables = good_run()
    for k, row in enumerate(tables["queues"]):
        row["total_sent_bytes"] += 0.08 * RATE * LOOKS_S * (-1) ** k
    names = failed(verdict_on(tables))
    assert "rate between looks" in names
    assert "mean rate" not in names


def test_a_clock_that_jumps_is_found() -> None:
    jumped = verdict_on(good_run(), clocks={"monotonic_s": 30.0, "wall_s": 33.0})
    assert "clock drift" in failed(jumped)


def test_what_the_scenario_does_not_say_is_told() -> None:
    incidents = [{"at_s": k, "what": "c1d1", "text": f"c1d1 did this {k}"} for k in range(6)]
    verdict = verdict_on(good_run(), incidents=incidents, unmeasured_slots=[3, 4])
    assert failed(verdict) == {"incidents"}
    said = "; ".join(f"at {k}.0 s c1d1 did this {k}" for k in range(4))
    more = "2 more incidents; no look at the links in 2 slots from slot 3 on"
    assert verdict.text == f"invalid: {said}; {more}"


def test_slots_in_which_nobody_looked_are_no_losses() -> None:
    tables = good_run()
    for row in tables["links"]:
        if row["slot"] in (3, 4):
            row |= dict.fromkeys(("backlog_bytes", "sent_bytes", "load_s", "up"))
    assert verdict_on(tables).valid


def test_a_run_without_queues_is_valid_and_says_what_it_could_not_measure() -> None:
    tables = good_run()
    tables["queues"] = []
    for row in tables["probes"]:
        row["rtt_s"] = 0.0005
    verdict = verdict_on(tables)
    assert verdict.valid
    assert {c.name for c in verdict.checks if c.ok is None} == {
        "rate between looks",
        "mean rate",
        "ping correlation",
        "gaps between packets",
    }


def test_what_a_switch_cannot_send_while_a_cable_is_down_is_no_fault() -> None:
    tables = good_run()
    for row in tables["ports"]:
        if row["neighbour"] == "e1":
            row["tx_bytes"] -= 3e4 * (row["slot"] >= 12)
    assert failed(verdict_on(tables)) == {"unexplained loss"}
    tables["events"] = [
        {"time_s": time_s, "link": link, "up": up}
        for time_s, up in ((11.5, False), (12.9, True))
        for link in ("bs1>e1", "e1>bs1")
    ]
    assert "unexplained loss" not in failed(verdict_on(tables))


def test_idle_time_is_asked_of_seconds_whatever_the_speedup() -> None:
    tables = good_run()
    for k, row in enumerate(tables["slots"]):
        row["idle_cpu_share"] = 0.4 * (k % 4 == 0)
    (check,) = [c for c in verdict_on(tables, speedup=4.0).checks if c.name == "idle CPU"]
    assert check.ok is True
    assert check.value == pytest.approx(0.1)
    assert "idle CPU" in failed(verdict_on(tables))


def halved_in_mid_slot() -> Tables:
    """The good run, but that the busy link carries half as much from 12.34 s to 20 s."""
    tables = good_run()

    def served(time_s: float) -> float:
        slow_s = min(max(0.0, time_s - 12.34), 20.0 - 12.34)
        return RATE * (time_s - slow_s / 2)

    for row in tables["queues"]:
        row["total_sent_bytes"] = served(row["time_s"])
    for row in tables["probes"]:
        now = row["time_s"]
        if now >= 1.0:
            waits = served(now) + backlog(now)
            seconds = np.arange(now, now + 2.0, 1e-4)
            row["rtt_s"] = (
                0.0005 + float(np.interp(waits, [served(t) for t in seconds], seconds)) - now
            )
    tables["events"] = [
        {"time_s": 12.34, "link": "bs1>e1", "rate_mbps": 10.0},
        {"time_s": 20.0, "link": "bs1>e1", "rate_mbps": 20.0},
    ]
    return tables


def test_capacities_that_change_within_a_slot_are_no_fault() -> None:
    tables = halved_in_mid_slot()
    assert verdict_on(tables).valid, verdict_on(tables).text
    tables["events"] = []  # nobody has asked for it
    assert {"rate between looks", "mean rate", "ping error"} <= failed(verdict_on(tables))


def capture(folder: Path, every: float = 1.0) -> list[dict[str, Any]]:
    """Full frames that leave the busy link from 1 s on, ``every`` times their ideal gap apart."""
    gap_s = 1514 / RATE
    frame = b"\x01" * 1514
    times = [BEGIN + 1.0 + k * gap_s * every for k in range(int(20 / gap_s))]
    write(folder / "bs1-e1.pcap", [(t, frame) for t in times])
    return [
        {"file": "bs1-e1.pcap", "link": "bs1>e1", "side": "leaving", "captured": len(times),
         "dropped_by_kernel": 0}
    ]  # fmt: skip


def test_gaps_between_captured_packets_are_judged(tmp_path: Path) -> None:
    def gaps(**how: Any) -> Check:
        verdict = verdict_on(good_run(), folder=tmp_path, **how)
        return next(c for c in verdict.checks if c.name == "gaps between packets")

    assert gaps(captures=capture(tmp_path)).ok is True
    late = gaps(captures=capture(tmp_path, every=1.2))
    assert late.ok is False
    assert late.value == 0.0
    lossy = [{**c, "dropped_by_kernel": 7} for c in capture(tmp_path)]
    assert gaps(captures=lossy).ok is None  # a gap may be one that tcpdump made


def test_pings_go_round_a_cable_that_is_down() -> None:
    """From one cell to the next by way of the third, whose link holds a queue."""
    scenario = load_scenario("case3")
    network = build_network(scenario)
    events = [{"time_s": 10.0, "link": link, "up": False} for link in ("bs1>bs2", "bs2>bs1")]
    looks = [
        {"time_s": k * 0.1, "link": "bs1>bs3", "backlog_bytes": 3.75e5, "total_sent_bytes": 0.0}
        for k in range(300)
    ]
    probes = [
        {"time_s": t, "device": "c1d1", "target": "e2", "rtt_s": 0.0005 + 0.1 * (t > 10.0)}
        for t in (2.0, 5.0, 12.0, 15.0)
    ]
    probes.append({"time_s": 9.0, "device": "c1d1", "target": "e2", "rtt_s": 1.5})  # in mid-flight

    def table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=TABLES[name])

    queues = Queues(table("queues", looks), Changes(network, table("events", events)))
    measured, expected = ping_comparison(table("probes", probes), queues, network)
    assert measured == pytest.approx([0.0, 0.0, 0.1, 0.1])
    assert expected == pytest.approx([0.0, 0.0, 0.1, 0.1])


def test_a_run_without_some_wall_is_invalid() -> None:
    whole = verdict_on(good_run(), missing_walls={})
    assert whole.text == "valid"
    verdict = verdict_on(good_run(), missing_walls={"files": "OSError: not permitted"})
    assert failed(verdict) == {"walls"}
    assert "files (OSError: not permitted)" in verdict.text

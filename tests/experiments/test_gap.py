"""The comparison of the two worlds: known differences, simulated pairs, and one real run."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from analysis.worlds.comparison import Gap, Metric, Pair, compare, correlation, worst
from analysis.worlds.report import delay_rows, sentences, task_rows
from cli.gap import gap as gap_command
from cli.gap_runs import compare_all, objection_to
from experiments.simulated import simulate_to_folder
from metrics.summary import summarise
from model.errors import UserError
from model.scenario.load import load_scenario
from records.reader import Result, find_results, open_result

SLOTS = 12
LATER_S = 0.125


def simulated(out: Path, policy: str = "random", seed: int = 1) -> Path:
    return simulate_to_folder(load_scenario("mini", {"slots": SLOTS}), policy, {}, seed, out)


def rewrite(folder: Path, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    path = folder / f"{table}.parquet"
    changed = change(pq.ParquetFile(path).read())
    pq.write_table(changed, path)


def edit_manifest(folder: Path, **entries: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def as_emulation(folder: Path, *, valid: bool = True) -> Path:
    """A copy of a simulation that passes for an emulation."""
    copy = folder.parent / f"{folder.name}-emulated"
    shutil.copytree(folder, copy)
    verdict = {"valid": valid, "verdict": "valid" if valid else "invalid: no idle CPU"}
    edit_manifest(copy, world="emulation", fidelity=verdict)
    return copy


def set_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def later(tasks: pa.Table) -> pa.Table:
    """Every task arrives later by the same time, and all that follows."""
    for column in ("arrived_s", "service_start_s", "service_end_s", "known_s"):
        tasks = set_column(tasks, column, pc.add(tasks[column], LATER_S))
    return tasks


def metric(pair: Pair, name: str) -> Metric:
    return pair.metric(name)


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """(emulation, simulation), the same in every number."""
    folder = simulated(tmp_path / "runs")
    return as_emulation(folder), folder


def compared(both: tuple[Path, Path]) -> Pair:
    return compare(open_result(both[0]), open_result(both[1]))


def test_the_same_numbers_have_no_gap(both: tuple[Path, Path]) -> None:
    pair = compared(both)
    assert all(
        m.difference == 0.0 for m in (*pair.metrics, *pair.parts) if m.emulation == m.emulation
    )
    assert {k.share for k in pair.kinds} == {1.0}
    assert all(k.mean == 0.0 for k in pair.kinds if k.tasks)
    assert (pair.quantiles[0] == pair.quantiles[1]).all()


def test_a_known_delay_is_found_where_it_was_put(both: tuple[Path, Path]) -> None:
    rewrite(both[0], "tasks", later)
    pair = compared(both)
    whole = pair.kinds[0]
    assert whole.kind == "all"
    assert whole.mean == pytest.approx(LATER_S)
    assert whole.median == pytest.approx(LATER_S)
    assert whole.p90_absolute == pytest.approx(LATER_S)
    assert whole.parts["sending and links"] == pytest.approx(LATER_S)
    assert whole.parts["waiting and service"] == pytest.approx(0.0)
    assert whole.parts["result"] == pytest.approx(0.0, abs=1e-9)
    done = summarise(open_result(both[1])).tasks["done"]
    total = sum(summarise(open_result(both[1])).tasks.values())
    mean = metric(pair, "E, mean")
    assert mean.difference == pytest.approx(LATER_S * done / total)
    assert metric(pair, "unit delay").relative == pytest.approx(mean.relative)


def test_loads_differ_by_class_and_by_link(both: tuple[Path, Path]) -> None:
    def twice(links: pa.Table) -> pa.Table:
        chosen = pc.equal(links["link_class"], "e2d")
        load = pc.if_else(chosen, pc.multiply(links["load_s"], 2.0), links["load_s"])
        return set_column(links, "load_s", load)

    rewrite(both[0], "links", twice)
    pair = compared(both)
    assert metric(pair, "load V/c, e2d").relative == pytest.approx(1.0)
    assert metric(pair, "load V/c, access").difference == 0.0
    assert worst(pair.links)[0].relative == pytest.approx(1.0)
    assert correlation(pair.units) == pytest.approx(1.0)


def test_tasks_that_were_decided_otherwise_are_not_compared(both: tuple[Path, Path]) -> None:
    def elsewhere(tasks: pa.Table) -> pa.Table:
        edges = pc.equal(tasks["target_kind"], "edge")
        return set_column(tasks, "target", pc.if_else(edges, "c1d1", tasks["target"]))

    rewrite(both[0], "tasks", elsewhere)
    kinds = {k.kind: k for k in compared(both).kinds}
    assert kinds["edge"].share == 0.0
    assert kinds["edge"].tasks == 0
    assert kinds["self"].share == kinds["device"].share == 1.0
    assert 0.0 < kinds["all"].share < 1.0


def test_other_runs_are_refused(both: tuple[Path, Path], tmp_path: Path) -> None:
    other = open_result(simulated(tmp_path / "other", seed=2))
    with pytest.raises(UserError, match="seed 1"):
        compare(open_result(both[0]), other)
    with pytest.raises(UserError, match="no result of the emulation"):
        compare(other, other)
    rewrite(both[0], "tasks", lambda t: set_column(t, "born_s", pc.add(t["born_s"], 1.0)))
    with pytest.raises(UserError, match="different tasks"):
        compared(both)


def test_bad_verdicts_are_left_out(tmp_path: Path) -> None:
    bad = open_result(as_emulation(simulated(tmp_path / "runs"), valid=False))
    assert objection_to(bad, keep_invalid=False) == "invalid: no idle CPU"
    assert objection_to(bad, keep_invalid=True) == ""
    with pytest.raises(UserError, match="no idle CPU"):
        compare_all([bad], tmp_path / "out", keep_invalid=False)
    good = open_result(as_emulation(simulated(tmp_path / "good", seed=2)))
    (found,) = compare_all([bad, good], tmp_path / "out", keep_invalid=False)
    assert [p.seed for p in found.pairs] == [2]
    assert found.left_out == ((str(bad.folder), "invalid: no idle CPU"),)
    assert any("Left out" in s for s in sentences(found))
    unfinished = bad.manifest | {"complete": False}
    result = Result(bad.folder, unfinished)
    assert objection_to(result, keep_invalid=True) == "it did not run to its end"


def pair_of(policy: str, emulation: float, simulation: float) -> Pair:
    metrics = (Metric("unit delay", "s/MB", emulation, simulation),)
    return Pair(policy, 1, ("", ""), "valid", metrics, (), pa.array([]), (), (), (), drops=0)


def test_order_of_policies() -> None:
    same = Gap("s", 1, (pair_of("a", 1.0, 1.1), pair_of("b", 2.0, 1.9)))
    assert same.order().same
    assert same.order().emulation == ("a", "b")
    swapped = Gap("s", 1, (pair_of("a", 1.0, 1.5), pair_of("b", 1.1, 1.2), pair_of("c", 9, 9)))
    order = swapped.order()
    assert not order.same
    assert order.simulation == ("b", "a", "c")
    ((a, b, here, there),) = order.swapped
    assert (a, b) == ("a", "b")
    assert here == pytest.approx(0.1)
    assert there == pytest.approx(-0.2)
    assert any("change places" in s for s in sentences(swapped))


def test_from_results_that_are_there(tmp_path: Path) -> None:
    for policy in ("random", "local"):
        as_emulation(simulated(tmp_path / "runs", policy))
    out = tmp_path / "out"
    arguments = ["--from", str(tmp_path / "runs"), "--out", str(out)]
    done = CliRunner().invoke(gap_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert "2 of 2 policies" in done.output
    folder = out / "gap" / f"mini-{SLOTS}"
    assert {p.name for p in folder.iterdir()} == {
        "gap.json", "gap.csv", "quantiles.svg", "quantiles.png", "quantiles.csv",
    }  # fmt: skip
    found = json.loads((folder / "gap.json").read_text())
    assert found["order"]["same"] is True
    assert len(found["pairs"]) == 2
    with (folder / "gap.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    delays = [r for r in rows if r["metric"] == "unit delay"]
    assert {r["policy"] for r in delays} == {"random", "local"}
    # The pairs differ by nothing at all: the counterpart was simulated anew, from the manifest.
    assert all(r["emulation"] == r["simulation"] for r in rows)
    done = CliRunner().invoke(gap_command, [*arguments, "--json"], catch_exceptions=False)
    (told,) = json.loads(done.stdout)
    assert (told["scenario"], len(told["pairs"])) == ("mini", 2)


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name a SCENARIO"):
        CliRunner().invoke(gap_command, [], catch_exceptions=False)
    simulated(tmp_path / "runs")
    with pytest.raises(UserError, match="no result of the emulation"):
        CliRunner().invoke(gap_command, ["--from", str(tmp_path)], catch_exceptions=False)


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_real_run_against_its_simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lab", "gap", "mini"])
    arguments = ["mini", "--policy", "random", "--seed", "1", "--slots", "10", "--keep-invalid"]
    done = CliRunner().invoke(
        gap_command, [*arguments, "--out", str(tmp_path)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    results = [open_result(f) for f in find_results(tmp_path)]
    assert sorted(r.manifest["world"] for r in results) == ["emulation", "simulation"]
    emulation, simulation = sorted(results, key=lambda r: str(r.manifest["world"]))
    pair = compare(emulation, simulation)
    assert pair.kinds[0].share == 1.0  # random decides alike whatever it sees
    gap = Gap("mini", 10, (pair,))
    assert delay_rows(gap)[0][0] == "random"
    assert task_rows(gap, "random")[0][0] == "all"
    assert metric(pair, "unit delay").relative == pytest.approx(0.0, abs=0.15)

"""Contests: common random numbers, resuming, stopping, and the table."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.standings import markdown, standings, write
from experiments import tuning
from experiments.contest import plan_contest, run_contest
from experiments.keys import scenario_hash
from experiments.sweep.book import Book
from experiments.sweep.cell import RunCell
from experiments.tuned import (
    GRIDS,
    TUNED_FOLDER,
    candidates,
    load_tuned,
    parse_entry,
    tune_rule,
)
from metrics.episodes import Entrant, Played
from metrics.summary import summarise_tables
from model.errors import UserError
from model.scenario import Scenario
from model.scenario.load import load_scenario
from rl import policies
from rl.simulator.run import simulate

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def mini() -> Scenario:
    return load_scenario("mini", {"slots": 15})


@pytest.mark.parametrize("name", ["case1", "case3-cloud", "case2-shared"])
@pytest.mark.parametrize("policy", ["self-biased", "random"])
def test_metrics_of_tables_and_of_arrays_agree(name: str, policy: str) -> None:
    scenario = load_scenario(name, {"slots": 25})
    run = simulate(scenario, lambda: policies.create(policy), 7)
    summary = summarise_tables(scenario, run.tables)
    assert summary.tasks["unfinished"] > 0
    assert summary.unit_delay == pytest.approx(run.unit_delay, abs=1e-9)


def cell(scenario: Scenario, policy: str, seed: int, **params: policies.Value) -> RunCell:
    return RunCell(scenario, policy, params, seed, "simulator")


def test_a_cell_is_named_by_what_decides_its_outcome(mini: Scenario) -> None:
    one = cell(mini, "greedy", 3, memory_s=5.0)
    described = mini.model_copy(update={"description": "the same"})
    assert cell(described, "greedy", 3, memory_s=5.0).key == one.key
    others = [
        cell(mini, "greedy", 4, memory_s=5.0),
        cell(mini, "greedy", 3, memory_s=6.0),
        cell(mini, "greedy", 3),
        cell(mini, "threshold", 3, memory_s=5.0),
        cell(mini.model_copy(update={"slots": 16}), "greedy", 3, memory_s=5.0),
    ]
    assert len({one.key, *(c.key for c in others)}) == 6
    longer = mini.model_copy(update={"slots": 16})
    assert scenario_hash(mini, any_length=True) == scenario_hash(longer, any_length=True)


def test_a_parameter_that_names_a_file_stands_for_its_content(
    mini: Scenario, tmp_path: Path
) -> None:
    file = tmp_path / "weights"
    file.write_text("one")
    before = cell(mini, "m2ppo", 1, checkpoint=str(file)).key
    file.write_text("two")
    assert cell(mini, "m2ppo", 1, checkpoint=str(file)).key != before


def test_a_damaged_cell_is_computed_again(mini: Scenario, tmp_path: Path) -> None:
    plan = plan_contest([mini], ["local"], range(2), tuned=False)
    assert run_contest(plan, tmp_path, jobs=1).computed == 2
    damaged = next(tmp_path.glob("cells/*/cell.json"))
    whole = damaged.read_text()
    damaged.write_text(whole[:40])
    again = run_contest(plan, tmp_path, jobs=1)
    assert (again.computed, again.kept, again.complete) == (1, 1, True)
    assert json.loads(damaged.read_text())["metrics"] == json.loads(whole)["metrics"]


def test_a_sweep_does_not_take_a_contests_cells_for_its_own(mini: Scenario, tmp_path: Path) -> None:
    run_contest(plan_contest([mini], ["local"], [1], tuned=False), tmp_path, jobs=1)
    with pytest.raises(UserError, match="is the folder of another sweep; take another --out"):
        Book(tmp_path).begin("mine", "")


def test_all_policies_meet_the_same_tasks(mini: Scenario, tmp_path: Path) -> None:
    plan = plan_contest([mini], ["local", "random"], [5], tuned=False)
    (played,) = run_contest(plan, tmp_path, jobs=1).played
    tasks = [
        sum(v for name, v in played.metrics[label, 5].items() if name.startswith("tasks_"))
        for label in ("local", "random")
    ]
    assert tasks[0] == tasks[1] > 0
    born = [
        simulate(mini, partial(policies.create, policy), 5).batch.moving.task[0, :, :3]
        for policy in ("local", "random")
    ]
    np.testing.assert_array_equal(born[0], born[1])


def test_it_resumes_and_compares(mini: Scenario, tmp_path: Path) -> None:
    names = ["local", "self-biased", "oracle"]
    plan = plan_contest([mini], names, range(4), tuned=False)
    seen: list[tuple[int, int]] = [(0, 0)]
    stopped = run_contest(
        plan, tmp_path, jobs=1,
        on_cell=lambda done, total: seen.append((done, total)),
        should_stop=lambda: seen[-1][0] >= 8,
    )  # fmt: skip
    assert not stopped.complete
    assert 8 <= stopped.computed < 12
    assert seen[-1] == (stopped.computed, 12)
    partial_table = standings(stopped.played)[0]
    assert 1 <= len(partial_table.seeds) < 4

    result = run_contest(plan, tmp_path, jobs=2)
    assert result.complete
    assert result.computed == 12 - stopped.computed
    assert run_contest(plan, tmp_path, jobs=1).computed == 0
    again = plan_contest([mini], [*names, "random"], range(4), tuned=False)
    assert run_contest(again, tmp_path, jobs=1).computed == 4

    (played,) = result.played
    (table,) = standings(result.played)
    rows = {row.label: row for row in table.rows}
    assert table.best_rule == "self-biased", "the oracle is no rule to compare with"
    assert rows["self-biased"].difference is None
    assert rows["oracle"].sees == "truth"
    delays = {n: [played.metrics[n, k]["unit_delay"] for k in range(4)] for n in names}
    expected = np.mean(np.subtract(delays["local"], delays["self-biased"]))
    difference = rows["local"].difference
    assert difference is not None
    assert difference.value == pytest.approx(expected)
    _check_written(table.rows[0].label, result.played, tmp_path)


def _check_written(first: str, played: Sequence[Played], folder: Path) -> None:
    tables = standings(played)
    text = markdown(tables)
    assert "T = 15 s, 4 episodes (seeds 0 … 3)" in text
    assert "| oracle | everything (reference) |" in text
    paths = {p.suffix: p for p in write(tables, folder)}
    rows = list(csv.DictReader(paths[".csv"].open()))
    assert rows[0]["policy"] == first
    assert float(rows[0]["iqm_low"]) <= float(rows[0]["iqm_value"]) <= float(rows[0]["iqm_high"])
    assert json.loads(paths[".json"].read_text())[0]["duration_s"] == 15


def test_an_episode_without_tasks_is_left_out() -> None:
    entrant = Entrant("a", "a", {}, "observation", is_trained=False, is_rule=True)
    empty = {"unit_delay": None, "anlr": 0.0, "tasks_done": 0, "link_load_e2d": None}
    full = {"unit_delay": 2.0, "anlr": 1.0, "tasks_done": 3, "link_load_e2d": None}
    metrics = {("a", 1): empty, ("a", 2): full}
    (table,) = standings([Played("s", 3.0, (entrant,), (1, 2), metrics)])
    assert table.seeds == (2,)
    assert markdown([table]).splitlines()[-1].endswith("| best rule | 0.0 % | 1.000 | – |")
    assert not standings([Played("s", 3.0, (entrant,), (1,), metrics)])


def test_a_policy_that_fails_ends_the_contest_and_is_tried_again(
    mini: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from model.observation import Decision\n"
        "from rl.policies.base import Policy\n"
        "class Mine(Policy):\n"
        "    def decide(self, observation, task):\n"
        "        {}\n"
    )
    file = tmp_path / "contest_policy.py"
    file.write_text(source.format("raise LookupError('no idea')"))
    monkeypatch.chdir(tmp_path)
    names = ["contest_policy:Mine", "local"]
    plan = plan_contest([mini], names, range(2), tuned=False)
    with pytest.raises(UserError, match="decide: LookupError: no idea"):
        run_contest(plan, tmp_path, jobs=1)
    file.write_text(source.format("return Decision(0, self.profile.max_rate_mbps)"))
    assert run_contest(plan, tmp_path, jobs=1).complete, "this process has kept the key"


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli", "contest", "mini", "--policies", "local,greedy",
               "--slots", "60", "--episodes", "2000", "--jobs", "2",
               "--out", str(tmp_path)]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("cells/*/cell.json"))) < 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Interrupted" in out.decode()
    assert (tmp_path / "contest.md").exists()


def test_tuned_parameters_have_seeds_of_their_own(mini: Scenario) -> None:
    with pytest.raises(UserError, match="tuning"):
        plan_contest([mini], ["greedy"], range(990, 1001), tuned=True)
    with pytest.raises(UserError, match="no policy"):
        plan_contest([mini], ["gready"], [1], tuned=False)
    assert parse_entry("greedy@default") == ("greedy", True)


@pytest.mark.parametrize("rule", GRIDS)
def test_candidates_begin_with_the_defaults_and_exist(rule: str) -> None:
    tried = candidates(rule, 9)
    assert tried == candidates(rule, 9)
    assert 8 <= len(tried) <= 9
    first = policies.create(rule)
    assert all(vars(policies.create(rule, tried[0]))[k] == v for k, v in vars(first).items())
    for params in tried:
        policies.create(rule, params)
    with pytest.raises(UserError, match="nothing to tune"):
        candidates("local", 3)


def test_tunes_and_remembers_for_this_scenario_only(mini: Scenario, tmp_path: Path) -> None:
    trials = tune_rule(mini, "greedy", 3, seeds=range(1000, 1003), folder=tmp_path)
    found = load_tuned(mini, "greedy", tmp_path)
    assert found is not None
    assert found.params == trials[0].params
    assert load_tuned(mini.model_copy(update={"slots": 99}), "greedy", tmp_path) == found
    assert load_tuned(mini, "threshold", tmp_path) is None
    with pytest.raises(UserError, match="tune again"):
        load_tuned(load_scenario("mini", {"decision.alpha": 0.5}), "greedy", tmp_path)
    variant = mini.model_copy(update={"name": "mini-burst", "slot_s": 2.0})
    assert load_tuned(variant, "greedy", tmp_path) == found


@pytest.mark.parametrize("path", sorted(TUNED_FOLDER.glob("*/*.yaml")), ids=str)
def test_what_was_tuned_is_of_the_scenarios_as_they_are(path: Path) -> None:
    found = load_tuned(load_scenario(path.parent.name), path.stem)
    assert found is not None
    policies.create(path.stem, found.params)


def test_a_search_that_was_ended_goes_on(
    mini: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = range(1000, 1003)
    measured: list[int] = []

    def counted(*args: Any, **options: Any) -> list[float]:
        measured.append(1)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return unit_delays(*args, **options)

    unit_delays = tuning.unit_delays
    monkeypatch.setattr(tuning, "unit_delays", counted)
    with pytest.raises(KeyboardInterrupt):
        tune_rule(mini, "greedy", 3, seeds=seeds, folder=tmp_path / "a")
    (journal,) = (tmp_path / "a" / mini.name).iterdir()
    with journal.open("a") as file:
        file.write('{"of": "cut o')  # as by a kill
    again = tune_rule(mini, "greedy", 3, seeds=seeds, folder=tmp_path / "a")
    over, of_two = len(measured), tune_rule(mini, "greedy", 3, seeds=seeds, folder=tmp_path / "b")
    assert again == of_two
    assert over - 4 == (len(measured) - over) - 3  # three were known
    assert [p.name for p in (tmp_path / "a" / mini.name).iterdir()] == ["greedy.yaml"]


def test_a_folder_that_cannot_be_written_is_told_before_the_search(
    mini: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tuning, "unit_delays", lambda *_: pytest.fail("the search has begun"))
    with pytest.raises(UserError, match=r"cannot be written.*--out"):
        tune_rule(mini, "greedy", 3, folder=tmp_path / "file")


def test_what_cannot_be_kept_is_in_the_message(
    mini: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.tuned._write", full)
    with pytest.raises(UserError, match="No space left on device; found: --param price="):
        tune_rule(mini, "greedy", 1, seeds=range(1000, 1001), folder=tmp_path)


def test_what_a_user_tunes_is_theirs_and_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path))
    scenario = load_scenario("case1")
    shipped = load_tuned(scenario, "greedy")
    assert shipped is not None
    assert TUNED_FOLDER in shipped.path.parents
    assert not caplog.messages
    short = load_scenario("case1", {"slots": 5})
    tune_rule(short, "greedy", 1, seeds=range(1000, 1001))
    found = load_tuned(scenario, "greedy")
    assert found is not None
    assert found.path == tmp_path / "tuned" / "case1" / "greedy.yaml"
    assert str(found.path) in caplog.text

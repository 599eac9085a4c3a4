"""Parameters of policies: one spelling of numbers everywhere; which checkpoint is taken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulation.options import RunOptions
from experiments.contest import borrowed_checkpoints, plan_contest
from experiments.simulated import simulate_to_folder
from experiments.sweep.cell import RunCell
from experiments.sweep.plan import make_plan
from experiments.sweep.spec import SweepFile
from model.errors import UserError
from model.scenario import Scenario
from model.scenario.load import load_scenario, parse_assignments, shipped_ancestors
from model.shipped_scenarios import SCENARIO_FOLDER
from rl import policies
from rl.learning.config import load_config

TEN = ("10", "1e1", "10.0", "+10", "1.0e+1", "'10'")
OWN = "rl.policies.greedy:Greedy"


@pytest.fixture
def tiny() -> Scenario:
    return load_scenario("mini", {"slots": 2})


def test_one_number_is_one_policy(tiny: Scenario, tmp_path: Path) -> None:
    for name in ("greedy", OWN):
        spellings = TEN if name == "greedy" else TEN[:-1]
        given = [parse_assignments([f"memory_s={text}"], "--param") for text in spellings]
        recorded = {json.dumps(policies.completed(name, p, tiny)) for p in given}
        assert len(recorded) == 1
        assert len({RunCell(tiny, name, p, 0, "simulator").key for p in given}) == 1
        folders = [simulate_to_folder(tiny, name, p, 0, tmp_path) for p in given[:3]]
        manifests = [json.loads((f / "manifest.json").read_text()) for f in folders]
        assert len({json.dumps(m["policy_params"]) for m in manifests}) == 1
    assert policies.completed("greedy", {"memory_s": 10}, tiny) == {"memory_s": 10.0}
    assert policies.completed("power-of-two", {"choices": 3.0}, tiny) == {"choices": 3}
    assert type(policies.completed("power-of-two", {"choices": 3.0}, tiny)["choices"]) is int


def test_a_sweep_has_one_cell_for_one_number(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "run:\n  a:\n    scenarios: [mini]\n    seeds: 0\n    policies:\n"
        + "".join(
            f"      - {{policy: {p}, params: {{memory_s: {n}}}}}\n"
            for p in ("greedy", f"'{OWN}'")
            for n in TEN[:4]
        )
    )
    assert len(make_plan(SweepFile(path)).cells) == 2


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("greedy", {"memory_s": float("nan")}, "must be a finite number"),
        ("greedy", {"memory_s": "nan"}, "must be a finite number"),
        ("greedy", {"memory_s": float("inf")}, "must be a finite number"),
        ("greedy", {"memory_s": True}, "must be a finite number"),
        ("greedy", {"memory_s": None}, "has no value"),
        ("greedy", {"memory_s": [1]}, "must be one number, true, false or text"),
        ("greedy", {"memory_s": "1_0"}, "; write 10"),
        ("greedy", {"price": 2}, "must be true or false"),
        ("power-of-two", {"choices": 2.5}, "must be a whole number"),
        ("power-of-two", {"choices": "1_0"}, "; write 10"),
        ("m2ppo", {"choice": 3}, "must be text; put it in quotes"),
        ("greedy", {"memry_s": 1}, "did you mean 'memory_s'?"),
    ],
)
def test_values_that_do_not_fit(name: str, params: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        policies.create(name, params)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"speedup": float("nan")}, {"speedup": 0}, {"speedup": 101}, {"seed": 2**128}]
)
def test_a_run_from_python_has_the_same_ranges(tiny: Scenario, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="must be a"):
        RunOptions(tiny, **wrong)
    RunOptions(tiny, speedup=100, seed=2**128 - 1)


def test_numpy_and_paths_are_plain_values() -> None:
    params: dict[str, Any] = {"memory_s": np.float32(2)}
    assert policies.canonical("greedy", params) == {"memory_s": 2.0}
    params = {"n": np.int64(2), "file": Path("a")}
    assert policies.canonical("x:Y", params) == {"n": 2, "file": "a"}


def written(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "other.yaml"
    path.write_text(text)
    return load_scenario(path)


def test_checkpoints_are_found_by_what_a_file_extends(tmp_path: Path) -> None:
    mine = written(tmp_path, "extends: case1\nname: case3-mine\n")
    assert shipped_ancestors(mine) == ("case1",)
    for algorithm in ("m2ppo", "mappo", "maa3c", "madqn"):
        path = Path(str(policies.completed(algorithm, {}, mine)["checkpoint"]))
        assert path.parent.name == "case1"
    assert load_config("m2ppo", {}, mine) == load_config("m2ppo", {}, load_scenario("case1"))
    params = policies.completed("m2ppo", {}, mine)
    note = policies.checkpoint_note("m2ppo", params, mine)
    assert "trained for case1, which case3-mine extends" in note
    entry: Any = policies.checkpoint_entry("m2ppo", params, mine)["checkpoint"]
    assert (entry["trained_for"], entry["shipped_for"]) == ("case1", "case1")
    assert [Path(f).name for f in entry["scenario_files"]] == ["other.yaml", "case1.yaml"]
    assert "extends" not in policies.checkpoint_note(
        "m2ppo", policies.completed("m2ppo", {}, case := load_scenario("case3")), case
    )


def test_a_name_alone_finds_no_checkpoint(tmp_path: Path) -> None:
    for name in ("case3", "case3-mine"):
        lone = written(
            tmp_path,
            f"name: {name}\nworkload: {{tasks_per_epoch: 1, work_ghz_s: 1, data_mb: 1}}\n",
        )
        assert policies.default_policy(lone) == "self-biased"
        with pytest.raises(UserError, match=r"./lab train /.*/other.yaml --algo m2ppo"):
            policies.completed("m2ppo", {}, lone)
    assert policies.default_policy(load_scenario("case3", {"name": "mini"})) == "m2ppo"


def test_a_chain_is_followed_to_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "middle.yaml").write_text("extends: case3-burst\n")
    last = written(tmp_path, "extends: middle.yaml\nname: case1\n")
    assert shipped_ancestors(last) == ("case3-burst", "case3")
    assert "case3" in str(policies.completed("m2ppo", {}, last)["checkpoint"])
    shutil.copy(SCENARIO_FOLDER / "case2.yaml", tmp_path / "case2.yaml")
    assert shipped_ancestors(load_scenario(tmp_path / "case2.yaml")) == ()
    assert shipped_ancestors(load_scenario(SCENARIO_FOLDER / "case2.yaml")) == ("case2",)


def test_a_contest_says_whose_checkpoints_it_takes(tmp_path: Path) -> None:
    mine = written(tmp_path, "extends: case1\nname: case3-mine\n")
    plan = plan_contest([mine, load_scenario("case1")], ["m2ppo", "local"], [0], tuned=False)
    assert borrowed_checkpoints(plan) == [
        "m2ppo in case3-mine: 5 checkpoints shipped for case1, which case3-mine extends"
    ]


def test_a_run_records_its_checkpoint(tmp_path: Path) -> None:
    mine = written(tmp_path, "extends: case1\nname: case3-mine\nslots: 2\n")
    params = policies.completed("m2ppo", {}, mine)
    folder = simulate_to_folder(mine, "m2ppo", params, 0, tmp_path / "out")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["checkpoint"]["trained_for"] == "case1"
    assert manifest["checkpoint"]["file"] == params["checkpoint"]
    folder = simulate_to_folder(mine, "local", {}, 0, tmp_path / "out")
    assert "checkpoint" not in json.loads((folder / "manifest.json").read_text())

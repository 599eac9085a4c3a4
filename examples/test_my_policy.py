"""What MyPolicy must keep to: ``./lab python -m pytest test_my_policy.py``, in this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))

from my_policy import MyPolicy

from model.load import load_scenario
from rl.policies import create
from rl.simulator.run import simulate

SCENARIO = load_scenario("mini")


def test_it_decides_every_task_and_finishes_most() -> None:
    run = simulate(SCENARIO, MyPolicy, seed=1)
    outcomes = run.tables["tasks"]["outcome"].to_pylist()
    assert len(outcomes) > 0
    assert outcomes.count("done") > len(outcomes) / 2
    assert "failed" not in outcomes


def test_it_is_better_than_chance() -> None:
    mine, chance = (
        [simulate(SCENARIO, make, seed, record=False).unit_delay for seed in range(3)]
        for make in (MyPolicy, lambda: create("random"))
    )
    assert sum(mine) < sum(chance)


def test_the_same_seed_repeats_the_run() -> None:
    first, second = (simulate(SCENARIO, MyPolicy, seed=2).tables["tasks"] for _ in range(2))
    assert first.equals(second)


def test_it_needs_no_more_than_a_device_can_see() -> None:
    assert MyPolicy.needs == "observation"

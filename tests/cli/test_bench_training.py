"""./lab bench training, and the environment as BenchMARL takes it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import benchmarl_bench
from cli.main import main
from model.scenario.load import load_scenario
from rl.environment.simulated import CrowdEdge


def test_one_choice_is_what_all_tasks_of_the_slot_get() -> None:
    """The same episode as when every task of an agent is given that target and rate."""
    scenario = load_scenario("mini", {"slots": 20})
    flat, whole = benchmarl_bench.environment(scenario), CrowdEdge(scenario, reward="shared")
    flat.reset(4)
    whole.reset(4)
    rates = len(scenario.decision.rates_mbps)
    while flat.agents:
        one = flat.step(dict.fromkeys(flat.agents, rates + 1))  # the second target and rate
        pair = np.array([1, 1] * whole.max_tasks)
        other = whole.step(dict.fromkeys(whole.agents, pair))
        assert one[1] == other[1]
    assert not whole.agents


def test_a_row_a_learner(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "training", "mini", "--algo", "mappo", "--chunks", "1"]) == 0
    said = capsys.readouterr().out
    assert "mappo" in said
    assert ("BenchMARL is not installed" in said) != benchmarl_bench.available()

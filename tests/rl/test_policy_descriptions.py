"""What is said of the policies is what their classes have."""

from __future__ import annotations

import inspect

import pytest

from model.errors import UserError
from model.scenario.load import load_scenario
from rl.policies import create, names, parameters, policy_class
from rl.policies.checkpoint import best_shipped
from rl.policy_descriptions import checkpoints, describe


@pytest.mark.parametrize("name", names())
def test_every_parameter_has_its_default_and_a_meaning(name: str) -> None:
    found = describe(name)
    assert found.summary
    expected = {n: p.default for n, p in parameters(policy_class(name)).items()}
    assert {p.name: p.default for p in found.parameters} == expected
    assert all(p.meaning for p in found.parameters)
    assert all(p.kind in ("bool", "int", "float", "str") for p in found.parameters)
    assert create(name).needs == found.needs


def test_what_devices_cannot_see_runs_in_the_simulator_only() -> None:
    assert describe("oracle").worlds == ("simulator",)
    assert describe("ago").worlds == ("simulator",)
    assert describe("local").worlds == ("emulation", "simulator")


def test_several_names_in_an_entry_share_its_meaning() -> None:
    meanings = {p.name: p.meaning for p in describe("static-split").parameters}
    assert meanings["peers"] == meanings["cloud"] != ""


def test_the_checkpoint_that_a_run_takes_is_marked() -> None:
    marked = [one for one in checkpoints("m2ppo") if one.default and one.scenario == "case2"]
    assert [one.file for one in marked] == [str(best_shipped("m2ppo", load_scenario("case2")))]
    assert checkpoints("local") == ()
    assert "case3" in describe("mappo").trained_for


def test_there_is_no_such_policy() -> None:
    with pytest.raises(UserError, match="no policy 'lokal'; did you mean 'local'"):
        describe("lokal")


def test_the_text_ends_where_the_parameters_begin() -> None:
    found = describe("greedy")
    assert "Args" not in found.text
    assert found.text in inspect.cleandoc(policy_class("greedy").__doc__ or "")

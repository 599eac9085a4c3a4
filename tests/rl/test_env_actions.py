"""Illegal actions, steps, seeds and options: a ``ValueError`` that names them, nothing played."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model.errors import ScenarioError
from rl.environment.simulated import CrowdEdge, crowd_edge_v0
from tests.rl.worlds import small

DISCRETE: dict[str, Any] = {"actions": "discrete", "mask": "none", "max_tasks": 1}


def begun(**options: Any) -> CrowdEdge:
    env = crowd_edge_v0(small(slots=3), **{"max_tasks": 1, **options})
    env.reset(seed=1)
    return env


def stay(env: CrowdEdge) -> dict[str, Any]:
    shape = env.action_space(env.possible_agents[0]).shape
    return {a: np.zeros(shape, dtype=np.int64) for a in env.agents}


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.array([-1, 0]), "the target of place 0 is -1, which is not one of 0 … 3"),
        (np.array([0, -4]), "the rate of place 0 is -4, which is not one of 0 … 3"),
        ([99, 0], "the target of place 0 is 99"),
        (np.array([0, 4], dtype=np.uint8), "the rate of place 0 is 4"),
        (np.array([2**64 - 1, 0], dtype=np.uint64), "is -1, which is not one of"),
        (np.array([2**32, 0]), "the target of place 0 is 4294967296"),
        ([2**70, 0], "is not whole numbers"),
        (np.array([1.0, 0.0]), "its type is float64"),
        (np.array([np.nan, 0.0]), "nan"),
        (np.array([True, False]), "its type is bool"),
        (np.array([1, 0, 0]), r"its shape is \(3,\)"),
        (np.array([[1, 0]]), r"its shape is \(1, 2\)"),
        (np.int64(1), r"its shape is \(\)"),
        ([[1], [0, 2]], "is not whole numbers"),
        (None, "None"),
        ("e1", "'e1'"),
        ({}, "{}"),
    ],
    ids=repr,
)
def test_an_illegal_action_is_named_and_nothing_happens(action: object, words: str) -> None:
    env, other = begun(), begun()
    name = env.agents[2]
    with pytest.raises(ValueError, match=f"^{name}: .*{words}"):
        env.step({**stay(env), name: action})
    assert (env.slot, len(env.agents)) == (0, 4)
    assert env.step(stay(env))[1] == other.step(stay(other))[1], "the slot was not left as it was"


@pytest.mark.parametrize("action", [-1, 16, 1.0, np.float32(1), True, None, np.array([3]), 2**70])
def test_an_illegal_number_is_named(action: object) -> None:
    env = begun(**DISCRETE)
    with pytest.raises(ValueError, match=r"^c1d1: "):
        env.step({**stay(env), "c1d1": action})
    for legal in (15, np.int32(3), np.array(2)):
        env.step({**dict.fromkeys(env.agents, 0), "c1d1": legal})


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ({}, "c1d1, c1d2, c2d1, c2d2 acts in this slot and has no action"),
        ({"c1d1": [0, 0]}, "c1d2, c2d1, c2d2 acts in this slot"),
        (None, "None are not a dict"),
        ([[0, 0]] * 4, "are not a dict"),
    ],
)
def test_every_agent_acts(actions: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        begun().step(actions)


def test_nobody_else_acts() -> None:
    env = begun()
    with pytest.raises(ValueError, match="there is no agent c9d9"):
        env.step({**stay(env), "c9d9": np.array([0, 0])})


def test_steps_outside_an_episode() -> None:
    env = crowd_edge_v0(small(slots=1))
    for method in (lambda: env.step({}), env.state):
        with pytest.raises(ValueError, match="call reset"):
            method()
    env.reset(seed=1)
    env.step(stay(env))
    with pytest.raises(ValueError, match="the episode is over"):
        env.step({})
    assert env.state_space.contains(env.state())
    env.reset()
    env.step(stay(env))


def test_what_goes_wrong_within_a_step_ends_the_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    env = begun()
    monkeypatch.setattr(env.batch, "step", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        env.step(stay(env))
    assert not env.agents
    env.reset(seed=1)
    env.step(stay(env))


@pytest.mark.parametrize("seed", [-1, 3.0, True, "1", 2**63, np.float64(1), [1]])
def test_a_bad_seed_leaves_the_episode_alone(seed: Any) -> None:
    env = begun()
    with pytest.raises(ValueError, match=r"^seed .* is not a whole number from 0 to"):
        env.reset(seed=seed)
    env.step(stay(env))


def test_seeds_of_any_whole_type_are_the_same() -> None:
    env = begun()
    traces = []
    for seed in (5, np.int64(5), np.uint8(5)):
        env.reset(seed=seed)  # type: ignore[arg-type]
        traces.append(env.batch.traces[0].born_s.tolist())
    assert traces[0] == traces[1] == traces[2]
    env.reset(seed=2**63 - 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reward": "team"}, "reward='team' is not one of own, shared"),
        ({"mask": "flatt"}, "did you mean 'flat'"),
        ({"mask": None}, "mask=None"),
        ({"observations": "box"}, "observations='box'"),
        ({"actions": 1}, "actions=1"),
        ({"max_tasks": 0}, "max_tasks=0 is not a whole number from 1 to"),
        ({"max_tasks": 2.0}, "max_tasks=2.0"),
        ({"max_tasks": True}, "max_tasks=True"),
        ({"max_tasks": 10**6}, "max_tasks=1000000"),
        ({"render_mode": "human"}, "render_mode='human'"),
    ],
)
def test_unknown_words_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        crowd_edge_v0(small(), **options)


def test_a_scenario_by_name() -> None:
    assert crowd_edge_v0("mini").scenario.name == "mini"
    with pytest.raises(ScenarioError, match="did you mean 'mini'"):
        crowd_edge_v0("minni")
    with pytest.raises(ValueError, match="scenario is a dict"):
        crowd_edge_v0({})  # type: ignore[arg-type]


def test_the_emulation_checks_its_options_before_the_machine() -> None:
    from emulation.env import EmulationEnv

    with pytest.raises(ValueError, match="reward='team'"):
        EmulationEnv("mini", reward="team")  # type: ignore[arg-type]
    with pytest.raises(ScenarioError):
        EmulationEnv("minni")

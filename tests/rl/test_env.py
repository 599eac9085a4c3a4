"""The PettingZoo environment: its contract, its seeds, what it pays and what it hides."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test  # type: ignore[import-untyped]

from rl.environment.simulated import CrowdEdge, crowd_edge_v0
from rl.simulator import state_arrays as ix
from tests.rl.worlds import small


def sampled(env: CrowdEdge, seen: dict[str, Any]) -> dict[str, Any]:
    return {a: env.action_space(a).sample(mask=seen[a]["action_mask"]) for a in env.agents}


def episode(env: CrowdEdge, seed: int) -> list[Any]:
    """Everything an episode of sampled actions gives out, flattened."""
    seen, infos = env.reset(seed=seed)
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(number)
    story: list[Any] = [seen, infos]
    while env.agents:
        step = env.step(sampled(env, seen))
        seen = step[0]
        story += step
    return story


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(np.array_equal(a, b))


def test_the_contract_of_pettingzoo() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(crowd_edge_v0(small(slots=30)), num_cycles=50)


def test_observations_stay_in_their_space_for_a_whole_episode() -> None:
    env = crowd_edge_v0(small(slots=20))
    seen, _ = env.reset(seed=3)
    while env.agents:
        for agent in env.agents:
            assert env.observation_space(agent).contains(seen[agent])
        seen, *_ = env.step(sampled(env, seen))


def test_a_seed_decides_the_whole_episode() -> None:
    env, other = crowd_edge_v0(small(slots=25)), crowd_edge_v0(small(slots=25))
    first = episode(env, 5)
    assert same(first, episode(other, 5))
    assert same(first, episode(env, 5)), "a second episode remembers the first"
    assert not same(first, episode(env, 6))


def test_episodes_without_a_seed_differ_but_follow_from_the_last_seed() -> None:
    def births(env: CrowdEdge) -> list[list[float]]:
        env.reset(seed=1)
        traces = []
        for _ in range(2):
            env.reset()
            traces.append(env.batch.traces[0].born_s.tolist())
        return traces

    once, again = births(crowd_edge_v0(small())), births(crowd_edge_v0(small()))
    assert once == again
    assert once[0] != once[1]


def test_rewards_sum_to_the_cost_of_equation_7() -> None:
    env = crowd_edge_v0(small(slots=40))
    seen, _ = env.reset(seed=2)
    total = dict.fromkeys(env.agents, 0.0)
    while env.agents:
        seen, rewards, *_ = env.step(sampled(env, seen))
        for agent, reward in rewards.items():
            total[agent] += reward
    batch = env.batch
    delays, ref = batch.delays_s(40.0)[0], batch.moving.task_ref[0]
    for d, agent in enumerate(env.possible_agents):
        mine = np.flatnonzero(ref[:, ix.DEVICE] == d)
        profile = batch.layout.profiles[d]
        prices = np.asarray(profile.prices)[ref[mine, ix.TARGET]]
        cost = delays[mine].sum() + 0.01 * (prices * batch.moving.task[0, mine, ix.WORK]).sum()
        assert total[agent] == pytest.approx(-cost)


def test_shared_rewards_are_the_mean() -> None:
    episodes = {}
    kinds: tuple[Literal["own", "shared"], ...] = ("own", "shared")
    for kind in kinds:
        env = CrowdEdge(small(slots=15), reward=kind)
        story = episode(env, 4)
        episodes[kind] = [sum(r.values()) for r in story[3::5]]
    np.testing.assert_allclose(episodes["own"], episodes["shared"])


def test_hidden_state_is_for_critics_only() -> None:
    env = crowd_edge_v0(small(slots=10))
    seen, infos = env.reset(seed=1)
    assert set(seen[env.agents[0]]) == {"own", "targets", "tasks", "action_mask"}
    assert all(set(info) == {"critic"} for info in infos.values())
    assert env.state_space.contains(env.state())

"""Forms of observations, actions and masks: the same content, and the same episodes."""

from __future__ import annotations

import warnings
from itertools import product
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo.test import parallel_api_test  # type: ignore[import-untyped]

from rl.environment.simulated import CrowdEdge, crowd_edge_v0
from tests.rl.worlds import small


def make(**options: Any) -> CrowdEdge:
    return crowd_edge_v0(small(slots=6), **options)


FORMS: list[dict[str, Any]] = [
    {"observations": o, "actions": a, "mask": m, "max_tasks": k}
    for o, a, m, k in product(
        ("dict", "flat"), ("pairs", "discrete"), ("sample", "flat", "none"), (1, 3)
    )
]
SAMPLED = [
    f
    for f in FORMS
    # Gymnasium's MultiDiscrete draws with a tuple of masks only.
    if f["mask"] != "flat" or (f["actions"], f["max_tasks"]) == ("discrete", 1)
]


@pytest.mark.parametrize("form", SAMPLED, ids=str)
def test_every_form_keeps_pettingzoos_contract(form: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(make(**form), num_cycles=8)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_shows_the_same_numbers(form: dict[str, Any]) -> None:
    plain, env = make(max_tasks=form["max_tasks"]), make(**form)
    (truth, _), (seen, _) = plain.reset(seed=3), env.reset(seed=3)
    size = len(env.profiles[0].targets)
    for agent in env.agents:
        whole, given = truth[agent], seen[agent]
        assert env.observation_space(agent).contains(given)
        if form["observations"] == "flat":
            vector = given if form["mask"] == "none" else given["observation"]
            parts = [whole[key].ravel() for key in ("own", "targets", "tasks")]
            np.testing.assert_array_equal(vector, np.concatenate(parts))
        else:
            for key in ("own", "targets", "tasks"):
                np.testing.assert_array_equal(given[key], whole[key])
        if form["mask"] == "none":
            assert form["observations"] == "flat" or "action_mask" not in given
            continue
        masks = list(whole["action_mask"])
        if form["actions"] == "discrete":
            masks = [
                np.outer(target, rate).ravel()
                for target, rate in zip(masks[0::2], masks[1::2], strict=True)
            ]
            assert len(masks[0]) == size * 4
        found = given["action_mask"]
        flat = np.concatenate(found) if isinstance(found, tuple) else found
        np.testing.assert_array_equal(flat, np.concatenate(masks))


@pytest.mark.parametrize("observations", ["dict", "flat"])
def test_arrays_go_to_torch_without_a_copy_or_a_warning(observations: Any) -> None:
    torch = pytest.importorskip("torch")
    env = make(observations=observations, actions="discrete", mask="flat", max_tasks=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seen in env.reset(seed=1)[0].values():
            assert all(torch.as_tensor(array).ndim for array in seen.values())


def test_spaces_are_what_learners_know() -> None:
    flat = make(observations="flat", actions="discrete", mask="flat", max_tasks=1)
    agent = flat.possible_agents[0]
    assert isinstance(flat.action_space(agent), spaces.Discrete)
    shown = flat.observation_space(agent)
    assert isinstance(shown, spaces.Dict)
    assert [*shown] == ["action_mask", "observation"] or [*shown] == ["observation", "action_mask"]
    assert all(isinstance(space, spaces.Box) for space in shown.values())
    bare = make(observations="flat", mask="none")
    assert isinstance(bare.observation_space(agent), spaces.Box)


def test_a_number_stands_for_target_and_rate() -> None:
    """The same episode, decided in pairs and in single numbers."""
    pairs, single = make(max_tasks=2), make(max_tasks=2, actions="discrete")
    pairs.reset(seed=4)
    single.reset(seed=4)
    draw = np.random.default_rng(0)
    while pairs.agents:
        chosen = {a: draw.integers([4, 4, 4, 4]) for a in pairs.agents}
        joint = {a: 4 * c[0::2] + c[1::2] for a, c in chosen.items()}
        assert pairs.step(chosen)[1] == single.step(joint)[1]
    assert not single.agents
    np.testing.assert_array_equal(pairs.batch.targets, single.batch.targets)
    np.testing.assert_array_equal(pairs.batch.rates, single.batch.rates)


def uneven(**options: Any) -> CrowdEdge:
    """Three devices see four targets, one sees two."""
    scenario = small(slots=40)
    clusters = scenario.network.clusters
    more = (*clusters[:1], clusters[1].model_copy(update={"devices": 1}))
    network = scenario.network.model_copy(update={"clusters": more})
    return crowd_edge_v0(scenario.model_copy(update={"network": network}), **options)


def test_without_a_mask_every_action_of_the_space_is_legal() -> None:
    env = uneven(mask="none", max_tasks=1)
    counts = {p.name: len(p.targets) for p in env.profiles}
    widest = max(counts.values())
    assert min(counts.values()) < widest, "no target is padded"
    env.reset(seed=1)
    while env.agents:
        env.step({a: np.array([widest - 1, 0]) for a in env.agents})
    trace = env.batch.traces[0]
    for task, device in enumerate(trace.device):
        count = counts[env.possible_agents[device]]
        assert env.batch.targets[0, task] == (widest - 1) % count


def test_with_a_mask_padding_is_refused_for_tasks_alone() -> None:
    env = uneven(mask="flat", max_tasks=1)
    counts = {p.name: len(p.targets) for p in env.profiles}
    least = min(counts, key=lambda name: counts[name])
    seen, _ = env.reset(seed=1)
    padded = np.array([max(counts.values()) - 1, 0])
    met = False
    while env.agents and not met:
        actions = {a: np.zeros(2, dtype=np.int64) for a in env.agents} | {least: padded}
        if seen[least]["tasks"][0, 0]:
            with pytest.raises(ValueError, match=f"^{least}: target .* is padding"):
                env.step(actions)
            met = True
        else:
            seen, *_ = env.step(actions)
    assert met

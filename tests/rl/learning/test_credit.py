"""Prices, held against replays: what changes for all when one decision is another."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch

from model.aliases import FloatArray, IntArray
from model.scenario import Scenario
from model.scenario.load import load_scenario
from rl.learning.collector import Collector
from rl.learning.credit import (
    LinkHistory,
    crossings_of,
    delays_s,
    link_externality_s,
    link_waits,
    unit_externality_s,
)
from rl.learning.torch_actor import Actor, ActorShape
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch

SLOTS, DECIDED, REPLAYS, SEED = 120, 60, 150, 3


class Replays(NamedTuple):
    """By how much the sum of all delays grew when one decision was another, s, (REPLAYS,)."""

    happened: FloatArray
    charged: FloatArray
    own: FloatArray


def _decisions(scenario: Scenario, count: int) -> IntArray:
    """Of an untrained actor, which is sensible: queues build up on units and links, and empty."""
    torch.manual_seed(0)
    actor = Actor(ActorShape(), scenario.decision.rates_mbps)
    target = Collector(scenario, 1, itertools.count(SEED), "own").collect(actor, SLOTS).target
    result = np.zeros(count, dtype=np.int64)
    result[: len(target)] = target.numpy()
    return result


def _played(batch: Batch) -> LinkHistory:
    waits = []
    for _ in range(SLOTS):
        batch.step()
        waits.append(np.empty(batch.moving.link_until.shape))
        link_waits(batch.fixed, batch.moving, batch.now_s, waits[-1])
    env, task = np.nonzero(batch.moving.task[:, :, ix.BORN] < batch.now_s)
    target = batch.targets[env, task].astype(np.int64)
    return LinkHistory(np.stack(waits), crossings_of(batch, SLOTS, env, task, target))


def _replays(case: str) -> Replays:
    """Environment 0 as decided; in each of the others one decision is another."""
    scenario = load_scenario(case, {"slots": SLOTS})
    random = np.random.default_rng(5)
    batch = Batch(scenario, [SEED] * (1 + REPLAYS))
    device = batch.moving.task_ref[0, :, ix.DEVICE]
    many = (batch.layout.target_unit >= 0).sum(axis=1)[device]
    base = _decisions(scenario, len(device))
    batch.targets[:] = base
    task = random.choice(np.flatnonzero(batch.moving.task[0, :, ix.BORN] < DECIDED), REPLAYS)
    env = np.arange(1, REPLAYS + 1)
    batch.targets[env, task] = (base[task] + random.integers(1, many[task])) % many[task]
    history = _played(batch)

    def charge(envs: IntArray) -> tuple[FloatArray, FloatArray]:
        own = delays_s(batch, envs, task)
        others = unit_externality_s(batch, *_all(batch)).reshape(len(batch.seeds), -1)[envs, task]
        return own, own + others + link_externality_s(batch, history, envs, task)

    sums = np.nansum(batch.delays_s(SLOTS * scenario.slot_s), axis=1)
    (own, charged), (own_before, before) = charge(env), charge(np.zeros_like(env))
    return Replays(sums[1:] - sums[0], charged - before, own - own_before)


def _all(batch: Batch) -> tuple[IntArray, IntArray]:
    """Indices of every task, as what is served behind one is looked for among those given."""
    envs, tasks = batch.moving.task.shape[:2]
    env, task = np.divmod(np.arange(envs * tasks), tasks)
    return env, task


@pytest.mark.parametrize("case", ["case1", "case2", "case3"])
def test_prices_are_what_others_lose(case: str) -> None:
    """Not exactly: what is pushed back comes to other queues at other times."""
    got = _replays(case)
    priced = np.corrcoef(got.charged, got.happened)[0, 1]
    assert priced > 0.9
    assert priced > np.corrcoef(got.own, got.happened)[0, 1]
    assert abs((got.charged - got.happened).mean()) < 0.1 * got.happened.std()

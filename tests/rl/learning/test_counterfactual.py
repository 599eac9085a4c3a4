"""What other targets would have cost, against replays in which one decision was another."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.load import load_scenario
from model.scenario import Scenario
from rl.learning.collector import Collector
from rl.learning.counterfactual import alternatives_s
from rl.learning.credit import (
    LinkHistory,
    crossings_of,
    delays_s,
    link_externality_s,
    link_waits,
    unit_externality_s,
)
from rl.learning.networks import Actor, ActorShape
from rl.simulator import arrays as ix
from rl.simulator.batch import Batch

FloatArray = NDArray[np.float64]
SLOTS, DECIDED, REPLAYS, SEED = 120, 60, 150, 3


class Replays(NamedTuple):
    """By how much the sum of all delays grew when one decision was another, s, (REPLAYS,)."""

    happened: FloatArray
    foretold: FloatArray
    to_device: NDArray[np.bool_]


def _play(batch: Batch) -> FloatArray:
    """All slots; returns the links' waits at their ends, (slots, E, L)."""
    waits = []
    for _ in range(SLOTS):
        batch.step()
        out = np.empty(batch.moving.link_until.shape)
        link_waits(batch.fixed, batch.moving, batch.now_s, out)
        waits.append(out)
    return np.stack(waits)


def _decisions(scenario: Scenario, count: int) -> NDArray[np.int64]:
    """Of an untrained actor, which is sensible: queues build up on units and links, and empty."""
    actor = Actor(ActorShape(), scenario.decision.rates_mbps)
    torch.manual_seed(0)
    collector = Collector(scenario, 1, itertools.count(SEED), "own")
    result = np.zeros(count, dtype=np.int64)
    target = collector.collect(actor, SLOTS).target.numpy()
    result[: len(target)] = target
    return result


def _replays(case: str) -> Replays:
    scenario = load_scenario(case, {"slots": SLOTS})
    random = np.random.default_rng(5)
    batch = Batch(scenario, [SEED] * (1 + REPLAYS))
    layout, row = batch.layout, batch.moving.task[0]
    device = batch.moving.task_ref[0, :, ix.DEVICE].astype(np.int64)
    many = (layout.target_unit >= 0).sum(axis=1)[device]
    base = _decisions(scenario, len(device))
    batch.targets[:] = base
    early = np.flatnonzero(row[:, ix.BORN] < DECIDED)
    task = random.choice(early, REPLAYS)
    other = (base[task] + random.integers(1, many[task])) % many[task]
    batch.targets[np.arange(1, REPLAYS + 1), task] = other
    waits = _play(batch)
    delays = batch.delays_s(SLOTS * scenario.slot_s)

    born = np.flatnonzero(row[:, ix.BORN] < SLOTS)
    env, slot = np.zeros_like(born), row[born, ix.BORN].astype(np.int64)
    crossings = crossings_of(batch, SLOTS, slot, env, device[born], base[born])
    history = LinkHistory(waits, crossings)
    decided = {"slot": slot, "env": env, "task": born, "agent": device[born]}
    costs = alternatives_s(batch, history, decided, np.full((len(born), layout.targets), 10.0))
    charge = delays_s(batch, env, born) + unit_externality_s(batch, env, born)
    charge += link_externality_s(batch, history, slot, env, born)
    at = np.searchsorted(born, task)
    sums = np.nansum(delays, axis=1)
    return Replays(
        happened=sums[1:] - sums[0],
        foretold=costs[at, other] - charge[at],
        to_device=layout.target_unit[device[task], other] < len(layout.profiles),
    )


@pytest.mark.parametrize(("case", "correlation"), [("case1", 0.9), ("case2", 0.7), ("case3", 0.9)])
def test_foretold_as_it_happened(case: str, correlation: float) -> None:
    """Not exactly: tasks that were pushed back change each other's order and way."""
    got = _replays(case)
    error = got.foretold - got.happened
    assert np.corrcoef(got.foretold, got.happened)[0, 1] > correlation
    assert abs(error.mean()) < 0.1 * got.happened.std()
    for kind in (got.to_device, ~got.to_device):
        assert abs(error[kind].mean()) < got.happened[kind].std() / 3

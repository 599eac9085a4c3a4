"""Measurements of the simulator measure what they say."""

from __future__ import annotations

import numpy as np

from benchmarks.simulator_bench import (
    decide,
    enlarged,
    layout_of,
    measure_accuracy,
    measure_environment,
    measure_speed,
)
from model.scenario.load import load_scenario
from rl.simulator import state_arrays as ix
from rl.simulator.batch import PIECE_MB, Batch


def test_more_cells_are_made_like_the_ones_there_are() -> None:
    scenario = load_scenario("case3", {"slots": 10})
    small, large = layout_of(scenario), layout_of(enlarged(scenario, 6))
    assert len(enlarged(scenario, 3).network.clusters) == len(scenario.network.clusters)
    assert len(large.network.of_kind("edge")) == 6
    assert len(large.profiles) > 1.5 * len(small.profiles)
    assert large.targets >= small.targets + 3


def test_larger_than_what_can_be_emulated() -> None:
    scenario = enlarged(load_scenario("case3", {"slots": 27}), 40)
    speed = measure_speed(scenario, 1)
    assert speed.devices > 500
    assert speed.slots_per_s > 0


def test_decisions_are_shared_out_as_told() -> None:
    batch = Batch(load_scenario("case3", {"slots": 50}), [1, 2])
    decide(batch)
    born = np.isfinite(batch.moving.task[:, :, ix.BORN])
    home = (batch.targets == 0)[born].mean()
    assert 0.68 < home < 0.74
    counts = np.array([len(p.targets) for p in batch.layout.profiles])
    assert (batch.targets < counts[batch.moving.task_ref[:, :, ix.DEVICE]]).all()


def test_the_default_size_of_parts_is_accurate() -> None:
    scenario = load_scenario("case2", {"slots": 60})
    truth, rows = measure_accuracy(scenario, "self-biased", (PIECE_MB, 0.7), [1, 2])
    assert truth > 0
    assert abs(rows[0].error) < 0.003
    assert rows[0].task_error < rows[1].task_error


def test_steps_of_the_environment_are_counted() -> None:
    agents, speed = measure_environment(load_scenario("mini", {"slots": 12}), 15)
    assert agents == 4
    assert speed > 0

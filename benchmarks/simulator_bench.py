"""How fast and how accurate the simulator is: what ``./lab bench`` prints of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.scenario import BaseStationSpec, ClusterSpec, Scenario
from rl import policies
from rl.environment.simulated import CrowdEdge
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch
from rl.simulator.layout import Layout
from rl.simulator.run import simulate

SHARES = {"self": 0.7, "own edge": 0.2, "any target": 0.1}
"""Where the tasks of a speed measurement go."""
WARM_UP = 25
"""Slots before the clock starts: devices begin with a gap of up to 20 s, and heaps have to grow."""
FINE_MB = 0.005
"""Parts of the truth that accuracies are measured against: 4 ms at 10 Mbps."""


def enlarged(scenario: Scenario, cells: int) -> Scenario:
    """The scenario with so many cells, made like its own ones in turn.

    Made here rather than from a file, it may be larger than what can be emulated.
    """
    network = scenario.network
    stations = tuple(BaseStationSpec(name=f"bs{k}", edge=f"e{k}") for k in range(1, cells + 1))
    pattern = [
        [c for c in network.clusters if c.bs == station.name] for station in network.base_stations
    ]
    shapes = [(bs.name, c) for k, bs in enumerate(stations) for c in pattern[k % len(pattern)]]
    clusters = tuple(
        ClusterSpec(name=f"c{k}", bs=bs, devices=shape.devices)
        for k, (bs, shape) in enumerate(shapes, 1)
    )
    update = {"base_stations": stations, "clusters": clusters}
    return scenario.model_copy(update={"network": network.model_copy(update=update)})


def decide(batch: Batch, seed: int = 0) -> None:
    """Write decisions for all tasks: ``SHARES``, at full rate."""
    rng = np.random.default_rng(seed)
    counts = np.array([len(p.targets) for p in batch.layout.profiles])
    own = np.array([p.own_edge for p in batch.layout.profiles])
    device = batch.moving.task_ref[:, :, ix.DEVICE]
    kind, anywhere = rng.random(device.shape), rng.random(device.shape) * counts[device]
    away = np.where(kind < SHARES["self"] + SHARES["own edge"], own[device], anywhere)
    batch.targets[:] = np.where(kind < SHARES["self"], 0, away).astype(np.int16)


@dataclass(frozen=True, slots=True)
class Speed:
    """Environment slots per CPU-second of one thread."""

    devices: int
    batch: int
    tasks_per_slot: float
    slots_per_s: float

    @property
    def device_slots_per_s(self) -> float:
        """Steps of single devices per CPU-second."""
        return self.devices * self.slots_per_s


def measure_speed(scenario: Scenario, size: int, layout: Layout | None = None) -> Speed:
    """Let ``size`` environments pass all slots but ``WARM_UP``, with pings, decisions given."""
    batch = Batch(scenario, range(size), layout=layout)
    decide(batch)
    for _ in range(WARM_UP):
        batch.step()
    before = int(batch.moving.cursor.sum())
    begin = time.process_time()
    for _ in range(scenario.slots - WARM_UP):
        batch.step()
    spent = time.process_time() - begin
    done = size * (scenario.slots - WARM_UP)
    tasks = (int(batch.moving.cursor.sum()) - before) / done
    return Speed(len(batch.layout.profiles), size, tasks, done / max(spent, 1e-9))


def layout_of(scenario: Scenario) -> Layout:
    """The scenario's layout, for several batches; its paths take longest to find."""
    layout = Layout.of(scenario)
    layout.paths  # noqa: B018 - found now, not while the clock runs
    return layout


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Parts of a size against very small ones, on the same decisions.

    Attributes:
        error: of the mean unit delay, relative.
        worst: largest relative error of an episode's unit delay.
        task_error: mean absolute error of a task's E over the mean E.
        slots_per_s: environment slots per CPU-second.
    """

    piece_mb: float
    error: float
    worst: float
    task_error: float
    slots_per_s: float


def measure_accuracy(
    scenario: Scenario, policy: str, pieces: Sequence[float], seeds: Sequence[int]
) -> tuple[float, list[Accuracy]]:
    """Unit delay (s per MB) with parts of ``FINE_MB``, and what larger parts make of it.

    The policy decides once, with parts of the default size; all sizes then get its decisions.
    """
    layout = layout_of(scenario)
    runs = [
        simulate(scenario, lambda: policies.create(policy), seed, record=False, layout=layout)
        for seed in seeds
    ]
    decided = [(r.batch.moving.task_ref[0], r.batch.moving.task[0]) for r in runs]

    def replay(piece_mb: float) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        batch = Batch(scenario, seeds, piece_mb=piece_mb, layout=layout)
        for e, (ref, task) in enumerate(decided):
            batch.targets[e, : len(ref)] = np.maximum(ref[:, ix.TARGET], 0)
            full = scenario.decision.max_rate_mbps
            batch.rates[e, : len(ref)] = np.nan_to_num(task[:, ix.RATE], nan=full)
        begin = time.process_time()
        for _ in range(scenario.slots):
            batch.step()
        spent, end_s = time.process_time() - begin, scenario.duration_s
        speed = len(seeds) * scenario.slots / max(spent, 1e-9)
        return batch.unit_delay(end_s), batch.delays_s(end_s), speed

    truth, delays, _ = replay(FINE_MB)
    found = []
    for piece_mb in pieces:
        unit_delay, other, speed = replay(piece_mb)
        error = float(unit_delay.mean() / truth.mean() - 1.0)
        worst = float(np.abs(unit_delay / truth - 1.0).max())
        per_task = float(np.nanmean(np.abs(other - delays)) / np.nanmean(delays))
        found.append(Accuracy(piece_mb, error, worst, per_task, speed))
    return float(truth.mean()), found


def measure_environment(scenario: Scenario, steps: int) -> tuple[int, float]:
    """(agents, steps per CPU-second) of the PettingZoo environment, actions made beforehand."""
    env = CrowdEdge(scenario)
    env.reset(seed=0)
    stay = dict.fromkeys(env.agents, np.zeros(2 * env.max_tasks, dtype=np.int64))
    for _ in range(2):
        env.step(stay)
    begin = time.process_time()
    for _ in range(steps):
        if not env.agents:
            env.reset(seed=1)
        env.step(stay)
    return len(env.possible_agents), steps / (time.process_time() - begin)

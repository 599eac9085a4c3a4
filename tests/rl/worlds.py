"""Small scenarios and random decisions for the tests of the simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.scenario import (
    BaseStationSpec,
    ClusterSpec,
    LinkSpec,
    NetworkSpec,
    Scenario,
    WorkloadSpec,
)
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch


def small(
    *, slots: int = 20, devices: int = 2, network: dict[str, Any] | None = None, **fields: Any
) -> Scenario:
    """Two cells with one cluster each and plenty of tasks."""
    base: dict[str, Any] = {
        "base_stations": tuple(BaseStationSpec(name=f"bs{k}", edge=f"e{k}") for k in (1, 2)),
        "clusters": tuple(ClusterSpec(name=f"c{k}", bs=f"bs{k}", devices=devices) for k in (1, 2)),
        "backbone": LinkSpec(rate_mbps=20, delay_ms=50),
    }
    work = fields.pop("workload", WorkloadSpec(tasks_per_epoch=8, work_ghz_s=4, data_mb=1))
    spec = NetworkSpec(**(base | (network or {})))
    return Scenario(name="small", slots=slots, network=spec, workload=work, **fields)


def decide_randomly(batch: Batch, seed: int = 0, home: float = 0.2) -> None:
    """Write random targets and rates for all tasks of all environments."""
    rng = np.random.default_rng(seed)
    counts = np.array([len(p.targets) for p in batch.layout.profiles])
    shape = batch.targets.shape
    drawn = rng.random(shape) * counts[batch.moving.task_ref[:, :, ix.DEVICE]]
    batch.targets[:] = np.where(rng.random(shape) < home, 0, drawn.astype(np.int16))
    batch.rates[:] = rng.choice([2.5, 5.0, 7.5, 10.0], size=shape)


def decide_own_edge(batch: Batch, rate_mbps: float = 10.0) -> None:
    """Send every task to the edge of its own cell."""
    own = np.array([p.own_edge for p in batch.layout.profiles])
    batch.targets[:] = own[batch.moving.task_ref[:, :, ix.DEVICE]]
    batch.rates[:] = rate_mbps


def run(batch: Batch) -> Batch:
    """Let all slots pass."""
    for _ in range(batch.scenario.slots):
        batch.step()
    return batch

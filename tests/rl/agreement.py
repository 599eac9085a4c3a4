"""Compares the fast simulator with the slow one, task by task, link by link and ping by ping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.reference import Reference
from model.scenario import Scenario
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch
from tests.rl.worlds import decide_randomly

COLUMNS = {
    "arrived": ix.ARRIVED, "start": ix.START, "end": ix.END, "known": ix.KNOWN, "failed": ix.FAILED,
}  # fmt: skip
OVERHEAD = 1.05


def agree(
    scenario: Scenario, seeds: Sequence[int], piece_mb: float = 0.125, tolerance: float = 1e-9
) -> Batch:
    """Every task's times, every link's bytes and every ping, in each environment.

    Returns the batch that has been played.
    """
    batch = Batch(scenario, seeds, piece_mb=piece_mb, wire_overhead=OVERHEAD)
    decide_randomly(batch, seeds[0])
    pings: list[NDArray[np.float64]] = []
    for _ in range(scenario.slots):
        pings.append(batch.moving.ping_rtt.copy())
        batch.step()
    for e in range(len(seeds)):
        _agrees(batch, e, np.array([slot[e] for slot in pings]), piece_mb, tolerance)
    return batch


def _agrees(
    batch: Batch, e: int, pings: NDArray[np.float64], piece_mb: float, tolerance: float
) -> None:
    slow = Reference(batch.scenario, batch.seeds[e], piece_mb, OVERHEAD)
    slow.run(batch.targets[e], batch.rates[e])
    for name, column in COLUMNS.items():
        expected = [task.times.get(name, np.nan) for task in slow.tasks]
        found = batch.moving.task[e, : len(expected), column].copy()
        if name == "arrived":
            # The fast one notes the arrival at an edge that overflows, too.
            found[np.isnan(batch.moving.task[e, : len(expected), ix.START])] = np.nan
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=name)
    entered = [fifo.entered for fifo in slow.links.values()]
    np.testing.assert_allclose(batch.moving.link_in[e], entered, rtol=0, atol=tolerance)
    expected_pings = np.full_like(pings, np.nan)
    device = {node.name: d for d, node in enumerate(batch.network.devices)}
    place = [{t: k for k, t in enumerate(profile.targets)} for profile in batch.layout.profiles]
    for (slot, name, target), rtt in slow.rtts.items():
        d = device[name]
        expected_pings[slot, d, place[d][target]] = rtt
    np.testing.assert_allclose(pings, expected_pings, rtol=0, atol=tolerance)

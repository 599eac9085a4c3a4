"""The arithmetic of prices, held against figures worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from rl.learning.credit import _pushed_back, _queued_with, _sent
from rl.simulator import state_arrays as ix


def test_bytes_on_the_wire_and_when_the_last_is_sent() -> None:
    constants = np.zeros(ix.CONSTANTS)
    constants[ix.OVERHEAD] = 1.05
    batch = SimpleNamespace(fixed=SimpleNamespace(constants=constants))
    row = np.zeros((1, 1 + max(ix.DATA, ix.DISPATCHED, ix.RATE)))
    row[0, ix.DATA], row[0, ix.RATE], row[0, ix.DISPATCHED] = 2.0, 8.4, 3.0
    wire, end_s = _sent(batch, row)  # type: ignore[arg-type]
    assert wire == pytest.approx([2.1])  # MB: 2 with headers
    assert end_s == pytest.approx([5.0])  # 2.1 MB take 2 s at 8.4 Mbps


def test_a_task_pushes_back_what_waits_behind_it_at_its_unit() -> None:
    where = np.array([0, 0, 0, 1])
    wait, service = np.array([0.0, 2.0, 1.0, 5.0]), np.array([3.0, 4.0, 5.0, 1.0])
    # The first: 2 s of the second's wait, then 1 s of the third's; another unit is not concerned.
    assert _pushed_back(where, wait, service) == pytest.approx([3.0, 1.0, 0.0, 0.0])


def test_an_idle_moment_ends_what_a_task_pushes_back() -> None:
    where, wait = np.zeros(3, dtype=np.int64), np.array([0.0, 0.0, 4.0])
    assert _pushed_back(where, wait, np.array([3.0, 3.0, 3.0])) == pytest.approx([0.0, 3.0, 0.0])


def _price(**changes: object) -> list[float]:
    """What a task of 4 MB on a link of 2 MB/s costs others, of environment 1 of two."""
    wait, crossings = np.full((4, 2, 2), 9.0), np.full((4, 2, 2), 7.0)
    wait[:, 1, 0], crossings[:, 1, 0] = [1.0, 1.5, 0.5, 0.0], [3.0, 2.0, 4.0, 5.0]
    given: dict[str, object] = {
        "env": np.array([1]), "links": np.array([[0, -1]]), "wire": np.array([4.0]),
        "begin": np.array([0.5]), "end": np.array([2.5]),
        "speed": np.array([[5.0, 5.0], [2.0, 5.0]]), "wait": wait, "crossings": crossings,
    }  # fmt: skip
    return list(_queued_with(*{**given, **changes}.values()))


def test_a_task_keeps_others_waiting_on_a_link() -> None:
    # Its 2 s of bytes enter over 2 slots from 0.5 on: 0.5, 1.5, 2.0, 2.0 at the slots' ends. In the
    # queue are at most the queue: 0.5, 1.5, 0.5, 0.0. Others cross: 3, 2, 3 (it was the fourth).
    expected = 0.5 * (0.0 + 0.5) * 3 + 0.5 * (0.5 + 1.5) * 2 + 0.5 * (1.5 + 0.5) * 3
    assert _price() == pytest.approx([expected])


def test_a_task_that_is_over_within_a_slot_counts_itself_out_there() -> None:
    # All 2 s enter in slot 0, of which 1 s stands in the queue; itself was one of three.
    expected = 0.5 * 1.0 * 2 + 0.5 * (1.0 + 1.0) * 2 + 0.5 * (1.0 + 0.5) * 4
    assert _price(begin=np.array([0.2]), end=np.array([0.6])) == pytest.approx([expected])


@pytest.mark.parametrize(
    "changes",
    [{"begin": np.array([np.nan])}, {"wire": np.array([0.0])}, {"links": np.array([[-1, -1]])}],
)
def test_a_task_without_bytes_or_way_costs_others_nothing(changes: dict[str, object]) -> None:
    assert _price(**changes) == [0.0]

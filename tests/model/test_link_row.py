"""A link's row: from counters and, for the simulator, from arrays, with the same meaning."""

from __future__ import annotations

import numpy as np
import pytest

from model.link_row import LinkCounters, LinkRow, simulated_columns


def test_counters_and_arrays_give_the_same_row() -> None:
    counters = LinkCounters(slot_s=2.0, speedup=4.0)
    counters.row(("a", 0, 1_000, 1, True), 0.0, 8.0)
    row = counters.row(("a", 250_000, 501_000, 1, True), 300_000.0, 8.0)
    assert row == LinkRow(8.0, 1e6, 1.2e6, 2e6, 0, 1.0, 1.0, True)
    columns = simulated_columns(
        np.array([1.0]), np.array([1.2]), np.array([2.0]), np.array([1.0]), 2.0
    )
    assert list(columns) == list(LinkRow._fields)
    assert [column[0] for column in columns.values()] == pytest.approx(list(row))


def test_a_link_that_is_down_has_no_load() -> None:
    zero, one = np.zeros(1), np.ones(1)
    columns = simulated_columns(one, one, zero, zero, 1.0)
    assert (columns["load_s"][0], columns["utilisation"][0], columns["up"][0]) == (0.0, 0.0, False)


def test_totals_that_begin_again_are_no_step_back() -> None:
    counters = LinkCounters(slot_s=1.0)
    counters.row(("a", 0, 9_000, 3, True), 0.0, 8.0)
    assert counters.drops() == {"a": 3}
    counters.restart()
    row = counters.row(("a", 0, 100, 1, True), 0.0, 8.0)
    assert (row.sent_bytes, row.drops) == (100, 1)

"""Tasks of an episode by slot and device, as an environment hands them out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from model.aliases import IntArray
from model.workload import TaskTrace


class Born(NamedTuple):
    """Tasks of one slot in order of birth; all of shape (tasks,).

    Attributes:
        tasks: their numbers.
        device: index of the device of each.
        place: how many tasks its device has in this slot before it.
    """

    tasks: IntArray
    device: IntArray
    place: IntArray


class Births:
    """Tasks by slot, sorted once an episode."""

    def __init__(self, trace: TaskTrace, slots: int, slot_s: float):
        """Sort the tasks of ``slots`` slots and of the one after the last."""
        self._bounds = np.searchsorted(trace.born_s, np.arange(slots + 2) * slot_s).tolist()
        count = self._bounds[-1]
        self._tasks = np.arange(count)
        self._device = trace.device[:count].astype(np.int64)
        slot = np.repeat(np.arange(slots + 1), np.diff(self._bounds))
        self._place = _rank(slot * (self._device.max(initial=0) + 1) + self._device)

    def of(self, slot: int) -> Born:
        """Tasks that are born in a slot."""
        part = slice(self._bounds[slot], self._bounds[slot + 1])
        return Born(self._tasks[part], self._device[part], self._place[part])


def _rank(keys: IntArray) -> IntArray:
    """How often each key has come before, (keys,)."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    rank = np.empty(len(keys), dtype=np.int64)
    sizes = np.diff(first, append=len(keys))
    rank[order] = np.arange(len(keys)) - np.repeat(first, sizes)
    return rank

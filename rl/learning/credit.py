"""What a decision is charged with: its own task's delay, and what the task did to others' delays.

``own``: α E of eq. (7) for the decision's own task. ``priced``: plus the waiting that the task
brought to others, on the units (exactly, by Lindley's recursion run backwards) and on the links
(from the backlogs at the ends of slots). ``team``: the mean of all devices' own costs of the slot.

With ``priced`` a selfish minimiser does what is good for all, as a toll equal to the marginal
external cost makes it (Pigou; for queues, Naor 1969). The price is known to training only, as the
critics' state is.
"""

# Compiled by numba, which takes types from the arrays; annotations would be ignored.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: allow-untyped-defs, allow-untyped-decorators

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rl.simulator import arrays as ix
from rl.simulator import kernel
from rl.simulator.batch import Batch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LinkHistory:
    """Links over the slots of a chunk.

    Attributes:
        wait_s: V_l / c_l at the end of each slot, (slots, E, L).
        crossings: offloaded tasks born in each slot whose path crosses a link, (slots, E, L).
    """

    wait_s: FloatArray
    crossings: FloatArray


def delays_s(batch: Batch, env: IntArray, task: IntArray) -> FloatArray:
    """E of decided tasks, s; of those without a result, what it is going to be at least.

    A task that has reached its unit will be done when the FIFO says; for one still on its way the
    queue of the moment at its unit is added to the time passed.
    """
    m, now = batch.moving, batch.now_s
    row, unit = m.task[env, task], m.task_ref[env, task, ix.UNIT]
    known, end, born = row[:, ix.KNOWN], row[:, ix.END], row[:, ix.BORN]
    speed = batch.fixed.freq[env, unit, 0]
    queue = np.maximum(m.unit_until[env, unit] - now, 0.0) + row[:, ix.WORK] / speed
    pending = np.where(np.isnan(end), now + queue, end)
    delay: FloatArray = np.where(np.isnan(known), pending, known) - born
    return delay


def unit_externality_s(batch: Batch, env: IntArray, task: IntArray) -> FloatArray:
    """Waiting that each task brought to the tasks served after it at its unit, s.

    Without task i, every later task j of the same busy period would have waited less by
    min(service of i, smallest wait of those from i to j): Lindley's recursion.
    """
    row, ref = batch.moving.task[env, task], batch.moving.task_ref[env, task]
    served = np.flatnonzero(~np.isnan(row[:, ix.START]))
    where = env[served] * batch.moving.unit_until.shape[1] + ref[served, ix.UNIT]
    order = np.lexsort((row[served, ix.START], row[served, ix.ARRIVED], where))
    rows = row[served[order]]
    result = np.zeros(len(env))
    result[served[order]] = _pushed_back(
        where[order].astype(np.int64),
        rows[:, ix.START] - rows[:, ix.ARRIVED],
        rows[:, ix.END] - rows[:, ix.START],
    )
    return result


@njit(cache=True)
def _pushed_back(where, wait, service):
    total = np.zeros(len(where))
    for i in range(len(where)):
        saved = service[i]
        for j in range(i + 1, len(where)):
            if where[j] != where[i]:
                break
            saved = min(saved, wait[j])
            if saved <= 0.0:
                break
            total[i] += saved
    return total


def link_externality_s(
    batch: Batch, history: LinkHistory, slot: IntArray, env: IntArray, task: IntArray
) -> FloatArray:
    """Waiting that each task brought to those that crossed its links after it, s.

    The same recursion in steps of a slot: a task lengthens the queue of each link on its way by its
    own transmission time, until that queue has once been empty.
    """
    row, ref = batch.moving.task[env, task], batch.moving.task_ref[env, task]
    paths = batch.layout.paths
    pair = ref[:, ix.DEVICE] * batch.layout.targets + ref[:, ix.TARGET]
    links = paths.there[0, pair]
    links = np.where(np.arange(links.shape[1]) < paths.there_len[0, pair][:, None], links, -1)
    megabytes = row[:, ix.DATA] * batch.fixed.constants[ix.OVERHEAD]
    total: FloatArray = _queued_behind(
        slot, env, links.astype(np.int64), megabytes, batch.fixed.cap[:, :, 0],
        history.wait_s, history.crossings,
    )  # fmt: skip
    return total


@njit(cache=True)
def _queued_behind(slot, env, links, megabytes, speed, wait, crossings):
    total = np.zeros(len(slot))
    for i in range(len(slot)):
        if megabytes[i] <= 0.0:
            continue
        for link in links[i]:
            if link < 0:
                continue
            saved = megabytes[i] / speed[env[i], link]
            for t in range(slot[i], wait.shape[0]):
                saved = min(saved, wait[t, env[i], link])
                if saved <= 0.0:
                    break
                # Those born in the same slot came half before and half after it.
                share = 0.5 if t == slot[i] else 1.0
                total[i] += share * saved * crossings[t, env[i], link]
    return total


@njit(cache=True)
def link_waits(fixed, moving, now, out):
    """V_l / c_l of all environments, written to ``out`` (E, L), s."""
    for e in range(out.shape[0]):
        for link in range(out.shape[1]):
            out[e, link] = kernel.link_wait(fixed, moving, e, link, now)


def crossings_of(
    batch: Batch, slots: int, slot: IntArray, env: IntArray, device: IntArray, target: IntArray
) -> FloatArray:
    """How many of the decisions cross each link, by the slot of their birth, (slots, E, L)."""
    links = batch.layout.paths.there[0, device * batch.layout.targets + target]
    length = batch.layout.paths.there_len[0, device * batch.layout.targets + target]
    counts = np.zeros((slots, len(batch.seeds), batch.moving.link_until.shape[1]))
    for hop in range(links.shape[1]):
        on = hop < length
        np.add.at(counts, (slot[on], env[on], links[on, hop]), 1.0)
    return counts

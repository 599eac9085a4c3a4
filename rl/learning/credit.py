"""What a decision is charged with: its own task's delay, and what the task did to others' delays.

``own``: α E of eq. (7) for the decision's own task. ``priced``: plus the waiting that the task
brought to others, on the units (exactly, by Lindley's recursion run backwards) and on the links
(from the backlogs at the ends of slots). ``team``: the mean of all devices' own costs of the slot.

With ``priced`` a selfish minimiser does what is good for all, as a toll equal to the marginal
external cost makes it (Pigou; for queues, Naor 1969). The price is known to training only, as the
critics' state is.
"""

# Compiled by numba, which takes types from the arrays; annotations would be ignored.
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913
# mypy: allow-untyped-defs, allow-untyped-decorators

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from model.aliases import FloatArray, IntArray
from rl.simulator import CACHED, kernel
from rl.simulator import state_arrays as ix
from rl.simulator.batch import Batch
from rl.simulator.primitives import step_at


@dataclass(frozen=True, slots=True)
class LinkHistory:
    """Links over the slots of a chunk.

    Attributes:
        wait_s: V_l / c_l at the end of each slot, (slots, E, L).
        crossings: tasks whose last byte was sent over each link in each slot, (slots, E, L).
    """

    wait_s: FloatArray
    crossings: FloatArray


def delays_s(batch: Batch, env: IntArray, task: IntArray) -> FloatArray:
    """E of decided tasks, s; of those without a result, what it is going to be as things are.

    A task that has reached its unit will be done when the FIFO says. One on its way still has to
    be sent (at its own rate, behind what waits on its links) and then meets the queue of now.
    """
    m, f, now = batch.moving, batch.fixed, batch.now_s
    row, ref = m.task[env, task], m.task_ref[env, task]
    known, end, born = row[:, ix.KNOWN], row[:, ix.END], row[:, ix.BORN]
    result: FloatArray = np.where(np.isnan(known), end, known) - born
    k = np.flatnonzero(np.isnan(result))
    if len(k):
        unit = ref[k, ix.UNIT]
        sent = _sent(batch, row[k])[1]
        waits = np.zeros((m.link_until.shape[0], m.link_until.shape[1] + 1))
        link_waits(f, m, now, waits[:, :-1])
        pair = ref[k, ix.DEVICE] * batch.layout.targets + ref[k, ix.TARGET]
        way = waits[env[k][:, None], batch.layout.paths.there[0, pair]].sum(axis=1)
        speed = _speeds(f, env[k], unit.astype(np.int64), now)
        start = np.maximum(np.maximum(sent, now) + way, m.unit_until[env[k], unit])
        result[k] = start + row[k, ix.WORK] / speed - born[k]
    return result


@njit(cache=CACHED)
def _speeds(fixed, env, unit, now):
    result = np.zeros(len(env))
    for k in range(len(env)):
        starts = fixed.freq_start[env[k], unit[k]]
        result[k] = fixed.freq[env[k], unit[k], step_at(starts, now)]
    return result


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


@njit(cache=CACHED)
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
    batch: Batch, history: LinkHistory, env: IntArray, task: IntArray
) -> FloatArray:
    """Waiting that each task brought to those whose last bytes met its own on a link, s.

    The same recursion in steps of a slot: the bytes enter the links of the way at the task's rate,
    and what stands in a queue because of them is at most what has entered, and at most the queue.
    """
    ref = batch.moving.task_ref[env, task]
    paths = batch.layout.paths
    pair = ref[:, ix.DEVICE] * batch.layout.targets + ref[:, ix.TARGET]
    links = paths.there[0, pair]
    links = np.where(np.arange(links.shape[1]) < paths.there_len[0, pair][:, None], links, -1)
    wire, begin, end = _sending(batch, env, task, len(history.wait_s))
    total: FloatArray = _queued_with(
        env, links.astype(np.int64), wire, begin, end, batch.fixed.cap[:, :, 0], history.wait_s,
        history.crossings,
    )  # fmt: skip
    return total


def _sent(batch: Batch, row: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bytes of tasks on the wire, MB, and when the last of them is sent, s."""
    wire: FloatArray = row[:, ix.DATA] * batch.fixed.constants[ix.OVERHEAD]
    return wire, row[:, ix.DISPATCHED] + 8.0 * wire / row[:, ix.RATE]


def _sending(
    batch: Batch, env: IntArray, task: IntArray, slots: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Bytes on the wire, MB, and when they are sent, in slots since the chunk began."""
    row, slot_s, first = batch.moving.task[env, task], batch.scenario.slot_s, batch.slot - slots
    wire, end_s = _sent(batch, row)
    return wire, row[:, ix.DISPATCHED] / slot_s - first, end_s / slot_s - first


@njit(cache=CACHED)
def _queued_with(env, links, wire, begin, end, speed, wait, crossings):
    total = np.zeros(len(env))
    for i in range(len(env)):
        # A task without data, or one that has not been decided: its begin is NaN.
        if not (wire[i] > 0.0 and begin[i] > -1.0):
            continue
        last_slot = int(min(end[i], wait.shape[0]))
        for link in links[i]:
            if link < 0:
                continue
            full = wire[i] / speed[env[i], link]
            mine, entered = 0.0, 0.0
            for t in range(int(begin[i]), wait.shape[0]):
                before, last = mine, entered
                entered = full * min(1.0, (t + 1 - begin[i]) / max(end[i] - begin[i], 1e-9))
                mine = min(mine + entered - last, wait[t, env[i], link])
                if mine <= 0.0 and t >= end[i]:
                    break
                others = crossings[t, env[i], link] - (1.0 if t == last_slot else 0.0)
                total[i] += 0.5 * (before + mine) * others
    return total


@njit(cache=CACHED)
def link_waits(fixed, moving, now, out):
    """V_l / c_l of all environments, written to ``out`` (E, L), s."""
    for e in range(out.shape[0]):
        for link in range(out.shape[1]):
            out[e, link] = kernel.link_wait(fixed, moving, e, link, now)


def crossings_of(
    batch: Batch, slots: int, env: IntArray, task: IntArray, target: IntArray
) -> FloatArray:
    """How many of the decided tasks sent their last byte over each link, by slot, (slots, E, L)."""
    pair = batch.moving.task_ref[env, task, ix.DEVICE] * batch.layout.targets + target
    links, length = batch.layout.paths.there[0, pair], batch.layout.paths.there_len[0, pair]
    # What ends after the chunk may end later than 64 bits can count.
    slot = np.minimum(_sending(batch, env, task, slots)[2], slots).astype(np.int64)
    counts = np.zeros((slots, len(batch.seeds), batch.moving.link_until.shape[1]))
    for hop in range(links.shape[1]):
        on = (hop < length) & (slot < slots)
        np.add.at(counts, (slot[on], env[on], links[on, hop]), 1.0)
    return counts

"""What each decision would have cost at every target, all other decisions being as they were.

A decision is charged for what it chose; what the other targets would have cost is not played, but
the simulator's own arithmetic tells: when the data would have come (the links' backlogs are known),
when the unit's FIFO would have served it, and by how much every later task of that busy period
would have been pushed back (Lindley's recursion, run forwards). So a learner hears of all targets
of every decision, as a counterfactual baseline has it (Foerster et al. 2018), without a model that
must be learnt first, and only in training.

What is left out: how later decisions would have answered, overflow to the cloud, failed cables.
"""

# Compiled by numba, which takes types from the arrays; annotations would be ignored.
# ruff: noqa: ANN001, ANN202, PLR0913
# mypy: allow-untyped-defs, allow-untyped-decorators

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from rl.learning.credit import LinkHistory
from rl.simulator import arrays as ix
from rl.simulator.batch import Batch
from rl.simulator.primitives import finish

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class _Fifo(NamedTuple):
    """What every unit of every environment served, in order.

    Attributes:
        first: where a unit's tasks begin, (E * U + 1,); environment by environment.
        arrived, start, end: s, of all tasks that reached a unit until now, (S,).
    """

    first: IntArray
    arrived: FloatArray
    start: FloatArray
    end: FloatArray


def alternatives_s(
    batch: Batch,
    history: LinkHistory,
    decided: dict[str, IntArray],
    rates_mbps: FloatArray,
) -> FloatArray:
    """Delay of each decision's task at each target and what it would have done to others, s.

    Args:
        batch: the environments after the chunk.
        history: links over the slots of the chunk.
        decided: ``slot``, ``env``, ``task``, ``agent`` of the decisions, (K,) each.
        rates_mbps: at which the data would have left, (K, targets).

    Returns:
        (K, targets); 0 where padded. The entry of the target that was chosen counts the task twice
        and means nothing: what that one cost is known.
    """
    devices, size = batch.layout.target_unit.shape
    slot, env, task = decided["slot"], decided["env"], decided["task"]
    device = decided["agent"] % devices
    row = batch.moving.task[env, task]
    pair = device[:, None] * size + np.arange(size)
    wire = row[:, ix.DATA] * batch.fixed.constants[ix.OVERHEAD]
    first_slot_s = (batch.slot - history.wait_s.shape[0]) * batch.scenario.slot_s
    result: FloatArray = _alternatives(
        batch.fixed, _fifo(batch), slot, env, pair, batch.layout.target_unit[device],
        row[:, ix.BORN], row[:, ix.WORK], wire, rates_mbps / 8.0, history.wait_s,
        history.crossings, first_slot_s, batch.scenario.slot_s,
    )  # fmt: skip
    return result


def _fifo(batch: Batch) -> _Fifo:
    row, ref = batch.moving.task, batch.moving.task_ref
    env, task = np.nonzero(~np.isnan(row[:, :, ix.START]))
    units = batch.moving.unit_until.shape[1]
    where = env * units + ref[env, task, ix.UNIT]
    columns = row[env, task]
    order = np.lexsort((columns[:, ix.START], columns[:, ix.ARRIVED], where))
    columns = columns[order]
    first = np.searchsorted(where[order], np.arange(len(batch.seeds) * units + 1))
    arrived, start, end = (columns[:, k].copy() for k in (ix.ARRIVED, ix.START, ix.END))
    return _Fifo(first, arrived, start, end)


@njit(cache=True)
def _alternatives(
    fixed, fifo, slot, env, pair, unit, born, work, wire, rate_mb_s, wait, crossings, first_s,
    slot_s,
):  # fmt: skip
    result = np.zeros(pair.shape)
    units = fixed.freq.shape[1]
    for k in range(pair.shape[0]):
        e = env[k]
        for t in range(pair.shape[1]):
            u = unit[k, t]
            if u < 0:
                continue
            arrival, others, home = born[k], 0.0, 0.0
            if t > 0:
                links = fixed.there[0, pair[k, t], : fixed.there_len[0, pair[k, t]]]
                arrival = _arrival(
                    fixed, e, links, born[k], wire[k], rate_mb_s[k, t], wait, first_s, slot_s
                )
                home = 0.5 * fixed.idle_rtt[0, pair[k, t]]
                others = _behind(fixed, e, links, slot[k], wire[k], wait, crossings, slot_s)
            end, pushed = _served(fixed, fifo, e, u, e * units + u, arrival, work[k])
            result[k, t] = end + home - born[k] + pushed + others
    return result


@njit(cache=True)
def _arrival(fixed, e, links, born, wire, rate, wait, first_s, slot_s):
    """When the last byte would have come: sent at the rate or the narrowest link's, then queued."""
    for link in links:
        rate = min(rate, fixed.cap[e, link, 0])
    now = born + wire / rate
    # The backlogs are known at the ends of slots; between these they are interpolated.
    place = min(max((now - first_s) / slot_s - 1.0, 0.0), wait.shape[0] - 1.0)
    low = int(place)
    high = min(low + 1, wait.shape[0] - 1)
    part = place - low
    for link in links:
        now += (1.0 - part) * wait[low, e, link] + part * wait[high, e, link]
        now += fixed.link_delay[link]
    return now


@njit(cache=True)
def _behind(fixed, e, links, slot, wire, wait, crossings, slot_s):
    """Waiting that the bytes would have brought to those that crossed the links after them, s."""
    total = 0.0
    for link in links:
        extra = wire / fixed.cap[e, link, 0]
        if wait[slot, e, link] <= 0.0:
            total += _met(extra / slot_s) * slot_s * crossings[slot, e, link]
            continue
        # A queue that lasts: those born in the same slot came half before and half after the bytes.
        total += 0.5 * extra * crossings[slot, e, link]
        for t in range(slot + 1, wait.shape[0]):
            if wait[t - 1, e, link] <= 0.0:
                break
            total += extra * crossings[t, e, link]
    return total


@njit(cache=True)
def _met(x):
    """Mean waiting behind a transmission of x for one who comes within the same span of 1."""
    return x * x * (0.5 - x / 6.0) if x < 1.0 else 0.5 * x - 1.0 / 6.0


@njit(cache=True)
def _served(fixed, fifo, e, u, place, arrival, work):
    """When a unit would have served a task that came at ``arrival``; the waiting behind it."""
    first, last = fifo.first[place], fifo.first[place + 1]
    k = first + np.searchsorted(fifo.arrived[first:last], arrival, side="right")
    start = max(arrival, fifo.end[k - 1]) if k > first else arrival
    end = finish(fixed.freq_start[e, u], fixed.freq[e, u], start, work)
    pushed, until = 0.0, end
    while k < last and until > fifo.start[k]:
        late = until - fifo.start[k]
        pushed += late
        until = fifo.end[k] + late
        k += 1
    return end, pushed

"""What devices and operators see of the simulator, compiled: pings, observations, link states."""

# Compiled by numba, which takes types from the arrays; annotations would be ignored.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: allow-untyped-defs, allow-untyped-decorators

from __future__ import annotations

import math

import numpy as np

from rl.simulator import state_arrays as ix
from rl.simulator.kernel import (
    FULL,
    ILLEGAL,
    MARGIN,
    PONG,
    code_of,
    epoch_at,
    hear,
    link_wait,
    run_until,
)
from rl.simulator.primitives import compiled, inlined, push, remaining, step_at

(
    IN_TASKS, IN_WORK, IN_DATA, RTT, RTT_AGE, IDLE, DELIVERY, DELIVERY_MB, DELIVERY_AGE,
    PROCESSING, PROCESSING_WORK, PROCESSING_AGE, RESULTS,
) = range(13)  # fmt: skip
"""Rows of an observation, in order: ``Observation`` from ``inflight_tasks`` on."""
VIEW_ROWS = RESULTS + 1


@inlined
def _hear_due(m, e, device, now):
    """Let a device hear the replies that have come until now."""
    seen = m.seen[e, device]
    for t in range(seen.shape[0]):
        if seen[t, ix.NEW_RTT_AT] <= now:
            hear(seen, t, seen[t, ix.NEW_RTT], seen[t, ix.NEW_RTT_AT])
            seen[t, ix.NEW_RTT_AT] = math.inf


@inlined
def _send_ping(f, m, e, device, t, table, now):
    """One ping: its reply comes after the round trip that the links have now."""
    pair = device * f.target_unit.shape[1] + t
    if min(f.there_len[table, pair], f.back_len[table, pair]) < 0:
        return
    rtt, wait = f.idle_rtt[table, pair], m.link_wait[e]
    for h in range(f.there_len[table, pair]):
        rtt += wait[f.there[table, pair, h]]
    for h in range(f.back_len[table, pair]):
        rtt += wait[f.back[table, pair, h]]
    m.ping_rtt[e, device, t] = rtt
    seen = m.seen[e, device]
    if seen[t, ix.NEW_RTT_AT] <= now:
        hear(seen, t, seen[t, ix.NEW_RTT], seen[t, ix.NEW_RTT_AT])
        seen[t, ix.NEW_RTT_AT] = math.inf
    if seen[t, ix.NEW_RTT_AT] < math.inf:
        # The reply to an earlier ping is still under way.
        push(m, e, now + rtt, code_of(PONG, 0, 0, 0), pair, rtt)
    else:
        seen[t, ix.NEW_RTT], seen[t, ix.NEW_RTT_AT] = rtt, now + rtt


@inlined
def _ping(f, m, e, slot, now):
    """The pings of a slot, as ``model.probing.pinged`` names them."""
    devices, targets = f.target_unit.shape
    if m.heap_size[e] + devices * targets + MARGIN > m.heap_time.shape[1]:
        return False
    for link in range(m.link_wait.shape[1]):
        m.link_wait[e, link] = link_wait(f, m, e, link, now)
    table = f.epoch_table[epoch_at(f, now)]
    for device in range(devices):
        plan = f.ping_plan[device]
        for t in range(targets):
            m.ping_rtt[e, device, t] = np.nan
        for j in range(plan[ix.PEERS_A_SLOT]):
            peer = (slot * plan[ix.PEERS_A_SLOT] + j) % plan[ix.PEERS]
            _send_ping(f, m, e, device, 1 + peer, table, now)
        first = (plan[ix.FAR_EVERY] - slot % plan[ix.FAR_EVERY]) % plan[ix.FAR_EVERY]
        for j in range(first, plan[ix.FAR], plan[ix.FAR_EVERY]):
            _send_ping(f, m, e, device, 1 + plan[ix.PEERS] + j, table, now)
    return True


@compiled
def ping_all(f, m, slot, now, first):
    """Pings of all environments from ``first`` on; the number of the one that needs room, or E."""
    for e in range(first, m.cursor.shape[0]):
        if not _ping(f, m, e, slot, now):
            return e
    return m.cursor.shape[0]


@compiled
def step_all(f, m, targets, rates, slot, end, first):
    """A slot and then the pings of the next one, ``slot``, at ``end``, as ``ping_all`` counts.

    Environment by environment: what one of them touches stays in the processor's cache.
    Returns -1 - e where environment e stands before a decision that is not legal.
    """
    for e in range(first, m.cursor.shape[0]):
        state = run_until(f, m, e, targets, rates, end)
        if state == ILLEGAL:
            return -1 - e
        if state == FULL:
            return e
        if not _ping(f, m, e, slot, end):
            return e
    return m.cursor.shape[0]


@inlined
def _look(f, m, e, device, now, own, view):
    _hear_due(m, e, device, now)
    own[0] = remaining(f.freq_start[e, device], f.freq[e, device], now, m.unit_until[e, device])
    own[1] = f.freq[e, device, step_at(f.freq_start[e, device], now)]
    seen = m.seen[e, device]
    for t in range(seen.shape[0]):
        view[IN_TASKS, t] = seen[t, ix.COUNT]
        view[IN_WORK, t] = seen[t, ix.WAITING_WORK]
        view[IN_DATA, t] = seen[t, ix.WAITING_DATA]
        view[RTT, t] = seen[t, ix.RTT]
        view[RTT_AGE, t] = now - seen[t, ix.RTT_AT]
        view[IDLE, t] = seen[t, ix.IDLE]
        view[DELIVERY, t] = seen[t, ix.DELIVERY]
        view[DELIVERY_MB, t] = seen[t, ix.DELIVERY_MB]
        view[DELIVERY_AGE, t] = now - seen[t, ix.DELIVERY_AT]
        view[PROCESSING, t] = seen[t, ix.PROCESSING]
        view[PROCESSING_WORK, t] = seen[t, ix.PROCESSING_WORK]
        view[PROCESSING_AGE, t] = now - seen[t, ix.PROCESSING_AT]
        view[RESULTS, t] = seen[t, ix.RESULTS]
    # A ping to oneself takes no time and is never old.
    view[RTT, 0], view[RTT_AGE, 0], view[IDLE, 0] = 0.0, 0.0, 0.0


@compiled
def look(f, m, e, device, now, own, view):
    """Fill one device's observation: ``own`` (2,) = Q, F; ``view`` (VIEW_ROWS, T)."""
    _look(f, m, e, device, now, own, view)


@compiled
def look_all(f, m, now, own, view):
    """Fill all observations: ``own`` (E, D, 2), ``view`` (E, D, VIEW_ROWS, T)."""
    for e in range(own.shape[0]):
        for device in range(own.shape[1]):
            _look(f, m, e, device, now, own[e, device], view[e, device])


@compiled
def state(f, m, e, now, links, units):
    """The state S of one environment.

    ``links`` (L, 2) becomes V_l in MB, c_l in MB/s; ``units`` (U, 2) becomes Q_u, F_u.
    """
    for k in range(links.shape[0]):
        starts, speeds = f.cap_start[e, k], f.cap[e, k]
        links[k, 0] = remaining(starts, speeds, now, m.link_until[e, k])
        links[k, 1] = speeds[step_at(starts, now)]
    for u in range(units.shape[0]):
        starts, speeds = f.freq_start[e, u], f.freq[e, u]
        units[u, 0] = remaining(starts, speeds, now, m.unit_until[e, u])
        units[u, 1] = speeds[step_at(starts, now)]

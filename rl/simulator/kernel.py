"""The simulator's events, compiled: parts of tasks through FIFO links, units, results, pings.

A task's bytes leave its device at the wire rate x from the moment of dispatch and flow on through
every link of the path as they come (a pipeline, not store and forward). They travel in parts of at
most ``PIECE_MB``: a part whose first byte reaches a link at ``since`` and whose last one reaches it
at ``now`` leaves the link when it has passed the FIFO, but not before ``now``. As parts shrink this
becomes the fluid FIFO, V_l(t + dt) = [V_l(t) + Σ x dt - c_l dt]⁺ of eq. (2) in continuous time.

A part joins the FIFO midway between the two moments, and the task's last byte, on which its delay
hangs, follows as a part without size. So when that byte comes to a link, the parts of other flows
have joined half too early and half too late: the error in its wait is of second order in the size
of the parts. (All parts at their ``now`` leave it half a part of every other flow short.)

Events are handled in order of time in one heap per environment; ties in order of their code, then
of what they concern: a task, or a pair for pings. The fields of a code are wider than any scenario
needs, see ``rl.simulator.limits``, which is asked before anything here runs.
"""

# Compiled by numba, which takes types from the arrays; annotations would be ignored.
# ruff: noqa: ANN001, ANN201, ANN202, C901, PLR0912, PLR0913
# mypy: allow-untyped-defs, allow-untyped-decorators

from __future__ import annotations

import math

from rl.simulator import state_arrays as ix
from rl.simulator.limits import EPOCH_BITS, HOP_BITS, PART_BITS
from rl.simulator.primitives import (
    compiled,
    drop_first,
    finish,
    inlined,
    push,
    remaining,
    step_at,
)

PART, ALL_IN, DELIVERED, SERVED, HOME_AGAIN, PONG = range(6)
MARGIN = 8
"""Free places in the heap that one event or decision may need."""


@inlined
def code_of(kind, epoch, hop, part):
    """What happens, as one number; where times tie, the smaller one comes first."""
    return (((((kind << EPOCH_BITS) | epoch) << HOP_BITS) | hop) << PART_BITS) | part


@inlined
def link_wait(f, m, e, link, now):
    """V_l / c_l as a packet meets it, s: no more than the FIFO's byte limit."""
    wait = m.link_until[e, link] - now
    if wait <= 0.0:
        return 0.0
    speed = f.cap[e, link, step_at(f.cap_start[e, link], now)]
    return min(wait, f.buffer[link] / speed) if speed > 0.0 else wait


@inlined
def epoch_at(f, now):
    """The epoch of the paths at a time."""
    return 0 if len(f.epoch_start) == 1 else step_at(f.epoch_start, now)


@inlined
def _way_home(f, m, e, pair, now, size=0.0):
    """Delay of a message from the unit back to the device; inf while there is no way.

    What it weighs beyond a small one, MB, is sent at full rate and passes no faster than the
    slowest link lets it; it is not added to what waits on the links.
    """
    epoch = epoch_at(f, now)
    table, pause = f.epoch_table[epoch], 0.0
    while f.back_len[table, pair] < 0:
        epoch += 1
        if epoch == len(f.epoch_start):
            return math.inf
        table, pause = f.epoch_table[epoch], f.epoch_start[epoch] - now
    total = pause + f.back_fixed[table, pair]
    slowest = f.constants[ix.RESULT_S_PER_MB]
    for h in range(f.back_len[table, pair]):
        link = f.back[table, pair, h]
        speed = f.cap[e, link, step_at(f.cap_start[e, link], now)]
        total += link_wait(f, m, e, link, now)
        total += f.constants[ix.RESULT_MB] / speed if speed > 0.0 else 0.0
        slowest = max(slowest, 1.0 / speed) if speed > 0.0 else slowest
    return total + size * slowest


@inlined
def _launch(f, m, e, task, part, now):
    """A part of a task begins to leave at ``now``, or as soon as there is a way."""
    pair = m.task_ref[e, task, ix.PAIR]
    epoch = epoch_at(f, now)
    asked = now
    while f.there_len[f.epoch_table[epoch], pair] < 0:
        epoch += 1
        if epoch == len(f.epoch_start) or f.epoch_start[epoch] - asked > f.constants[ix.GIVE_UP_S]:
            if math.isnan(m.task[e, task, ix.FAILED]):
                m.task[e, task, ix.FAILED] = asked + f.constants[ix.GIVE_UP_S]
            return
        now = f.epoch_start[epoch]
    middle = now
    if part + 1 < m.task_ref[e, task, ix.PARTS]:
        middle += 0.5 * m.task[e, task, ix.PART_S]
    push(m, e, middle, code_of(PART, epoch, 0, part), task, now)


@inlined
def _send(f, m, e, task, rate_mb_s, now):
    wire = m.task[e, task, ix.DATA] * f.constants[ix.OVERHEAD]
    parts = math.ceil(wire / f.constants[ix.PIECE_MB] - 1e-9)
    m.task[e, task, ix.PART_MB] = wire / max(1, parts)
    m.task[e, task, ix.PART_S] = wire / max(1, parts) / rate_mb_s
    ref = m.task_ref[e, task]
    table, pair = f.epoch_table[epoch_at(f, now)], ref[ix.PAIR]
    for h in range(f.there_len[table, pair]):
        m.link_coming[e, f.there[table, pair, h]] += wire
    m.task[e, task, ix.PARTS_IN] = now
    # The last part is the last byte alone.
    ref[ix.LEFT], ref[ix.PARTS], ref[ix.NEXT] = parts + 1, parts + 1, 0
    _launch(f, m, e, task, 0, now)


@inlined
def _part_done(m, e, task, time):
    """A part will be at the unit at a time; the task is when the latest of its parts is."""
    row, ref = m.task[e, task], m.task_ref[e, task]
    if not row[ix.PARTS_IN] >= time:
        row[ix.PARTS_IN] = time
    ref[ix.LEFT] -= 1
    if ref[ix.LEFT] == 0:
        push(m, e, row[ix.PARTS_IN], code_of(ALL_IN, 0, 0, 0), task, 0.0)


@inlined
def _part_at_link(f, m, e, task, epoch, hop, part, since, now):
    """A part's last byte reaches a link at ``now``; its first one did at ``since``."""
    table, pair = f.epoch_table[epoch], m.task_ref[e, task, ix.PAIR]
    link = f.there[table, pair, hop]
    starts, speeds = f.cap_start[e, link], f.cap[e, link]
    size = m.task[e, task, ix.PART_MB] if part + 1 < m.task_ref[e, task, ix.PARTS] else 0.0
    start = max(m.link_until[e, link], since)
    if len(f.epoch_start) > 1:
        # Where a cable fails, what waits there is lost and sent again over the path of that time.
        k = step_at(starts, now)
        end = now if speeds[k] == 0.0 else finish(starts, speeds, start, size)
        while k < len(starts) and starts[k] <= end:
            if speeds[k] == 0.0:
                cut = max(starts[k], now)
                m.link_until[e, link] = min(max(m.link_until[e, link], since), cut)
                _launch(f, m, e, task, part, cut + f.constants[ix.RETRY_S])
                return
            k += 1
    until = start
    if size > 0.0:
        until = finish(starts, speeds, start, size)
        m.link_until[e, link] = until
        m.link_in[e, link] += size
        m.link_coming[e, link] -= size
    delay = f.link_delay[link]
    out = max(now, until) + delay
    if hop + 1 < f.there_len[table, pair]:
        first = start + delay
        push(m, e, 0.5 * (first + out), code_of(PART, epoch, hop + 1, part), task, first)
    else:
        _part_done(m, e, task, out)


@inlined
def _admit(f, m, e, task, now):
    """A task joins its unit's FIFO, eq. (4)."""
    unit = m.task_ref[e, task, ix.UNIT]
    start = max(now, m.unit_until[e, unit])
    end = finish(f.freq_start[e, unit], f.freq[e, unit], start, m.task[e, task, ix.WORK])
    m.unit_until[e, unit] = end
    m.unit_busy[e, unit] += end - start
    row = m.task[e, task]
    row[ix.ARRIVED], row[ix.START], row[ix.END] = now, start, end
    push(m, e, end, code_of(SERVED, 0, 0, 0), task, 0.0)


@inlined
def _arrive(f, m, e, task, now):
    """The last byte of a task has come to its unit."""
    ref = m.task_ref[e, task]
    unit, devices = ref[ix.UNIT], f.target_unit.shape[0]
    m.incoming[e, unit] -= m.task[e, task, ix.WORK]
    if ref[ix.HOME] == ref[ix.PAIR]:
        # A task that overflowed was delivered, as its device sees it, when it came to the edge.
        m.task[e, task, ix.ARRIVED] = now
        home = now + _way_home(f, m, e, ref[ix.HOME], now)
        if home < math.inf:
            push(m, e, home, code_of(DELIVERED, 0, 0, 0), task, now)
    is_edge = devices <= unit < devices + (f.there_len.shape[1] - f.target_unit.size - devices)
    if is_edge and m.unit_until[e, unit] - now > f.constants[ix.OVERFLOW_S]:
        cloud = m.unit_until.shape[1] - 1
        ref[ix.UNIT] = cloud
        ref[ix.PAIR] = f.target_unit.size + unit - devices
        ref[ix.HOME] = f.there_len.shape[1] - devices + ref[ix.DEVICE]
        m.incoming[e, cloud] += m.task[e, task, ix.WORK]
        _send(f, m, e, task, f.constants[ix.OVERFLOW_MB_S], now)
        return
    _admit(f, m, e, task, now)


@inlined
def _know(f, m, e, task, now):
    """The result of a task is known to its device."""
    row, ref = m.task[e, task], m.task_ref[e, task]
    row[ix.KNOWN] = now
    device, t = ref[ix.DEVICE], ref[ix.TARGET]
    seen = m.seen[e, device]
    seen[t, ix.COUNT] -= 1.0
    seen[t, ix.WAITING_WORK] -= row[ix.WORK]
    seen[t, ix.PROCESSING] = row[ix.END] - row[ix.ARRIVED]
    seen[t, ix.PROCESSING_WORK] = row[ix.WORK]
    seen[t, ix.PROCESSING_AT] = now
    seen[t, ix.RESULTS] += 1.0


@inlined
def hear(seen, t, rtt, now):
    """A ping's reply is there."""
    seen[t, ix.RTT], seen[t, ix.RTT_AT] = rtt, now
    if not seen[t, ix.IDLE] <= rtt:
        seen[t, ix.IDLE] = rtt


@inlined
def _handle(f, m, e, now, code, ref, since):
    """One event."""
    kind = code >> (EPOCH_BITS + HOP_BITS + PART_BITS)
    if kind == PART:
        part = code & ((1 << PART_BITS) - 1)
        hop = (code >> PART_BITS) & ((1 << HOP_BITS) - 1)
        epoch = (code >> (HOP_BITS + PART_BITS)) & ((1 << EPOCH_BITS) - 1)
        task_ref = m.task_ref[e, ref]
        now = 2.0 * now - since
        if hop == 0 and part == task_ref[ix.NEXT]:
            task_ref[ix.NEXT] += 1
            if task_ref[ix.NEXT] < task_ref[ix.PARTS]:
                _launch(f, m, e, ref, part + 1, now)
        if f.there_len[f.epoch_table[epoch], task_ref[ix.PAIR]] > 0:
            _part_at_link(f, m, e, ref, epoch, hop, part, since, now)
        else:
            _part_done(m, e, ref, now)
    elif kind == ALL_IN:
        _arrive(f, m, e, ref, now)
    elif kind == SERVED:
        if m.task_ref[e, ref, ix.TARGET] == 0:
            _know(f, m, e, ref, now)
        else:
            size = m.task[e, ref, ix.RESULT]
            home = now + _way_home(f, m, e, m.task_ref[e, ref, ix.HOME], now, size)
            if home < math.inf:
                push(m, e, home, code_of(HOME_AGAIN, 0, 0, 0), ref, 0.0)
    elif kind == HOME_AGAIN:
        _know(f, m, e, ref, now)
    elif kind == DELIVERED:
        t = m.task_ref[e, ref, ix.TARGET]
        seen = m.seen[e, m.task_ref[e, ref, ix.DEVICE]]
        seen[t, ix.WAITING_DATA] -= m.task[e, ref, ix.DATA]
        seen[t, ix.DELIVERY] = since - m.task[e, ref, ix.DISPATCHED]
        seen[t, ix.DELIVERY_MB] = m.task[e, ref, ix.DATA]
        seen[t, ix.DELIVERY_AT] = now
    else:
        targets = f.target_unit.shape[1]
        hear(m.seen[e, ref // targets], ref % targets, since, now)


@inlined
def _advance(f, m, e, until):
    while m.heap_size[e] > 0 and m.heap_time[e, 0] <= until:
        if m.heap_size[e] + MARGIN > m.heap_time.shape[1]:
            return False
        now, since = m.heap_time[e, 0], m.heap_since[e, 0]
        code, ref = m.heap_code[e, 0], m.heap_ref[e, 0]
        # Most events bring about one other: it takes the place of theirs, in one pass of the heap.
        m.heap_hole[e] = True
        _handle(f, m, e, now, code, ref, since)
        if m.heap_hole[e]:
            m.heap_hole[e] = False
            drop_first(m, e)
    return m.heap_size[e] + MARGIN <= m.heap_time.shape[1]


@inlined
def _closed_form(f, m, e, task, now):
    """E of eqs. (5), (6) and (14) at the time of the decision, s."""
    row, ref = m.task[e, task], m.task_ref[e, task]
    unit, table, pair = ref[ix.UNIT], f.epoch_table[epoch_at(f, now)], ref[ix.PAIR]
    starts, speeds = f.freq_start[e, unit], f.freq[e, unit]
    queue = remaining(starts, speeds, now, m.unit_until[e, unit])
    total = (queue + row[ix.WORK]) / speeds[step_at(starts, now)]
    if ref[ix.TARGET] == 0:
        return total
    for h in range(f.there_len[table, pair]):
        total += link_wait(f, m, e, f.there[table, pair, h], now)
    return total + row[ix.DATA] * f.constants[ix.OVERHEAD] / (row[ix.RATE] / 8.0)


@inlined
def is_legal(f, device, target, rate_mbps):
    """Whether a device has such a target, and the rate is a positive number (where it matters)."""
    if not 0 <= target < f.target_unit.shape[1]:
        return False
    return f.target_unit[device, target] >= 0 and (target == 0 or 0.0 < rate_mbps < math.inf)


@inlined
def _dispatch(f, m, e, task, target, rate_mbps):
    """Carry out a decision; False, with nothing done, if it is not legal."""
    row, ref = m.task[e, task], m.task_ref[e, task]
    now, device = row[ix.BORN], ref[ix.DEVICE]
    if not is_legal(f, device, target, rate_mbps):
        return False
    row[ix.RATE], row[ix.DISPATCHED] = rate_mbps, now
    ref[ix.TARGET], ref[ix.ATTEMPTS] = target, 1
    ref[ix.UNIT] = f.target_unit[device, target]
    ref[ix.PAIR] = device * f.target_unit.shape[1] + target
    ref[ix.HOME] = ref[ix.PAIR]
    if f.constants[ix.WITH_CLOSED_FORM] > 0.0:
        row[ix.CLOSED_FORM] = _closed_form(f, m, e, task, now)
    seen = m.seen[e, device]
    seen[target, ix.COUNT] += 1.0
    seen[target, ix.WAITING_WORK] += row[ix.WORK]
    if target == 0:
        _admit(f, m, e, task, now)
        return True
    seen[target, ix.WAITING_DATA] += row[ix.DATA]
    m.incoming[e, ref[ix.UNIT]] += row[ix.WORK]
    _send(f, m, e, task, rate_mbps / 8.0, now)
    return True


@compiled
def advance(f, m, e, until):
    """Handle all events up to a time; False if the heap must grow first (call again then)."""
    return _advance(f, m, e, until)


@compiled
def dispatch(f, m, e, task, target, rate_mbps):
    """Carry out a decision at the task's birth (events before it must have been handled).

    Returns False, with nothing done, if the decision is not legal.
    """
    return _dispatch(f, m, e, task, target, rate_mbps)


DONE, FULL, ILLEGAL = range(3)


@inlined
def run_until(f, m, e, targets, rates, end):
    """Births and events of one environment until ``end``.

    Returns DONE; FULL if the heap must grow first; ILLEGAL if the decision on the next task is.
    """
    while m.cursor[e] < targets.shape[1]:
        task = m.cursor[e]
        born = m.task[e, task, ix.BORN]
        if born >= end:
            break
        if not _advance(f, m, e, born):
            return FULL
        if not _dispatch(f, m, e, task, targets[e, task], rates[e, task]):
            return ILLEGAL
        m.cursor[e] += 1
    return DONE if _advance(f, m, e, end) else FULL

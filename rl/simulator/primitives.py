"""Compiled primitives of the simulator: a heap of events, and work at piecewise constant speed."""

# Compiled by numba, which takes types from the arrays; annotations would be ignored.
# ruff: noqa: ANN001, ANN201, ANN202
# mypy: allow-untyped-defs, allow-untyped-decorators

from __future__ import annotations

from typing import Any

from numba import njit

from rl.simulator import CACHED

# Nothing here allocates, so references need no counting (numba's option _nrt); and what is called
# in the loop is inlined: either costs more than the work itself where dozens of arrays are passed.
_OPTIONS: dict[str, Any] = {"cache": CACHED, "error_model": "numpy", "_nrt": False}
compiled = njit(**_OPTIONS)
inlined = njit(forceinline=True, **_OPTIONS)


@inlined
def _sink(m, e, time, code, ref, since):
    """Put an event in the place of the first one."""
    times, codes, refs, sinces = m.heap_time[e], m.heap_code[e], m.heap_ref[e], m.heap_since[e]
    size = m.heap_size[e]
    k = 0
    while True:
        down = 2 * k + 1
        if down >= size:
            break
        right = down + 1
        if right < size and (
            times[right] < times[down]
            or (
                times[right] == times[down]
                and (
                    codes[right] < codes[down]
                    or (codes[right] == codes[down] and refs[right] < refs[down])
                )
            )
        ):
            down = right
        if time < times[down] or (
            time == times[down]
            and (code < codes[down] or (code == codes[down] and ref <= refs[down]))
        ):
            break
        times[k], codes[k], refs[k], sinces[k] = times[down], codes[down], refs[down], sinces[down]
        k = down
    times[k], codes[k], refs[k], sinces[k] = time, code, ref, since


@inlined
def push(m, e, time, code, ref, since):
    """Add an event to the heap of an environment."""
    if m.heap_hole[e]:
        m.heap_hole[e] = False
        _sink(m, e, time, code, ref, since)
        return
    times, codes, refs, sinces = m.heap_time[e], m.heap_code[e], m.heap_ref[e], m.heap_since[e]
    k = m.heap_size[e]
    m.heap_size[e] = k + 1
    while k > 0:
        up = (k - 1) >> 1
        if times[up] < time or (
            times[up] == time and (codes[up] < code or (codes[up] == code and refs[up] <= ref))
        ):
            break
        times[k], codes[k], refs[k], sinces[k] = times[up], codes[up], refs[up], sinces[up]
        k = up
    times[k], codes[k], refs[k], sinces[k] = time, code, ref, since


@inlined
def drop_first(m, e):
    """Take the earliest event off the heap of an environment."""
    size = m.heap_size[e] - 1
    m.heap_size[e] = size
    last = m.heap_time[e, size], m.heap_code[e, size], m.heap_ref[e, size], m.heap_since[e, size]
    _sink(m, e, last[0], last[1], last[2], last[3])


@inlined
def step_at(starts, time):
    """Index of the step that holds at a time; steps begin at 0 and are padded with inf."""
    low, high = 0, len(starts)
    while high - low > 1:
        middle = (low + high) >> 1
        if starts[middle] <= time:
            low = middle
        else:
            high = middle
    return low


@inlined
def finish(starts, speeds, begin, amount):
    """When an amount that is worked on alone from ``begin`` at piecewise constant speed is done."""
    if len(starts) == 1:
        return begin + amount / speeds[0]
    k = step_at(starts, begin)
    now, left = begin, amount
    while k + 1 < len(starts):
        span = starts[k + 1] - now
        if left <= span * speeds[k]:
            break
        left -= span * speeds[k]
        k += 1
        now = starts[k]
    return now + left / speeds[k] if left > 0.0 else now


@inlined
def remaining(starts, speeds, now, until):
    """What is left at ``now`` of the work that will be done at ``until``: the integral of speed."""
    if until <= now:
        return 0.0
    if len(starts) == 1:
        return (until - now) * speeds[0]
    k, total = step_at(starts, now), 0.0
    while k + 1 < len(starts) and starts[k + 1] < until:
        total += (starts[k + 1] - now) * speeds[k]
        k += 1
        now = starts[k]
    return total + (until - now) * speeds[k]

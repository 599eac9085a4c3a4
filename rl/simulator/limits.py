"""What the compiled simulator can hold, checked before any compiled code runs.

Compiled code neither checks an index nor notices that a number is too large for its field: it
computes nonsense, or ends the process. So every size that it relies on is compared here with the
width of its field, and with what a machine's memory holds. ``docs/scenarios.md`` lists the limits.
"""

from __future__ import annotations

import math

from model.errors import ScenarioError

KIND_BITS, EPOCH_BITS, HOP_BITS, PART_BITS = 3, 20, 12, 28
"""Fields of an event's code, 63 bits in all: the kind of event; the epoch of the paths, which ends
when a cable goes down or comes up; the link on the path; the part of the task."""
MOST_EPOCHS, MOST_HOPS, MOST_PARTS = 1 << EPOCH_BITS, 1 << HOP_BITS, 1 << PART_BITS
MOST_REFERENCES = 2**31 - 1
"""Tasks of an environment, or pairs of a device and a target: indices of 32 bits."""
MOST_PATH_ENTRIES = 100_000_000
"""Links of all paths in each direction: paths × links of the longest one × sets of cables that are
down together; 4 bytes each."""
MOST_STEPS = 100_000_000
"""Steps of all c_l(t), or of all F_u(t), in a batch: each of the rows is as long as the longest;
16 bytes each."""


def require_epochs(epochs: int) -> None:
    """Raise ``ScenarioError`` if cables fail and come back too often for an event's code."""
    if epochs > MOST_EPOCHS:
        raise ScenarioError(
            f"events.failures: cables go down or come up {epochs - 1} times; the simulator takes "
            f"at most {MOST_EPOCHS - 1}"
        )


def require_paths(tables: int, pairs: int, hops: int) -> None:
    """Raise ``ScenarioError`` if paths are too long for an event's code, or too many for memory."""
    if hops > MOST_HOPS:
        raise ScenarioError(
            f"network: a path of {hops} links; the simulator takes at most {MOST_HOPS}"
        )
    if pairs > MOST_REFERENCES or tables * pairs * max(1, hops) > MOST_PATH_ENTRIES:
        raise ScenarioError(
            f"network: {pairs} paths of up to {hops} links, for {tables} sets of failed cables, "
            f"are {tables * pairs * max(1, hops)} entries; the simulator takes at most "
            f"{MOST_PATH_ENTRIES}; use fewer base stations, devices or events.failures"
        )


def require_steps(what: str, key: str, rows: int, steps: int) -> None:
    """Raise ``ScenarioError`` if step functions would not fit into memory."""
    if rows * steps > MOST_STEPS:
        raise ScenarioError(
            f"{key}: up to {steps} {what}, for each of {rows} in all environments, are "
            f"{rows * steps} steps; the simulator takes at most {MOST_STEPS}"
        )


def require_parts(largest_mb: float, piece_mb: float, wire_overhead: float, tasks: int) -> None:
    """Check what becomes of the tasks' data.

    Args:
        largest_mb: data of the largest task, MB.
        piece_mb: largest part that travels as one, MB on the wire.
        wire_overhead: bytes on the wire per byte of payload.
        tasks: the number of tasks of an environment.

    Raises:
        ValueError: if ``piece_mb`` or ``wire_overhead`` is not a positive number.
        ScenarioError: if a task has too many parts, or if there are too many tasks.
    """
    for name, value in (("piece_mb", piece_mb), ("wire_overhead", wire_overhead)):
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} is {value}; it must be above 0 and finite")
    parts = largest_mb * wire_overhead / piece_mb
    if not parts < MOST_PARTS - 2:
        raise ScenarioError(
            f"workload.data_mb: a task of {largest_mb:g} MB makes {parts:.0f} parts of "
            f"{piece_mb:g} MB; the simulator takes at most {MOST_PARTS - 3}"
        )
    if tasks > MOST_REFERENCES:
        raise ScenarioError(f"workload: {tasks} tasks; the simulator takes {MOST_REFERENCES}")

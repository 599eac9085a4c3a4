"""Which tasks a unit takes in: those that are born, and are what the trace says.

Edges and the cloud, which run nothing of a user's, are briefed on every task. A device is not: its
policy could read of the others' tasks. It takes nothing that no task of the scenario can be.
"""

from __future__ import annotations

from emulation.briefing import Briefing
from emulation.loop import Clock
from emulation.wire import Frame, WireError

_EARLY_S = 1e-3
"""Rounding of times; all processes read the same clock."""


class Admission:
    """Looks at each TASK header before its data come."""

    def __init__(self, briefing: Briefing, clock: Clock):
        self._expected, self._clock = briefing.expected, clock
        self._most_work_ghz_s = briefing.most_work_ghz_s
        self._most_bytes = briefing.most_payload_bytes
        self._is_real = briefing.clips is not None
        self._taken = bytearray(len(self._expected.born_s) if self._expected else 0)

    def require(self, frame: Frame, *, again: bool) -> None:
        """Raise ``WireError`` for what the sender's task is not; ``again``: it is here already."""
        what = f"task {frame.task} of device {frame.device}"
        if frame.value > self._most_work_ghz_s:
            raise WireError(f"{what}: no task is of {frame.value:g} GHz·s")
        if frame.payload_bytes > self._most_bytes:
            raise WireError(f"{what}: no task is of {frame.payload_bytes} bytes")
        if self._expected is None:
            return
        expected = self._expected
        if self._clock.now() < expected.born_s[frame.task] - _EARLY_S:
            raise WireError(f"{what} is not born yet")
        if frame.value != expected.work_ghz_s[frame.task]:
            raise WireError(f"{what} is not of {frame.value:g} GHz·s")
        if frame.payload_bytes != expected.payload_bytes[frame.task]:
            raise WireError(f"{what} is not of {frame.payload_bytes} bytes")
        # A real result is not kept: who has lost it may have it made again.
        if self._taken[frame.task] and not again and not self._is_real:
            raise WireError(f"{what} has been served")

    def taken(self, frame: Frame) -> None:
        """A task has arrived."""
        if self._expected is not None:
            self._taken[frame.task] = 1

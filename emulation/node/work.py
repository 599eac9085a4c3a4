"""What a unit does with a task that has arrived: the time it would take passes, or real work.

A kind of work keeps the unit's queue, first come, first served, and can tell how long it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from emulation.node.event_loop import Clock, Loop
from model.compute import FifoUnit, FrequencyTrace


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a service: its times in scenario s, and what came of it.

    Attributes:
        result: what goes back to the task's device.
        error: why there is no result, one line; '' if there is one.
    """

    start_s: float
    end_s: float
    result: bytes = b""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A task to be served.

    Attributes:
        task, device: its id, and its device's index (None: the unit's own).
        work_ghz_s: s_i.
        data: all of its data, where the work is about them.
        joined_s: when it joins the queue: now.
    """

    task: int
    device: int | None
    work_ghz_s: float
    data: bytes | bytearray
    joined_s: float


Done = Callable[[Outcome], None]


class Work(Protocol):
    """A kind of work.

    Attributes:
        frequency: F_u(t) of the unit.
        most_bytes: of a task's data, all of which is then handed to ``serve``; None: its data are
            of no interest, however many.
    """

    frequency: FrequencyTrace
    most_bytes: int | None

    def serve(self, job: Job, done: Done) -> None:
        """A task joins the queue; ``done`` is called when it has been served."""

    def queue_ghz_s(self, time_s: float) -> float:
        """Q_u now, GHz·s: work that waits or is in service."""

    def busy_share(self, begin_s: float, end_s: float) -> float:
        """Share of what could be served in [begin, end] that was in use; end: about now."""

    def close(self) -> None:
        """No more."""


class TimedWork:
    """Service takes s/F and does nothing; a result is padding."""

    most_bytes: int | None = None

    def __init__(self, loop: Loop, clock: Clock, frequency: FrequencyTrace, result_bytes: int):
        self._loop, self._clock = loop, clock
        self._fifo, self.frequency = FifoUnit(frequency), frequency
        self._result = bytes(max(0, result_bytes))

    def serve(self, job: Job, done: Done) -> None:
        """The queue says at once when the service ends."""
        times = self._fifo.admit(job.joined_s, job.work_ghz_s)
        outcome = Outcome(times.start_s, times.end_s, self._result)
        self._loop.at(self._clock.real(times.end_s), done, outcome)

    def queue_ghz_s(self, time_s: float) -> float:
        """Exactly, by eq. (4)."""
        return self._fifo.queue_ghz_s(time_s)

    def busy_share(self, begin_s: float, end_s: float) -> float:
        """Of the time."""
        return self._fifo.busy_s(begin_s, end_s) / (end_s - begin_s)

    def close(self) -> None:
        """Nothing is held."""

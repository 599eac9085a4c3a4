"""What a device remembers of its pings and its tasks: the source of its observations."""

from __future__ import annotations

import numpy as np

from model.observation import Observation


class Memory:
    """Keeps the arrays of ``model.observation.Observation``; index 0 is the device itself.

    Times are scenario time, s. What was never observed is NaN; its age is infinite.
    """

    def __init__(self, targets: tuple[str, ...], *, status: bool = False):
        size = len(targets)
        self._index = {name: k for k, name in enumerate(targets)}
        self._tasks, self._work, self._data = np.zeros((3, size))
        self._results = np.zeros(size)
        self._rtt, self._idle_rtt, self._delivery, self._delivery_mb = np.full((4, size), np.nan)
        self._processing, self._processing_work = np.full((2, size), np.nan)
        self._rtt_at, self._delivery_at, self._processing_at = np.full((3, size), -np.inf)
        # A ping to oneself takes no time and is never old.
        self._rtt[0] = self._idle_rtt[0] = 0.0
        self._status = np.full((2, size), np.nan) if status else None

    def pinged(self, target: int, now: float, rtt_s: float) -> None:
        """A reply has come."""
        self._rtt[target], self._rtt_at[target] = rtt_s, now
        self.idle(target, rtt_s)

    def idle(self, target: int, rtt_s: float) -> None:
        """A round trip that was seen, before the start perhaps; the smallest counts."""
        self._idle_rtt[target] = np.fmin(self._idle_rtt[target], rtt_s)

    def sent(self, target: int, work_ghz_s: float, data_mb: float) -> None:
        """A task was decided on. A task of its own has no data under way."""
        self._tasks[target] += 1.0
        self._work[target] += work_ghz_s
        if target != 0:
            self._data[target] += data_mb

    def delivered(self, target: int, now: float, delivery_s: float, data_mb: float) -> None:
        """The last byte of a task is known to have arrived."""
        self._data[target] -= data_mb
        self._delivery[target], self._delivery_mb[target] = delivery_s, data_mb
        self._delivery_at[target] = now

    def known(self, target: int, now: float, processing_s: float, work_ghz_s: float) -> None:
        """A result has come."""
        self._gone(target, work_ghz_s)
        self._results[target] += 1.0
        self._processing[target], self._processing_work[target] = processing_s, work_ghz_s
        self._processing_at[target] = now

    def failed(self, target: int, work_ghz_s: float, undelivered_mb: float) -> None:
        """A task was given up; ``undelivered_mb`` is 0 if its data had arrived."""
        self._gone(target, work_ghz_s)
        self._data[target] -= undelivered_mb

    def told(self, queue_ghz_s: dict[str, float], ghz: dict[str, float]) -> None:
        """The status of units, where agents may know it; other units are ignored."""
        if self._status is None:
            return
        for row, values in enumerate((queue_ghz_s, ghz)):
            for name, value in values.items():
                if name in self._index:
                    self._status[row, self._index[name]] = value

    def observe(self, now: float, queue_ghz_s: float, ghz: float) -> Observation:
        """What the device sees now; the arrays are copies."""
        rtt_age = now - self._rtt_at
        rtt_age[0] = 0.0
        status = None if self._status is None else self._status.copy()
        if status is not None:
            status[:, 0] = queue_ghz_s, ghz
        return Observation(
            time_s=now,
            queue_ghz_s=queue_ghz_s,
            ghz=ghz,
            inflight_tasks=self._tasks.copy(),
            inflight_work_ghz_s=self._work.copy(),
            inflight_data_mb=self._data.copy(),
            rtt_s=self._rtt.copy(),
            rtt_age_s=rtt_age,
            idle_rtt_s=self._idle_rtt.copy(),
            delivery_s=self._delivery.copy(),
            delivery_data_mb=self._delivery_mb.copy(),
            delivery_age_s=now - self._delivery_at,
            processing_s=self._processing.copy(),
            processing_work_ghz_s=self._processing_work.copy(),
            processing_age_s=now - self._processing_at,
            results=self._results.copy(),
            status_queue_ghz_s=None if status is None else status[0],
            status_ghz=None if status is None else status[1],
        )

    def _gone(self, target: int, work_ghz_s: float) -> None:
        self._tasks[target] -= 1.0
        self._work[target] -= work_ghz_s

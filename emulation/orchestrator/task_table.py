"""The state of every task of a run, pieced together from what devices and units report.

Every task of the trace ends in exactly one state: done, failed (and why), or unfinished at the
end. Reports of one task come from several processes, so they may arrive in any order.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulation.protocol.messages import Arrived, Born, Dispatched, Failed, Known, Service
from model.network import Network
from model.observation import TARGET_KINDS
from model.profile import target_kind
from model.text import safe_line
from model.workload import TaskTrace
from records.schema import TASK_TIMES
from records.stages import stage

_TIMES = TASK_TIMES[1:]
_EARLY_S = 1e-3
"""Rounding of times; all processes read the same clock."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks are where: ``born = done + failed + in_flight``."""

    born: int
    done: int
    failed: int

    @property
    def in_flight(self) -> int:
        """Born, and neither done nor failed yet."""
        return self.born - self.done - self.failed


class TaskBook:
    """One row per task of the trace; scenario times in s.

    Attributes:
        contradictions: tasks that were said to be both done and failed; they count as failed, and
            the run's verdict tells.
        disordered: tasks done at the first attempt whose times, of several processes, cannot be: a
            result is known before its service ends, for one.
        sent: tasks decided so far by kind of target, as devices have said first.
    """

    def __init__(self, trace: TaskTrace, network: Network, end_s: float):
        self.trace, self._end_s = trace, end_s
        self._devices = [n.name for n in network.devices]
        self._units = {n.name: n for n in network.units}
        size = len(trace)
        self._decided = np.zeros(size, dtype=bool)
        self._target: list[str | None] = [None] * size
        self._rate = np.full(size, np.nan)
        self._time = {name: np.full(size, np.nan) for name in _TIMES}
        self._attempts = np.zeros(size, dtype=np.int32)
        self._failed_s = np.full(size, np.nan)
        self._reason: list[str | None] = [None] * size
        self._taken = np.zeros(size, dtype=bool)
        self._touched: set[int] = set()
        self.contradictions = self.disordered = 0
        self.sent = dict.fromkeys(map(str, TARGET_KINDS), 0)

    def receive(self, record: Born | Dispatched | Arrived | Service | Known | Failed) -> None:
        """Enter a report; what happened after the end of the run did not happen in it.

        Raises ``ValueError`` for a task or target that does not exist.
        """
        task = record.task
        if not 0 <= task < len(self.trace):
            raise ValueError(f"is about task {task}, which does not exist")
        match record:
            case Born(_, target, rate_mbps, _):
                if target not in self._units:
                    raise ValueError(f"sends task {task} to {safe_line(target, 40)}")
                if not self._decided[task]:
                    device = self._devices[int(self.trace.device[task])]
                    self.sent[str(target_kind(self._units[target], device))] += 1
                self._decided[task] = True
                # Each message has its own copy of the name; a long run has 100 000 of them.
                self._target[task] = sys.intern(target)
                self._rate[task] = rate_mbps
            case Dispatched(_, attempt, at_s):
                self._attempts[task] = attempt
                self._at(task, "dispatched_s", at_s)
            case Arrived(_, at_s):
                self._at(task, "arrived_s", at_s)
            case Service(_, start_s, end_s):
                self._at(task, "service_start_s", start_s)
                self._at(task, "service_end_s", end_s)
            case Known(_, at_s):
                self._at(task, "known_s", at_s)
            case Failed(_, at_s, reason):
                self._failed(task, at_s, reason)

    def _at(self, task: int, event: str, time_s: float) -> None:
        if time_s <= self._end_s:
            self._time[event][task] = time_s
            self._touched.add(task)

    def _failed(self, task: int, time_s: float, reason: str) -> None:
        if time_s <= self._end_s:
            self._failed_s[task] = time_s
            self._reason[task] = reason
            self._touched.add(task)

    def counts(self, now_s: float) -> Counts:
        """How many tasks were born, done and failed until now."""
        born = int(np.searchsorted(self.trace.born_s, now_s, side="right"))
        # Reports come from clocks a little ahead: what they tell of later has not happened yet.
        failed = self._failed_s <= now_s
        done = (self._time["known_s"] <= now_s) & ~failed
        return Counts(born, int(done.sum()), int(failed.sum()))

    def unit_delay(self, now_s: float) -> float:
        """ΣE/Σo over the tasks born until now, s per MB; pending and failed count until now."""
        born = self.trace.born_s <= now_s
        data_mb = float(self.trace.data_mb[born].sum())
        known = np.where(np.isfinite(self._failed_s), np.nan, self._time["known_s"])
        until = np.fmin(known, now_s)
        return float((until - self.trace.born_s)[born].sum()) / data_mb if data_mb else float("nan")

    def take_final(self) -> list[dict[str, Any]]:
        """Rows of the tasks that have become final since the last call."""
        complete = [k for k in self._touched if not self._taken[k] and self._is_final(k)]
        self._touched.difference_update(complete)
        self._taken[complete] = True
        return [self._row(k, *self._outcome(k)) for k in sorted(complete)]

    def _is_final(self, task: int) -> bool:
        if np.isfinite(self._failed_s[task]):
            return True
        # The unit's report of the service may still be under way when the result is known already.
        return bool(
            np.isfinite(self._time["known_s"][task])
            and np.isfinite(self._time["service_end_s"][task])
        )

    def take_rest(self) -> list[dict[str, Any]]:
        """Rows of everything not taken yet, at the end of a run."""
        rest = np.flatnonzero(~self._taken)
        self._taken[rest] = True
        return [self._row(int(k), *self._outcome(int(k))) for k in rest]

    def _outcome(self, task: int) -> tuple[str, str | None]:
        known = np.isfinite(self._time["known_s"][task])
        if np.isfinite(self._failed_s[task]):
            if known:
                self.contradictions += 1
            return "failed", self._reason[task]
        if known and self._attempts[task] == 1 and not self._is_ordered(task):
            self.disordered += 1
        return ("done", None) if known else ("unfinished", self._stage(task))

    def _is_ordered(self, task: int) -> bool:
        times = np.array([self.trace.born_s[task], *(self._time[name][task] for name in _TIMES)])
        told = times[np.isfinite(times)]
        return bool((np.diff(told) >= -_EARLY_S).all())

    def _stage(self, task: int) -> str:
        """Where an unfinished task stood."""
        reached = (self._time[k][task] for k in ("dispatched_s", "arrived_s", "service_end_s"))
        return stage(*reached, decided=bool(self._decided[task]))

    def _row(self, task: int, outcome: str, reason: str | None) -> dict[str, Any]:
        times = {name: _or_none(values, task) for name, values in self._time.items()}
        device = self._devices[int(self.trace.device[task])]
        target = self._target[task]
        return {
            "task": task,
            "device": device,
            "born_s": float(self.trace.born_s[task]),
            "work_ghz_s": float(self.trace.work_ghz_s[task]),
            "data_mb": float(self.trace.data_mb[task]),
            "target": target,
            "target_kind": None if target is None else target_kind(self._units[target], device),
            "rate_mbps": _or_none(self._rate, task),
            **times,
            "attempts": int(self._attempts[task]),
            "outcome": outcome,
            "reason": reason,
        }


def _or_none(values: NDArray[np.float64], index: int) -> float | None:
    value = float(values[index])
    return value if np.isfinite(value) else None

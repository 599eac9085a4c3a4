"""Cells on this machine: so many lanes, and one emulation at a time with nothing beside it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Protocol

from experiments.sweep.cell import Cell
from experiments.sweep.execute import Job, Outcome, execute, interrupt_emulation
from experiments.sweep.worker_pool import begin_worker, one_thread_each

LOST = None
"""In place of an outcome: the process that had the cell was killed."""
Ended = tuple[str, Outcome | None]


class Executor(Protocol):
    """Where cells are carried out."""

    def has_room(self, cell: Cell) -> bool:
        """Whether a cell could begin now."""

    def begin(self, job: Job, checkpoint: Path | None) -> None:
        """Begin with a cell."""

    def ended(self, timeout_s: float) -> list[Ended]:
        """Keys and outcomes of the cells that have ended since, waiting at most so long for one."""

    def ask_to_stop(self) -> None:
        """Bring what is under way to an early end, as far as it loses nothing by that."""

    def close(self, *, kill: bool) -> None:
        """Leave nothing running; ``kill`` at once what still runs."""


_stop: Event


def _begin(stop: Event) -> None:
    global _stop
    _stop = stop
    begin_worker()


def _work(job: Job, folder: Path, checkpoint: Path | None) -> Outcome:
    return execute(job, folder, checkpoint, _stop.is_set)


class _Lane:
    """A worker process that takes one cell after the other."""

    def __init__(self, stop: Event):
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(stop,))
        self._pid: Future[int] = self.pool.submit(os.getpid)

    def kill(self) -> None:
        """End it whatever it does."""
        if self._pid.done() and not self._pid.exception():
            try:
                os.kill(self._pid.result(), signal.SIGKILL)
            except ProcessLookupError:
                return


class Lanes:
    """An executor of so many processes on this machine; results lie below ``folder``."""

    def __init__(self, folder_of: Callable[[str], Path], jobs: int):
        self._folder_of, self._jobs = folder_of, jobs
        self._stop = multiprocessing.get_context("spawn").Event()
        self._free: list[_Lane] = []
        self._running: dict[Future[Outcome], tuple[str, _Lane | None]] = {}
        self._emulations = ThreadPoolExecutor(1)
        self._environment = ExitStack()
        self._environment.enter_context(one_thread_each())

    def has_room(self, cell: Cell) -> bool:
        """A lane is free; or, for an emulation, the whole machine."""
        if cell.kind == "emulation":
            return not self._running
        emulating = any(lane is None for _, lane in self._running.values())
        return not emulating and len(self._running) < self._jobs

    def begin(self, job: Job, checkpoint: Path | None) -> None:
        """Begin with a cell in a lane, or with an emulation in a process of its own."""
        key = job.cell.key
        folder = self._folder_of(key)
        if job.cell.kind == "emulation":
            self._end_lanes()
            future = self._emulations.submit(execute, job, folder, checkpoint)
            self._running[future] = key, None
            return
        lane = self._free.pop() if self._free else _Lane(self._stop)
        self._running[lane.pool.submit(_work, job, folder, checkpoint)] = key, lane

    def _end_lanes(self) -> None:
        while self._free:
            self._free.pop().pool.shutdown()

    def ended(self, timeout_s: float) -> list[Ended]:
        """Outcomes since; the cell of a killed process is ``LOST``."""
        found: list[Ended] = []
        for future in wait(self._running, timeout_s, FIRST_COMPLETED).done:
            key, lane = self._running.pop(future)
            try:
                found.append((key, future.result()))
            except BrokenProcessPool:
                found.append((key, LOST))
                continue
            if lane is not None:
                self._free.append(lane)
        return found

    def ask_to_stop(self) -> None:
        """Trainings save and end, an emulation ends in order, simulations are soon finished."""
        self._stop.set()
        for key, lane in self._running.values():
            if lane is None:
                interrupt_emulation(self._folder_of(key))

    def close(self, *, kill: bool) -> None:
        """End all processes."""
        lanes = [lane for _, lane in self._running.values() if lane]
        if kill:
            for lane in lanes:
                lane.kill()
        for lane in (*lanes, *self._free):
            lane.pool.shutdown(wait=True, cancel_futures=True)
        # A second request has an emulation end at once.
        self.ask_to_stop()
        self._emulations.shutdown(wait=True)
        self._environment.close()

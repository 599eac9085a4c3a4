"""Work spread over processes of one thread each that give way to everything else on the machine."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
NICENESS = 19
_PR_SET_PDEATHSIG = 1


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def begin_worker() -> None:
    """What a worker does first: it gives way, leaves Ctrl-C to its parent, and ends with it."""
    # What is under way here when Ctrl-C is pressed is finished and kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS - os.nice(0))
    # A pool's worker would otherwise wait forever for a parent that was killed.
    end_with_parent(signal.SIGKILL)


def end_with_parent(number: signal.Signals) -> None:
    """Have this process get a signal when its parent ends, however that ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started in here use one thread for their arithmetic."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def in_parallel(
    work: Callable[[T], R], items: Sequence[T], jobs: int
) -> Generator[tuple[int, R], None, None]:
    """(position, result) of every item as it gets done; the first error ends the rest.

    When the caller stops listening, by Ctrl-C for one, what has begun is finished and the rest is
    dropped. ``work`` and ``items`` must be picklable.
    """
    # Fresh processes: a fork would inherit threads of libraries, and their locks.
    context = multiprocessing.get_context("spawn")
    with one_thread_each():
        pool = ProcessPoolExecutor(min(jobs, max(1, len(items))), context, initializer=begin_worker)
        try:
            futures = {pool.submit(work, item): k for k, item in enumerate(items)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

"""Work spread over processes of one thread each that give way to everything else on the machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
NICENESS = 19


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def _begin() -> None:
    # Ctrl-C is the parent's business: what is under way here is finished and kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS - os.nice(0))


def in_parallel(
    work: Callable[[T], R], items: Sequence[T], jobs: int
) -> Generator[tuple[int, R], None, None]:
    """(position, result) of every item as it gets done; the first error ends the rest.

    When the caller stops listening, by Ctrl-C for one, what has begun is finished and the rest is
    dropped. ``work`` and ``items`` must be picklable.
    """
    # Fresh processes: a fork would inherit threads of libraries, and their locks.
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, max(1, len(items))), context, initializer=_begin)
    try:
        futures = {pool.submit(work, item): k for k, item in enumerate(items)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

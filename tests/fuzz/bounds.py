"""How much is tried, and what a reader may take while it is tried.

``LAB_FUZZ=100`` tries a hundred times as much, drawn anew each time; what fails is kept in
``.hypothesis`` and tried first the next time. Without it the examples are the same in every run.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, settings

FACTOR = float(os.environ.get("LAB_FUZZ", "1"))
_PAGE_BYTES = resource.getpagesize()
_MOST_LETTERS = 2_000


def tries(count: int) -> settings:
    """So many examples, or as many times more as ``LAB_FUZZ`` says."""
    return settings(
        max_examples=max(1, round(count * FACTOR)),
        derandomize=FACTOR == 1,
        database=None if FACTOR == 1 else settings().database,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def _address_space_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE_BYTES


@contextmanager
def bounded(memory_mb: int = 256, cpu_s: float = 5.0) -> Iterator[None]:
    """Allow so much more memory (``MemoryError`` beyond it) and so much processor time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space_bytes() + memory_mb * 10**6, hard))
    # What the tests of this process have left is not the reader's to collect.
    gc.freeze()
    begin = time.process_time()
    try:
        yield
    finally:
        gc.unfreeze()
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - begin < cpu_s


def require_told(error: Exception, about: str = "") -> None:
    """A complaint is text of some lines at most, that can be printed and read."""
    text = str(error)
    assert text.strip()
    assert about in text
    assert len(text) < _MOST_LETTERS
    text.encode()

"""Measurements on a machine that may be too busy for them, and tests that share it.

A test that measures a rate or a time on the real machine is marked ``timing`` and measures inside
``measuring()``, or asks a finished run by ``require_idle``. Both ask what a run's own verdict asks:
was some CPU idle in every second? If not, what was measured says nothing, whether it met its bounds
or not: the test is done again, and after three tries reported as "too busy", which is not "passed".

Where tests run in several processes at a time, a measurement has the machine to itself: it waits
until the other processes have ended the test that they are at, and they wait until it has ended.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psutil

from emulation.host.idle_cpu import CpuWatch

if TYPE_CHECKING:
    from records.reader import Result

IDLE_SHARE = 0.01
"""As of ``metrics.fidelity``, which says why; that module takes a second to import."""
WAITED_SHARE = 0.01
"""Of a measurement's time: a second may have idle CPU and still come too late for what is timed."""
STOLEN_SHARE = 0.003
"""Of all processors' time. It explains what was missed: a pause of 20 ms only ever makes a transfer
slower, or a reply later, so a measurement that met its bounds in spite of it counts."""
TRIES = 3
MOST_IN_CI = 2
"""With more tests than this that the machine was too busy for, continuous integration fails."""
GATE_VARIABLE = "LAB_TESTS_GATE"
"""Names the folder of the locks by which the processes of one test run take turns."""


class TooBusyError(Exception):
    """The machine was too busy for a measurement; the text says in how many seconds."""


def too_busy(idle: Sequence[float]) -> str:
    """Return why a measurement cannot be believed, or nothing.

    Args:
        idle: idle share of all cores, 0 to 1, in each second of the measurement.
    """
    busy = sum(share < IDLE_SHARE for share in idle)
    return f"no idle CPU in {busy} of {len(idle)} seconds" if busy else ""


def _waited_s() -> float:
    """How long this process's main thread has waited for a processor so far, s."""
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) * 1e-9
    except OSError:  # a kernel that does not count it
        return 0.0


def _stolen_s() -> float:
    """How much of all processors' time the hypervisor has given to others so far, s."""
    return float(getattr(psutil.cpu_times(), "steal", 0.0))


class _Watch(threading.Thread):
    """Notes the idle share of each second until it is stopped."""

    def __init__(self, second: float) -> None:
        super().__init__(daemon=True)
        self.idle: list[float] = []
        self._second, self._stop_asked, self._cpu = second, threading.Event(), CpuWatch()

    def run(self) -> None:
        while not self._stop_asked.wait(self._second):
            self.idle.append(self._cpu.idle_share())

    def stop(self) -> list[float]:
        """End; the rest of a second counts only where there is no whole one: it is too short."""
        self._stop_asked.set()
        self.join()
        return self.idle or [self._cpu.idle_share()]


@contextmanager
def measuring(second: float = 1.0) -> Iterator[None]:
    """Measure in a ``with`` block, alone on the machine as far as these tests go.

    Raises ``TooBusyError`` if some second was without idle CPU, or this process had to wait for a
    processor, in place of what the block raised; or if that was raised while the hypervisor paused
    the machine.
    """
    with alone():
        watch, began = _Watch(second), time.monotonic()
        waited, stolen_before = _waited_s(), _stolen_s()
        watch.start()
        error: Exception | None = None
        try:
            yield
        except Exception as raised:  # noqa: BLE001 - of a busy machine it says nothing
            error = raised
        took_s = time.monotonic() - began
        share = (_waited_s() - waited) / took_s
        stolen = (_stolen_s() - stolen_before) / (took_s * (os.cpu_count() or 1))
        reason = too_busy(watch.stop())
        if not reason and share > WAITED_SHARE:
            reason = f"the test waited for a processor in {share:.1%} of the time"
        if not reason and error is not None and stolen > STOLEN_SHARE:
            reason = f"the hypervisor took {stolen:.1%} of the processors' time"
    if reason:
        raise TooBusyError(reason) from error
    if error is not None:
        raise error


def require_idle(result: Result) -> None:
    """Raise ``TooBusyError`` if a run's own verdict says that some second was without idle CPU."""
    from metrics.fidelity import judge

    for check in judge(result).checks:
        if check.name == "idle CPU" and check.ok is False:
            raise TooBusyError(check.text)


class Gate:
    """Locks by which the processes of a test run take turns; without a folder nothing waits.

    Either one process measures, or any number do something else. A process that wants to measure
    keeps others from beginning something new, so that it comes to its turn.
    """

    def __init__(self, folder: str | None):
        self._folder = Path(folder) if folder else None
        self._held = 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process does anything, and keep it so."""
        if self._folder is None or self._held:
            yield
            return
        with self._open("entrance") as entrance, self._open("room") as room:
            fcntl.flock(entrance, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX)
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Wait until no other process measures; it will wait for the end of this block."""
        if self._folder is None:
            yield
            return
        with self._open("room") as room:
            with self._open("entrance") as entrance:
                fcntl.flock(entrance, fcntl.LOCK_EX)
                fcntl.flock(room, fcntl.LOCK_SH)
            yield

    def _open(self, name: str) -> IO[bytes]:
        """Open a lock; closing it, or the end of this process, gives it back."""
        assert self._folder is not None
        return Path(self._folder, name).open("wb")


_gates: dict[str | None, Gate] = {}


def gate() -> Gate:
    """Return the gate of this test run."""
    folder = os.environ.get(GATE_VARIABLE)
    return _gates.setdefault(folder, Gate(folder))


@contextmanager
def alone() -> Iterator[None]:
    """Have the machine alone, as far as the processes of this test run go."""
    with gate().alone():
        yield


def measured(work: Callable[[], object], tries: int = TRIES) -> object:
    """Return what a measurement gives, done again where the machine was too busy.

    For fixtures that several tests share. Raises ``TooBusyError`` after so many tries.
    """
    for left in reversed(range(tries)):
        try:
            with measuring():
                return work()
        except TooBusyError:
            if not left:
                raise
    raise AssertionError

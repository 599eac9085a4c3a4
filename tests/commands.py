"""Commands that tests start: on a time-out, all processes that they have started end with them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_LAUNCHER = "emulation.sandbox.launcher"


def finish(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 100.0,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return its status and text.

    Raises ``subprocess.TimeoutExpired`` after ``timeout`` s, when its whole group has been killed.
    """
    process = subprocess.Popen(
        command, cwd=cwd, env=env, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        end_group(process)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def end_group(process: subprocess.Popen[str]) -> None:
    """Kill what is left of the group of a process that was started as its leader."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for_simulations(
    is_ours: Callable[[psutil.Process], bool], count: int = 1, seconds: float = 90.0
) -> list[int]:
    """Wait until so many processes simulate a user's policy at a time; return their pids.

    Args:
        is_ours: whether a process is one of the test's; it may raise ``psutil.Error``.
        count: how many.
        seconds: after which ``AssertionError`` is raised.
    """
    end = time.monotonic() + seconds
    while len(found := sorted(set(_simulating(is_ours)))) < count:
        assert time.monotonic() < end, f"{len(found)} of {count} processes simulate"
        time.sleep(0.02)
    return found


@contextmanager
def released(is_ours: Callable[[psutil.Process], bool]) -> Iterator[None]:
    """In the ``with`` block, policies of ``tests.experiments.sweep_policies:Slow`` need not wait.

    Args:
        is_ours: as for ``wait_for_simulations``.
    """
    stopped = threading.Event()

    def release() -> None:
        while not stopped.wait(0.1):
            for pid in set(_simulating(is_ours)):
                with suppress(psutil.Error):
                    for process in psutil.Process(pid).children(recursive=True):
                        process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=release, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _simulating(is_ours: Callable[[psutil.Process], bool]) -> list[int]:
    """Parents of the launchers of policies' processes, which are launchers' children themselves."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            parent = process.parent()
            if _LAUNCHER not in process.cmdline() or parent is None:
                continue
            if _LAUNCHER not in parent.cmdline() and process.children() and is_ours(parent):
                found.append(parent.pid)
    return found

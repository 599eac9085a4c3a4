"""Tests in several processes: those of the network in one, beside the others, and on time.

All tests that make a network, or measure, are one group, which one process does in order. The
others are done meanwhile by the other processes, at a lower priority, a module at a time; they
stand still while the first one measures (``tests.busy``). ``./lab test`` starts pytest so; ``-n 0``
does without.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.busy import GATE_VARIABLE, gate

NETWORK = "network"
"""Name of the group of tests that are done one after the other."""
ONE_AFTER_THE_OTHER = ("root", "ovs", "ffmpeg", "netem", "timing")
_NICENESS = 5
"""Of what runs beside the network's tests; beside other programs it must get on, too."""


def processes() -> int:
    """Return how many processes do the tests: one for the network, and at least one other."""
    return max(2, len(os.sched_getaffinity(0)) // 2)


def group_of(item: pytest.Item) -> str:
    """Return the name of what is done by one process: the network's tests, or a module."""
    if any(item.get_closest_marker(mark) for mark in ONE_AFTER_THE_OTHER):
        return NETWORK
    return item.nodeid.partition("::")[0].replace("@", "-")


def without_group(name: str) -> str:
    """Return a test's name as it is typed, without the group that pytest-xdist writes behind it."""
    test, at, group = name.rpartition("@")
    return test if at and (group == NETWORK or group.endswith(".py")) else name


class Sharing:
    """Shares tests among processes; does nothing where there is but one."""

    def __init__(self, config: pytest.Config):
        self._worker = hasattr(config, "workerinput")
        self._folder = ""
        if not self._worker and getattr(config.option, "numprocesses", None):
            self._folder = tempfile.mkdtemp(prefix="lab-tests-")
            os.environ[GATE_VARIABLE] = self._folder

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Tell pytest-xdist the groups."""
        if self._worker:
            for item in items:
                item.add_marker(pytest.mark.xdist_group(group_of(item)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Let measurements have the machine, and the network's tests go first."""
        if not self._worker:
            return (yield)
        if any(item.get_closest_marker(mark) for mark in ONE_AFTER_THE_OTHER):
            _be_nice(0)
            return (yield)
        with gate().beside():
            _be_nice(_NICENESS)
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write names as they are typed."""
        if self._folder:
            report.nodeid = without_group(report.nodeid)

    def pytest_unconfigure(self) -> None:
        """Remove the locks."""
        if self._folder:
            os.environ.pop(GATE_VARIABLE, None)
            shutil.rmtree(self._folder, ignore_errors=True)


def _be_nice(niceness: int) -> None:
    with suppress(PermissionError):  # only root may go back, and only root makes networks
        os.setpriority(os.PRIO_PROCESS, 0, niceness)

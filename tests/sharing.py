"""Tests in several processes: those of the network in one, beside the others, and on time.

Tests that make a network, or measure, are one group, which one process does in order. The others
are done meanwhile by the other processes, at a lower priority, a module at a time; they stand still
while the first one measures (``tests.busy``). ``./lab test`` starts pytest so; ``-n 0`` does
without.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.busy import GATE_VARIABLE, gate

NETWORK = "network"
"""Name of what one process does, test after test."""
ONE_AFTER_THE_OTHER = ("root", "ovs", "ffmpeg", "netem", "timing")
_LIST = "network.json"
_STOP = "stop"
"""Made when so many tests have failed (``-x``, ``--maxfail``) that the others are not to begin: a
process would else do all tests that it was given."""
SLOW_S = 10
NICENESS = 5
"""Of what runs beside the network's tests; beside other programs it must get on, too."""


def processes() -> int:
    """Return how many processes do the tests: one for the network, and one others for each core.

    Many tests wait for processes of their own, so that two do not fill two cores.
    """
    return 1 + max(1, len(os.sched_getaffinity(0)))


def is_networks(item: pytest.Item) -> bool:
    """Say whether a test is done after the others that make a network or measure."""
    if item.get_closest_marker("aside"):
        return False
    return any(item.get_closest_marker(mark) for mark in ONE_AFTER_THE_OTHER)


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return tests in the order in which they are given out, module by module.

    The network's come first, among them those that measure last: what takes longest elsewhere is
    over by then. Of the others the modules whose slow tests take longest come first, so that none
    of these is left for the end.
    """
    slow: Counter[str] = Counter()
    for item in items:
        slow[_module(item.nodeid)] += _seconds(item)
    measures = {_module(i.nodeid) for i in items if i.get_closest_marker("timing")}

    def key(item: pytest.Item) -> tuple[bool, bool, int]:
        module = _module(item.nodeid)
        if is_networks(item):
            return False, module in measures, 0
        return True, item.get_closest_marker("aside") is None, -slow[module]

    return sorted(items, key=key)


def _seconds(item: pytest.Item) -> int:
    """Return about how long a slow test takes, as its mark says, in s; 0 for the others."""
    mark = item.get_closest_marker("slow")
    return (mark.args[0] if mark.args else SLOW_S) if mark else 0


def _module(name: str) -> str:
    return name.partition("::")[0]


class NetworkInOne(LoadScopeScheduling):  # type: ignore[misc]
    """Gives the network's tests to one process, and the others out by modules.

    The processes have written which tests are the network's, since only they know the marks.
    """

    def __init__(self, config: pytest.Config, log: Any, folder: str):
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._list = Path(folder, _LIST)
        self._networks: frozenset[str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self._networks is None:
            self._networks = frozenset(json.loads(self._list.read_text(encoding="utf-8")))
        return NETWORK if nodeid in self._networks else _module(nodeid)


class Sharing:
    """Shares tests among processes; does nothing where there is but one."""

    def __init__(self, config: pytest.Config):
        self._worker = hasattr(config, "workerinput")
        self._folder = ""
        self._failed, self._most = 0, int(getattr(config.option, "maxfail", 0) or 0)
        if not self._worker and getattr(config.option, "numprocesses", None):
            self._folder = tempfile.mkdtemp(prefix="lab-tests-")
            os.environ[GATE_VARIABLE] = self._folder

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put tests in order and write down which are the network's."""
        if self._worker:
            items[:] = in_order(items)
            folder = os.environ[GATE_VARIABLE]
            with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
                json.dump([i.nodeid for i in items if is_networks(i)], file)
            Path(file.name).rename(Path(folder, _LIST))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> NetworkInOne:
        """Answer pytest-xdist who gives the tests out."""
        return NetworkInOne(config, log, self._folder)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Let measurements have the machine, and the network's tests go first."""
        if not self._worker:
            return (yield)
        if is_networks(item):
            _be_nice(0)
            done = yield
        else:
            with gate().beside():
                _be_nice(NICENESS)
                done = yield
        if Path(os.environ[GATE_VARIABLE], _STOP).exists():
            item.session.shouldstop = "enough tests have failed"
        return done

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what has failed, in the process that gives the tests out."""
        self._failed += report.failed
        if self._folder and 0 < self._most <= self._failed:
            Path(self._folder, _STOP).touch()

    def pytest_unconfigure(self) -> None:
        """Remove the locks."""
        if self._folder:
            os.environ.pop(GATE_VARIABLE, None)
            shutil.rmtree(self._folder, ignore_errors=True)


def _be_nice(niceness: int) -> None:
    with suppress(PermissionError):  # only root may go back, and only root makes networks
        os.setpriority(os.PRIO_PROCESS, 0, niceness)

"""Tests of times and rates: done again where the machine was too busy, then named, never passed."""

from __future__ import annotations

import os
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.busy import MOST_IN_CI, TRIES, TooBusyError

WAITING_S = 180
"""What a measurement may wait for tests of other processes to end, s."""


def in_ci() -> bool:
    """Say whether this is continuous integration, where a skipped check could hide a fault."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


class Repeating:
    """Repeats tests with the mark ``timing`` and counts those that the machine was too busy for."""

    def __init__(self) -> None:
        self.too_busy: list[tuple[str, str]] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Give repeated tests the time of all tries."""
        for item in items:
            if item.get_closest_marker("timing"):
                mark = item.get_closest_marker("timeout")
                once = float(mark.args[0] if mark else config.getini("timeout") or 0)
                if once:
                    item.add_marker(pytest.mark.timeout(TRIES * once + WAITING_S), append=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
        """Mark the report of a measurement on a busy machine."""
        report = yield
        error = call.excinfo.value if call.excinfo else None
        if isinstance(error, TooBusyError) and item.get_closest_marker("timing"):
            report.too_busy = str(error)
        return report

    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """Run a test that measures until the machine was idle enough, three times at most."""
        if not item.get_closest_marker("timing"):
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for _ in range(TRIES):
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
            if not any(hasattr(report, "too_busy") for report in reports):
                break
        for report in reports:
            if hasattr(report, "too_busy"):
                # Neither failed nor passed: the outcome has a name of its own in the summary.
                report.outcome = "skipped"
                report.longrepr = ("", 0, f"too busy: {report.too_busy}")
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Call it what it is, in the progress and in the closing line."""
        if hasattr(report, "too_busy"):
            return "too busy", "b", "TOO BUSY"
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count."""
        if hasattr(report, "too_busy"):
            self.too_busy.append((report.nodeid, report.too_busy))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail in continuous integration where too many tests said nothing."""
        ended_well = session.exitstatus in (pytest.ExitCode.OK, 0)
        if ended_well and in_ci() and len(self.too_busy) > MOST_IN_CI:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name every test that the machine was too busy for."""
        if not self.too_busy:
            return
        terminalreporter.section(f"{len(self.too_busy)} too busy")
        for name, reason in self.too_busy:
            terminalreporter.line(f"{name}: {reason}, {TRIES} times")
        if in_ci() and len(self.too_busy) > MOST_IN_CI:
            terminalreporter.line(f"more than {MOST_IN_CI}, so this run of the tests has failed")

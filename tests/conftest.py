"""What a check needs of the machine, said by markers and answered by the capability probe.

A check is skipped for what the machine cannot do, never for who runs it, and the closing summary
names every check that was skipped and why.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import cache

import hypothesis
import pytest

from emulation.host.capabilities import REQUIRED_TO_RUN, Capabilities, probe
from tests.repeating import Repeating, in_ci
from tests.sharing import Sharing, processes

# How long an example takes is no finding: the machine may be busy.
hypothesis.settings.register_profile("lab", deadline=None)
hypothesis.settings.load_profile("lab")
# A shell that starts the checks in the background has them ignore Ctrl-C, and all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Add how tests are shared among processes, and done again on a busy machine."""
    config.pluginmanager.register(Sharing(config), "sharing")
    config.pluginmanager.register(Repeating(), "repeating")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Answer pytest-xdist how many processes ``-n auto`` is."""
    return processes()


NEEDS = {
    "root": ("privilege", "namespaces"),
    "ovs": REQUIRED_TO_RUN,
    "ffmpeg": ("ffmpeg",),
    "netem": ("privilege", "namespaces", "netem"),
}
"""Marker → findings of the probe that must be ok."""


@cache
def machine() -> Capabilities:
    """Return what this machine can do, looked at once and only if some check asks."""
    return probe()


@pytest.fixture(autouse=True)
def _handlers_of_interrupts() -> Iterator[None]:
    """What a test has called may ignore Ctrl-C from then on, as a run does at its end."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        if signal.getsignal(number) != handler and handler is not None:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def capabilities() -> Capabilities:
    """What this machine can do."""
    return machine()


def why_not(item: pytest.Item) -> str:
    """Return what the machine lacks for a check, or nothing."""
    marks = [mark for mark in NEEDS if item.get_closest_marker(mark)]
    names = dict.fromkeys(name for mark in marks for name in NEEDS[mark])
    if not names:
        return ""
    return "; ".join(f"{one.name}: {one.detail}" for one in machine().missing(list(names)))


def must_run(item: pytest.Item) -> bool:
    """Say whether skipping would hide a fault of the set-up.

    In continuous integration, a machine that can make namespaces was set up just before, so that
    Open vSwitch, Mininet and FFmpeg are there, or the set-up is broken.
    """
    able = not machine().missing(NEEDS["root"])
    # No set-up can give a kernel the qdisc that it lacks.
    hopeless = item.get_closest_marker("netem") is not None and not machine()["netem"].ok
    installed = any(item.get_closest_marker(mark) for mark in ("ovs", "ffmpeg"))
    return in_ci() and able and not hopeless and installed


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the machine cannot do; fail where it should."""
    reason = why_not(item)
    if reason and must_run(item):
        pytest.fail(f"this machine is set up and should run this, but {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every check that was skipped, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    terminalreporter.section("skipped, and why")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        terminalreporter.line(f"{report.nodeid}: {reason.removeprefix('Skipped: ')}")

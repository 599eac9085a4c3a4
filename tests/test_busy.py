"""A busy machine is no failure and no success; processes of a test run take turns."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import busy, sharing
from tests.busy import TRIES, Gate, TooBusyError, measured, measuring, too_busy

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def outside_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure without the gate of the run that does these tests, which this process has entered."""
    monkeypatch.delenv(busy.GATE_VARIABLE, raising=False)


def test_the_question_is_the_verdicts() -> None:
    from metrics.fidelity import IDLE_SHARE

    assert busy.IDLE_SHARE == IDLE_SHARE


def test_every_second_needs_idle_cpu() -> None:
    assert too_busy([0.5, 0.01, 1.0]) == ""
    assert too_busy([0.5, 0.009, 0.0]) == "no idle CPU in 2 of 3 seconds"


class Idle:
    """A processor whose idle shares are known; the last one stays."""

    def __init__(self, *shares: float):
        self._shares = list(shares)

    def __call__(self) -> Idle:
        return self

    def idle_share(self) -> float:
        return self._shares.pop(0) if len(self._shares) > 1 else self._shares[0]


def test_a_busy_second_outweighs_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "CpuWatch", Idle(0.9, 0.0, 0.9))
    with pytest.raises(TooBusyError, match="no idle CPU in 1 of"), measuring(0.02):
        time.sleep(0.2)
    monkeypatch.setattr(busy, "CpuWatch", Idle(0.0))
    with pytest.raises(TooBusyError) as caught, measuring(0.02):
        fail_after(0.1)
    assert isinstance(caught.value.__cause__, AssertionError)


def test_a_test_that_waits_for_a_processor_measures_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(busy, "CpuWatch", Idle(0.9))
    waited_s = iter((1.0, 1.1, 1.1, 1.1))
    monkeypatch.setattr(busy, "_waited_s", lambda: next(waited_s))
    with pytest.raises(TooBusyError, match="waited for a processor"), measuring(0.02):
        time.sleep(0.05)
    with measuring(0.02):
        time.sleep(0.05)


def test_pauses_of_the_machine_excuse_a_failure_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(busy, "CpuWatch", Idle(0.9))
    monkeypatch.setattr(busy, "_waited_s", lambda: 0.0)
    stolen_s = iter((1.0, 1.2, 1.2, 1.4, 1.4, 1.4))
    monkeypatch.setattr(busy, "_stolen_s", lambda: next(stolen_s))
    with pytest.raises(TooBusyError, match="hypervisor"), measuring(0.02):
        fail_after(0.05)
    with measuring(0.02):
        time.sleep(0.05)
    with pytest.raises(AssertionError, match="instead of 10"), measuring(0.02):
        fail_after(0.05)


def fail_after(seconds: float) -> None:
    time.sleep(seconds)
    raise AssertionError("9.5 Mbps instead of 10")


def test_on_an_idle_machine_an_assertion_is_an_assertion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "CpuWatch", Idle(0.3))
    monkeypatch.setattr(busy, "_waited_s", lambda: 0.0)
    with measuring(0.02):
        time.sleep(0.05)
    with pytest.raises(AssertionError, match="instead of"), measuring(0.02):
        raise AssertionError("9.5 Mbps instead of 10")


def test_a_measurement_shorter_than_a_second_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "CpuWatch", Idle(0.0))
    with pytest.raises(TooBusyError, match="1 of 1 seconds"), measuring():
        pass


def test_a_shared_measurement_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    monkeypatch.setattr(busy, "CpuWatch", Idle(0.0, 0.0, 0.7))
    assert measured(lambda: done.append(1) or len(done)) == 3  # type: ignore[func-returns-value]
    monkeypatch.setattr(busy, "CpuWatch", Idle(0.0))
    with pytest.raises(TooBusyError):
        measured(lambda: None)


_TESTS = """
import pytest
from tests.busy import TooBusyError

done = []

@pytest.fixture(scope="module")
def shared():
    return []

@pytest.mark.timing
def test_never_idle(shared, tmp_path):
    assert not list(tmp_path.iterdir())  # each try has a folder of its own
    (tmp_path / "result").touch()
    shared.append("never")
    raise TooBusyError("no idle CPU in 3 of 9 seconds")

@pytest.mark.timing
def test_idle_at_last(shared):
    done.append(1)
    if len(done) < 3:
        raise TooBusyError("no idle CPU in 1 of 1 seconds")

@pytest.mark.timing
def test_wrong(shared):
    assert 9.5 == 10

@pytest.mark.timing
@pytest.mark.parametrize("k", [1, 2])
def test_never_idle_either(k):
    raise TooBusyError("no idle CPU in 1 of 1 seconds")

def test_plain():
    pass

def test_unmarked():
    raise TooBusyError("no idle CPU")
"""
_CONFTEST = """
from tests.repeating import Repeating
from tests.sharing import Sharing

def pytest_configure(config):
    config.addinivalue_line("markers", "timing: measures")
    config.addinivalue_line("markers", "root: network")
    config.addinivalue_line("markers", "aside: beside the network")
    config.pluginmanager.register(Sharing(config))
    config.pluginmanager.register(Repeating())
"""


def run_pytest(folder: Path, *arguments: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    """Run the plugins on some tests, as ``./lab test`` does."""
    (folder / "conftest.py").write_text(_CONFTEST)
    plain = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", busy.GATE_VARIABLE))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder),
         "-p", "no:cacheprovider", "-o", "timeout=60", *arguments, str(folder)],
        cwd=folder,
        env={**plain, "CI": ci, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("processes", [[], ["-n", "2"]])
def test_what_the_machine_was_too_busy_for_is_named(tmp_path: Path, processes: list[str]) -> None:
    (tmp_path / "test_it.py").write_text(_TESTS)
    done = run_pytest(tmp_path, *processes)
    assert done.returncode == 1, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert "3 too busy" in last
    assert "2 failed, 2 passed" in last
    assert "test_it.py::test_never_idle: no idle CPU in 3 of 9 seconds, 3 times" in done.stdout


@pytest.mark.parametrize(("ci", "chosen", "status"), [
    ("", "never", 0), ("true", "never", 1), ("true", "never_idle_either", 0),
])  # fmt: skip
def test_too_many_fail_in_ci_only(tmp_path: Path, ci: str, chosen: str, status: int) -> None:
    (tmp_path / "test_it.py").write_text(_TESTS)
    done = run_pytest(tmp_path, "-k", chosen, ci=ci)
    assert done.returncode == status, done.stdout + done.stderr
    assert "passed" not in done.stdout.strip().splitlines()[-1]
    assert ("this run of the tests has failed" in done.stdout) == (status == 1)


def test_repeated_tests_have_time_for_all_tries(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.mark.timing\n@pytest.mark.timeout(40)\n"
        "def test_it(request):\n"
        f"    assert request.node.get_closest_marker('timeout').args == ({TRIES}*40.0+180,)\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout


_SHARED = """
import os, pytest, time
@pytest.mark.timing
def test_measures():
    print("measures", os.getpid(), os.getpriority(os.PRIO_PROCESS, 0))
@pytest.mark.parametrize("k", range(4))
def test_other(k):
    print("other", os.getpid(), os.getpriority(os.PRIO_PROCESS, 0))
"""


_NETWORK = """
import os, pytest, time
@pytest.mark.root
@pytest.mark.parametrize("k", range(6))
def test_network(k):
    print("network", os.getpid(), os.getpriority(os.PRIO_PROCESS, 0))
    time.sleep(0.2)
@pytest.mark.root
@pytest.mark.aside
def test_aside():
    print("aside", os.getpid(), os.getpriority(os.PRIO_PROCESS, 0))
@pytest.mark.parametrize("k", range(1))
def test_other(k):
    pass
"""


def test_the_network_has_one_process_and_goes_first(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(_SHARED)
    (tmp_path / "test_two.py").write_text(_NETWORK)
    done = run_pytest(tmp_path, "-n", "2", "-rP")
    assert "13 passed" in done.stdout, done.stdout + done.stderr
    kinds = ("network ", "other ", "aside ", "measures ")
    lines = [tuple(k.split()) for k in done.stdout.splitlines() if k.startswith(kinds)]
    network = {pid for kind, pid, _ in lines if kind in ("network", "measures")}
    assert len(network) == 1
    assert [k[0] for k in lines if k[1] in network and k[0] != "other"][-1] == "measures"
    assert len([k for k in lines if k[0] == "network"]) == 6
    assert len([k for k in lines if k[0] == "measures"]) == 1
    (aside,) = [(pid, int(nice)) for kind, pid, nice in lines if kind == "aside"]
    assert aside[0] not in network
    assert aside[1] == sharing.NICENESS
    meanwhile = {int(nice) for kind, pid, nice in lines if kind == "other" and pid not in network}
    assert meanwhile == {sharing.NICENESS}


_LONG = """\
import time
import pytest

@pytest.mark.parametrize("k", range(20))
def test_long(k):
    time.sleep(0.5)
"""


def test_after_enough_failures_no_process_begins_another_test(tmp_path: Path) -> None:
    (tmp_path / "test_fails.py").write_text("def test_fails():\n    assert 0\n")
    (tmp_path / "test_long.py").write_text(_LONG)
    done = run_pytest(tmp_path, "-n", "2", "-x")
    assert done.returncode != 0
    assert "1 failed" in done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is None or int(passed[1]) < 15, done.stdout


def _measure(folder: str, log: str, begun: float) -> None:
    time.sleep(begun)
    with Gate(folder).alone():
        _note(log, "measurement begins")
        time.sleep(0.3)
        _note(log, "measurement ends")


def _work(folder: str, log: str) -> None:
    for _ in range(8):
        with Gate(folder).beside():
            _note(log, "work begins")
            time.sleep(0.05)
            _note(log, "work ends")


def _note(log: str, what: str) -> None:
    with Path(log).open("a") as file:
        file.write(f"{what}\n")


def test_nothing_else_goes_on_while_one_measures(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(str(tmp_path), log)) for _ in range(2)]
    processes += [context.Process(target=_measure, args=(str(tmp_path), log, k * 0.2))
                  for k in range(2)]  # fmt: skip
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
        assert one.exitcode == 0
    lines = Path(log).read_text().splitlines()
    assert lines.count("measurement begins") == 2
    under_way = 0
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        under_way += {"work begins": 1, "work ends": -1}.get(line, 0)
        if line == "measurement begins":
            assert under_way == 0
            assert following == "measurement ends"
    assert under_way == 0


def test_who_measures_already_measures_on(tmp_path: Path) -> None:
    gate = Gate(str(tmp_path))
    with gate.alone(), gate.alone():
        pass
    with Gate(None).alone(), Gate(None).beside():
        pass

"""Shares of the machine, and what the monitor sees, on this machine's own kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from emulation.host.cpu_quota import Offer, Shares, find_offer
from emulation.host.ledger import Ledger, clean
from emulation.orchestrator.usage import Monitor, interface_bytes

_BURN = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    one = Ledger.open_new()
    yield one
    if one.directory.exists():
        one.remove_all()


@pytest.fixture
def burning(ledger: Ledger) -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses what it is given, marked as the run's."""
    child = subprocess.Popen(
        [sys.executable, "-c", _BURN], env={**os.environ, **ledger.environment}
    )
    yield child
    child.kill()
    child.wait()


@pytest.mark.root
def test_a_quota_holds_and_goes_with_its_run(
    ledger: Ledger, burning: subprocess.Popen[bytes]
) -> None:
    offer = find_offer()
    if not offer.version:
        pytest.skip("this machine offers no CPU quotas")
    shares = Shares(ledger, {"e1": 0.2, "c1d1": 0.05})
    assert shares.to_dict() == {"by": offer.text, "cores": {"e1": 0.2, "c1d1": 0.05}}
    shares.place("e1", burning.pid)
    time.sleep(0.3)
    process = psutil.Process(burning.pid)
    before, begin = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(2.0)
    used = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begin)
    # A busy machine may give less, but never more.
    assert used <= 0.25
    folders = [offer.root / f"ce{ledger.run_id}-{name}" for name in ("e1", "c1d1")]
    assert all(folder.is_dir() for folder in folders)
    burning.kill()
    burning.wait()
    ledger.remove_all()
    assert not any(folder.exists() for folder in folders)


@pytest.mark.root
def test_cgroups_of_a_killed_run_are_cleaned(ledger: Ledger) -> None:
    offer = find_offer()
    if not offer.version:
        pytest.skip("this machine offers no CPU quotas")
    Shares(ledger, {"e1": 0.2})
    folder = offer.root / f"ce{ledger.run_id}-e1"
    assert folder.is_dir()
    # What a killed orchestrator leaves: the ledger, and nobody who holds its lock.
    ledger._lock.close()
    assert ledger.run_id in {removed.run_id for removed in clean()}
    assert not folder.exists()


@pytest.mark.root
def test_a_cgroup_that_does_not_go_stays_in_the_ledger(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = find_offer()
    if not offer.version:
        pytest.skip("this machine offers no CPU quotas")
    monkeypatch.setattr("emulation.host.ledger._CGROUP_GRACE_S", 0.1)
    Shares(ledger, {"e1": 0.2})
    folder = offer.root / f"ce{ledger.run_id}-e1"
    (folder / "busy").mkdir()
    ledger.remove_all()
    assert folder.is_dir()
    assert ledger.directory.is_dir()
    (folder / "busy").rmdir()
    assert ledger.run_id in {removed.run_id for removed in clean()}
    assert not folder.exists()
    assert not ledger.directory.exists()


def test_version_2_is_written_as_the_kernel_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory")
    offer = find_offer(tmp_path)
    assert (offer.version, offer.text) == (2, "cgroup v2 quota")

    class Book:
        run_id = "0abc"

        def create_cgroups(self, folders: list[Path]) -> None:
            for folder in folders:
                folder.mkdir()

    shares = Shares(Book(), {"e1": 0.31, "c1d1": 0.001}, offer)  # type: ignore[arg-type]
    assert (tmp_path / "ce0abc-e1" / "cpu.max").read_text() == "31000 100000"
    assert (tmp_path / "ce0abc-c1d1" / "cpu.max").read_text() == "1000 100000"
    assert (tmp_path / "ce0abc-e1" / "cpu.weight").read_text() == "1"
    shares.place("e1", 77)
    assert (tmp_path / "ce0abc-e1" / "cgroup.procs").read_text() == "77"


def test_without_cgroups_there_is_niceness(tmp_path: Path) -> None:
    assert find_offer(tmp_path) == Offer(0, tmp_path)
    shares = Shares(None, {"e1": 0.3}, Offer(0, tmp_path))  # type: ignore[arg-type]
    shares.place("e1", os.getpid())
    assert shares.to_dict() == {"by": "niceness", "cores": {"e1": 0.3}}
    assert list(tmp_path.iterdir()) == []


def test_the_monitor_counts_children_that_have_come_and_gone() -> None:
    code = (
        "import subprocess, sys, time\n"
        "burn = 'import time\\nend = time.process_time() + 0.3\\n"
        "while time.process_time() < end: pass'\n"
        "subprocess.run([sys.executable, '-c', burn], check=True)\n"
        "print('done', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        monitor = Monitor({"e1": (child.pid,)})
        before = monitor.look()["e1"]
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        after = monitor.look()["e1"]
        assert after.cpu_s - before.cpu_s >= 0.25
        assert after.memory_mb > 1.0
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    assert monitor.look() == {}


def test_a_node_that_was_started_again_goes_on_from_what_it_had_used() -> None:
    def burner(seconds: float) -> subprocess.Popen[bytes]:
        code = (
            "import time\n"
            f"while time.process_time() < {seconds}: pass\n"
            "print('done', flush=True)\n"
            "time.sleep(60)\n"
        )
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        return child

    with burner(0.3) as first, burner(0.1) as second:
        try:
            pids: dict[str, tuple[int, ...]] = {"e1": (first.pid,)}
            monitor = Monitor(pids)
            before = monitor.look()["e1"].cpu_s
            pids["e1"] = (second.pid,)
            assert 0.05 <= monitor.look()["e1"].cpu_s - before < 0.3
        finally:
            first.kill()
            second.kill()


def test_bytes_of_an_interface_are_those_of_the_kernel() -> None:
    received, sent = interface_bytes(os.getpid(), "lo")
    counters = psutil.net_io_counters(pernic=True)["lo"]
    assert 0 <= received <= counters.bytes_recv
    assert 0 <= sent <= counters.bytes_sent
    assert interface_bytes(os.getpid(), "no such") == (0, 0)

"""What a killed run leaves: nothing, however its processes try to stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emulation.host import ledger
from emulation.host.ledger import CGROUPS
from experiments.chaos import snapshot
from records.reader import find_results
from tests.emulation.typed import started_lab

pytestmark = pytest.mark.root
_STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(0.5)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
print(os.getpid(), flush=True)
time.sleep(600)
"""


def _starts_groups() -> bool:
    return any(os.access(CGROUPS / name / "cgroup.procs", os.W_OK) for name in ledger._HIERARCHIES)


@pytest.mark.skipif(not _starts_groups(), reason="this machine offers no control groups")
def test_what_has_neither_uid_nor_mark_is_found_by_its_control_group() -> None:
    book = ledger.Ledger.open_new()
    child = subprocess.Popen(
        [sys.executable, "-c", _STUBBORN], env={}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert book.gather(child.pid)
        assert child.stdout is not None
        pids = {int(child.stdout.readline()) for _ in range(2)}
        assert child.pid in pids
        assert not pids & set(ledger.processes_of(book.run_id))
        group = next(CGROUPS.glob(f"*/ce{book.run_id}-_run"))
        (stray,) = pids - {child.pid}
    finally:
        removed = book.remove_all()
        child.kill()
        child.wait()
    assert removed.processes == 2
    assert not group.exists()
    assert not _lives(stray)


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("cleaned", [False, True])
def test_nothing_of_a_killed_run_with_a_hostile_policy_lives_on(
    tmp_path: Path, *, cleaned: bool
) -> None:
    """Its processes end with the spawner; ``clean`` removes namespaces, groups and folder."""
    before = snapshot.take()
    policy = "tests.emulation.policies_of_tests:Survives"
    with started_lab("mini", tmp_path, "--policy", policy, "--slots", "60") as run:
        deadline = time.monotonic() + 60
        while not [f for f in find_results(tmp_path) if "node ready" in _text(f / "log.jsonl")]:
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        run_id = find_results(tmp_path)[0].name.rpartition("-")[2]
        time.sleep(1.0)
        assert len(ledger.processes_of(run_id)) > 5
        run.kill()
        run.wait()
    try:
        if not cleaned:
            deadline = time.monotonic() + 10
            while ledger.processes_of(run_id) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert ledger.processes_of(run_id) == []
    finally:
        ledger.clean()
    assert ledger.processes_of(run_id) == []
    assert not before.changes(snapshot.take())


def _lives(pid: int) -> bool:
    """Whether a process runs; a dead one that nothing has waited for does not."""
    status = _text(Path(f"/proc/{pid}/status"))
    return bool(status) and not ledger._DEAD.search(status)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""

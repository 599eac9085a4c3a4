"""What users' policies may use together, on this machine's own kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from emulation.host import syscalls
from emulation.host.ledger import Ledger
from emulation.sandbox import guest_limits
from emulation.sandbox.guest_limits import SLICE_S, GuestLimits, own_memory_group

_WAIT = "import sys; sys.stdin.readline()\n"
_BURN = _WAIT + "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
_SHARED = _WAIT + "import mmap\nm = mmap.mmap(-1, 96 << 20)\nm.write(b'x' * (96 << 20))"


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    one = Ledger.open_new()
    yield one
    if one.directory.exists():
        one.remove_all()


def child(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


@pytest.mark.root
def test_policies_share_half_of_the_cores(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_limits, "CORES_SHARE", 0.1)
    limits = GuestLimits(ledger)
    if limits.cores is None:
        pytest.skip("this machine offers no CPU quotas")
    limits.begin()
    burning = [child(_BURN) for _ in range(2)]
    try:
        for one in burning:
            limits.place(one.pid)
            assert one.stdin is not None
            one.stdin.write(b"\n")
            one.stdin.flush()
        time.sleep(0.5)
        before, begin = _used_s(burning), time.monotonic()
        time.sleep(2.0)
        # A busy machine may give less, but never more.
        assert _used_s(burning) - before <= 1.3 * limits.cores * (time.monotonic() - begin)
    finally:
        for one in burning:
            one.kill()
            one.wait()
    ledger.remove_all()
    assert not list(Path("/sys/fs/cgroup").glob(f"**/ce{ledger.run_id}-*"))


def _used_s(children: list[subprocess.Popen[bytes]]) -> float:
    return sum(sum(psutil.Process(c.pid).cpu_times()[:2]) for c in children)


@pytest.mark.root
def test_shared_memory_counts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_limits, "MEMORY_SHARE", 0.0)
    monkeypatch.setattr(guest_limits, "_LEAST_MEMORY_BYTES", 48 << 20)
    limits = GuestLimits(ledger)
    if limits.memory_bytes is None:
        pytest.skip("this machine lets no control group limit memory")
    greedy = child(_SHARED)
    limits.place(greedy.pid)
    greedy.communicate(b"\n", timeout=60)
    assert greedy.returncode == -9


def test_a_group_of_version_1_is_made_below_the_own_one(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("5:devices:/\n4:cpuset,memory:/box/1\n0::/\n")
    assert own_memory_group(tmp_path, own) is None
    folder = tmp_path / "memory" / "box" / "1"
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").touch()
    assert own_memory_group(tmp_path, own) == folder
    own.write_text("0::/\n")
    assert own_memory_group(tmp_path, own) is None


@pytest.mark.root
def test_a_short_slice_keeps_the_niceness() -> None:
    with subprocess.Popen(["nice", "-n", "3", "sleep", "60"]) as process:
        try:
            deadline = time.monotonic() + 5
            while os.getpriority(os.PRIO_PROCESS, process.pid) != 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            syscalls.set_slice(process.pid, SLICE_S)
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == 3
            shown = Path(f"/proc/{process.pid}/sched")
            text = shown.read_text() if shown.exists() else ""
            found = re.search(r"se\.slice +: +([0-9]+)", text)
            version = tuple(map(int, os.uname().release.split(".")[:2]))
            assert found is None or version < (6, 12) or int(found[1]) == SLICE_S * 1e9
        finally:
            process.kill()
    with pytest.raises(ProcessLookupError):
        syscalls.set_slice(process.pid, SLICE_S)

"""What a test's command leaves behind when it takes too long: nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.commands import finish


def test_children_end_with_a_command_that_takes_too_long(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 60 & echo $! > {child}; wait"
    with pytest.raises(subprocess.TimeoutExpired):
        finish(["sh", "-c", script], timeout=1.0)
    status = Path(f"/proc/{int(child.read_text())}/stat")
    end = time.monotonic() + 10.0
    while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end, "the child lives on"
        time.sleep(0.05)


def test_what_a_command_says_is_kept() -> None:
    done = finish([sys.executable, "-c", "import sys; print(1); sys.exit(3)"])
    assert (done.returncode, done.stdout, done.stderr) == (3, "1\n", "")

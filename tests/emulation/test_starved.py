"""A run on a starved machine says so itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from records.reader import find_results, open_result
from tests.emulation.typed import run_lab

pytestmark = [pytest.mark.ovs, pytest.mark.slow, pytest.mark.timeout(180)]
_HOG = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


@pytest.fixture
def hogs() -> Iterator[None]:
    """One process per core that computes for nothing, for a minute at most."""
    cores = os.cpu_count() or 1
    children = [subprocess.Popen([sys.executable, "-c", _HOG]) for _ in range(cores)]
    yield
    for child in children:
        child.kill()
        child.wait()


@pytest.mark.usefixtures("hogs")
def test_a_starved_run_is_invalid_and_strict_makes_it_an_error(tmp_path: Path) -> None:
    done = run_lab("mini", tmp_path, "--slots", "10", "--strict")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "fidelity: invalid" in done.stdout
    (folder,) = find_results(tmp_path)
    fidelity = open_result(folder).manifest["fidelity"]
    assert fidelity["valid"] is False
    assert "idle CPU" in fidelity["verdict"]

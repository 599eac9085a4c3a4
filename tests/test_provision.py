"""Set-up on a machine with nothing installed: in a bare system, and then what a user types."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import in_ci

PROVE = Path(__file__).resolve().parent / "vagrant" / "prove"
NEEDED_GB = 8.0
"""The bare system with the lab in it has 4; the rest is left to others."""
TIMEOUT_S = 900


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder that is gone afterwards, on a disk and not in memory."""
    with tempfile.TemporaryDirectory(prefix="lab-provision-", dir="/var/tmp") as folder:
        yield Path(folder)


def prove(work: Path, *steps: str) -> tuple[int, str]:
    """Call steps of the proof; returns the status and all that was said.

    Whatever still runs at the end, as after a time-out, is killed with its namespaces.
    """
    # Byte code would be made for all of torch, of which hardly anything is imported.
    child = subprocess.Popen(
        [PROVE, *steps],
        env={**os.environ, "WORK": str(work), "PIP_NO_COMPILE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(timeout=TIMEOUT_S - 60)
        return child.returncode, said
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT_S)
def test_set_up_in_a_bare_system_is_complete(work: Path) -> None:
    if not Path("/etc/debian_version").exists():
        pytest.skip("no Debian and no Ubuntu, of which a bare system could be made")
    if (free := shutil.disk_usage(work).free / 1e9) < NEEDED_GB:
        pytest.skip(f"{free:.1f} GB are free in {work.parent}, and {NEEDED_GB} are needed")
    status, said = prove(work, "reach")
    if status and not in_ci():
        pytest.skip(said.strip())
    assert status == 0, said
    status, said = prove(work, "root", "provision", "check")
    assert status == 0, said

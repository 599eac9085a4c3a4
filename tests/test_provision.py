"""Set-up on a machine with nothing installed: in a bare system, and then what a user types."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.repeating import in_ci

PROVE = Path(__file__).resolve().parent / "vagrant" / "prove"
NEEDED_GB = 10.0
"""Of memory: the bare system with the lab in it has 3.5, or 7 where torch comes with CUDA."""
TIMEOUT_S = 900
# In memory, since what is thrown away needs no disk, and in a mount namespace, with which it goes
# however the proof ends.
IN_MEMORY = 'mount -t tmpfs -o size=9g,mode=755 tmpfs "$WORK" && exec "$@"'


def prove(work: Path, *steps: str) -> tuple[int, str]:
    """Call steps of the proof; returns the status and all that was said.

    Whatever still runs at the end, as after a time-out, is killed with its namespaces.
    """
    # Byte code would be made for all of torch, of which hardly anything is imported.
    child = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", IN_MEMORY, "sh", PROVE, *steps],
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
@pytest.mark.aside
@pytest.mark.timeout(TIMEOUT_S)
def test_set_up_in_a_bare_system_is_complete(tmp_path: Path) -> None:
    if not Path("/etc/debian_version").exists():
        pytest.skip("no Debian and no Ubuntu, of which a bare system could be made")
    if (free := psutil.virtual_memory().available / 1e9) < NEEDED_GB:
        pytest.skip(f"{free:.1f} GB of memory are free, and {NEEDED_GB} are needed")
    status, said = prove(tmp_path, "reach")
    if status and not in_ci():
        pytest.skip(said.strip())
    assert status == 0, said
    status, said = prove(tmp_path, "root", "provision", "check")
    assert status == 0, said

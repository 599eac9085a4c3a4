"""Files beside a policy that are named like optional modules of libraries: never imported by root.

pyarrow looks for pandas, rich for IPython, numba for cffi, and so on. The folder in which a user
works must not be where a process with privileges finds them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.guest import described, policy_source
from model.errors import UserError
from rl.policies.checking import PolicyError
from tests.emulation.typed import PROJECT

OPTIONAL = (
    "pandas", "IPython", "ipywidgets", "tornado", "orjson", "ujson", "uvloop", "cffi", "tbb",
    "ipykernel", "colorama", "win32api", "pygments_styles", "email_validator", "dotenv", "lxml",
    "pydot", "pygraphviz", "sympy_plotting", "cupy", "jax", "tensorflow", "intel_openmp", "gmpy2",
    "coverage_extra", "scipy_openblas", "bottleneck", "numexpr", "fsspec", "polars", "dask",
    "simplejson", "cchardet", "chardet", "brotli", "zstandard", "eventlet_extra", "gevent",
    "greenlet_extra", "sitecustomize", "usercustomize", "pydevd", "debugpy", "triton", "icc_rt",
    "random", "json", "socket", "yaml", "secrets",
)  # fmt: skip
"""What pyarrow, numba, pydantic, rich, click, networkx, torch, matplotlib and Python look for."""
POLICY = """
import os
from model.observation import Decision
from rl.policies.base import Policy
from helper_of_mine import SHARE
print("as", os.geteuid(), "may write" if os.access({marks!r}, os.F_OK) else "sees no file")
class Mine(Policy):
    def __init__(self, share=SHARE):
        self.share = share
    def decide(self, observation, task):
        return Decision(0, self.profile.max_rate_mbps)
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="concerns what root imports")


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy, its helper, and files that leave a mark when they are imported."""
    monkeypatch.chdir(tmp_path)
    marks = tmp_path / "marks"
    marks.touch()
    marks.chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    for name in OPTIONAL:
        (tmp_path / f"{name}.py").write_text(
            f"import os\nopen({str(marks)!r}, 'a').write('{name} %d\\n' % os.geteuid())\n"
        )
    (tmp_path / "mine.py").write_text(POLICY.format(marks=str(marks)))
    (tmp_path / "helper_of_mine.py").write_text("SHARE = 0.5\n")
    return tmp_path


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONSAFEPATH": "1",
             "LAB_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )  # fmt: skip


def marks(folder: Path) -> dict[str, set[str]]:
    """Uid → what it has imported."""
    found: dict[str, set[str]] = {}
    for line in (folder / "marks").read_text().splitlines():
        name, uid = line.split()
        found.setdefault(uid, set()).add(name)
    return found


@needs_root
@pytest.mark.parametrize(
    "words",
    [("run", "mini", "--policy", "mine:Mine", "--world", "simulator", "--slots", "5"),
     ("contest", "mini", "--policies", "mine:Mine,local", "--episodes", "1", "--slots", "5",
      "--jobs", "1")],
    ids=["run", "contest"],
)  # fmt: skip
def test_a_simulation_of_roots_runs_a_policy_without_root(
    beside: Path, words: tuple[str, ...]
) -> None:
    done = lab(*words, "--out", "out")
    assert done.returncode == 0, done.stderr
    assert not marks(beside)
    assert re.search(r"prints: as [1-9]\d+ sees no file", done.stderr), done.stderr


@needs_root
@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_emulation_imports_nothing_from_there_with_privileges(beside: Path) -> None:
    done = lab("run", "mini", "--policy", "mine:Mine", "--slots", "4", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "0" not in marks(beside)
    done = lab("report", *map(str, beside.glob("out/mini/*/*/*")))
    assert done.returncode == 0, done.stderr
    assert "0" not in marks(beside)


@needs_root
def test_what_a_guest_raises_is_told(beside: Path) -> None:
    (beside / "broken.py").write_text("raise ValueError('\\x1b[31mnot today')\n")
    (beside / "nothing.py").write_text("class Mine: pass\n")
    assert policy_source("broken:Mine") == beside / "broken.py"
    with pytest.raises(UserError, match=r"ValueError: \?\[31mnot today"):
        described("broken:Mine")
    with pytest.raises(UserError, match="Mine is not a rl"):
        described("nothing:Mine")
    with pytest.raises(UserError, match="has no Other"):
        described("mine:Other")
    assert described("mine:Mine").parameters == ("share",)


@needs_root
@pytest.mark.parametrize("way", ["os._exit(0)", "os.abort()", "raise SystemExit"])
def test_a_guest_that_ends_is_told_of(beside: Path, way: str) -> None:
    (beside / "gone.py").write_text(f"import os\n{way}\n")
    with pytest.raises((UserError, RuntimeError), match=r"its process has ended|SystemExit"):
        described("gone:Mine")


@needs_root
def test_a_guest_reads_no_secret_of_roots_and_has_no_network(beside: Path) -> None:
    secret = beside / "secret"
    secret.write_text("42")
    secret.chmod(0o600)
    (beside / "spy.py").write_text(
        "import os, socket\n"
        "from model.errors import UserError\n"
        f"found = [os.geteuid() == 0, os.access({str(secret)!r}, os.F_OK)]\n"
        "for attempt in (socket.if_nameindex, socket.socket, lambda: open('/proc/self/maps')):\n"
        "    try:\n"
        "        found.append(attempt())\n"
        "    except OSError as error:\n"
        "        found.append(error.errno)\n"
        "raise UserError(repr(found))\n"
    )
    with pytest.raises(PolicyError, match=r"UserError: \[False, False, 1, 1, 2\]"):
        described("spy:Mine")

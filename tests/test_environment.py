"""The lab's environment is its own: variables of others, missing homes, read-only places."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOSTILE = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "MATPLOTLIBRC": "/nowhere",
    "POLARS_MAX_THREADS": "0",
    "POLARS_FMT_MAX_ROWS": "x",
    "OMP_NUM_THREADS": "abc",
    "OPENBLAS_NUM_THREADS": "0",
    "RAYON_NUM_THREADS": "-1",
    "NUMBA_NUM_THREADS": "0",
    "NUMBA_DISABLE_JIT": "1",
    "NUMBA_CPU_NAME": "no-such-cpu",
    "NETWORKX_BACKEND_PRIORITY": "nonsense",
    "TORCH_LOGS": "nonsense",
    "WEB_CONCURRENCY": "x",
    "EVENTLET_HUB": "nonsense",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "nonsense",
    "PYTHONIOENCODING": "nonsense",
    "PYTHONMALLOC": "nonsense",
    "PYTHONINSPECT": "1",
    "PYTHONUTF8": "7",
    "PYTHONSTARTUP": "/nowhere",
    "GIT_DIR": "/nowhere",
}


def lab(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call ./lab as from another program's environment."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "PYTHON"))}
    return subprocess.run(
        [ROOT / "lab", *words],
        env={**kept, "LAB_VENV": sys.prefix, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_variables_of_other_programs_do_not_reach_a_verb() -> None:
    done = lab("figure", "--help", **HOSTILE)
    assert (done.returncode, done.stderr) == (0, "")
    done = lab("python", "-m", "emulation.run", "--help", **HOSTILE)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_second_name_of_a_run_has_the_same_environment() -> None:
    script = "import os; print(*sorted(os.environ))"
    seen = set(lab("python", "-c", script, **HOSTILE).stdout.split())
    assert not seen & {"MPLBACKEND", "POLARS_MAX_THREADS", "PYTHONWARNINGS", "NUMBA_NUM_THREADS"}
    assert "NUMBA_DISABLE_JIT" in seen  # a developer's: verbs drop it
    # Typed with the environment's own Python, it goes through ./lab all the same.
    typed = [sys.executable, "-m", "emulation.run", "no-such-scenario"]
    done = subprocess.run(
        typed,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LAB_VENV": sys.prefix, **{
            k: v for k, v in HOSTILE.items() if not k.startswith("PYTHON")
        }},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("lab: there is no scenario 'no-such-scenario'")
    assert done.stderr.count("\n") == 1


def test_what_is_meant_for_the_lab_arrives() -> None:
    meant = {"OMP_NUM_THREADS": "3", "NUMBA_CACHE_DIR": "/x", "PYTHONIOENCODING": "latin-1"}
    script = f"import os; print(*(os.environ[k] for k in {list(meant)}))"
    assert lab("python", "-c", script, **meant).stdout.split() == list(meant.values())
    assert lab("python", "-c", script.replace("3", "1"), NUMBA_CACHE_DIR="/x").returncode == 1


def test_programs_of_root_are_found_whatever_path_a_user_has() -> None:
    script = "import shutil; print(shutil.which('ip'), shutil.which('ovsdb-server'))"
    found = lab("python", "-c", script, PATH="/usr/bin:/bin").stdout
    assert found == lab("python", "-c", script, PATH="/usr/bin:/bin:/usr/sbin:/sbin").stdout


def test_the_commit_is_the_checkouts_whatever_a_hook_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from records.provenance import git_state

    here = git_state()
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
    assert git_state() == here


@pytest.mark.root
def test_a_user_without_name_home_or_folder_gets_a_private_cache(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for folder in tmp_path.parents[:-2]:
        folder.chmod(0o755)
    script = (
        "import os, rl.simulator as s, analysis; s.announce_compiling();"
        "print(os.environ['NUMBA_CACHE_DIR']); print(os.environ['MPLCONFIGDIR'])"
    )
    nobody = ["setpriv", "--reuid", "4242", "--regid", "4242", "--clear-groups"]
    variables = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*nobody, sys.executable, "-c", script],
        env=variables,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if "can't open" in done.stderr or "No module named" in done.stderr:
        pytest.skip("this checkout is not readable by others")
    assert done.returncode == 0, done.stderr
    private = tmp_path / "crowd-edge-lab-4242"
    assert all(line.startswith(f"{private}/") for line in done.stdout.splitlines())
    assert "NUMBA_CACHE_DIR names another" in done.stderr
    assert "compiling the simulator (once)" in done.stderr
    assert private.stat().st_mode & 0o777 == 0o700
    # A folder of another user is not trusted: what is in it would be executed.
    private.chmod(0o777)
    again = subprocess.run(
        [*nobody, sys.executable, "-c", "import rl.simulator as s; print(s.CACHED)"],
        env=variables, cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert again.stdout == "False\n"


def test_a_folder_that_cannot_be_written_takes_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    out = str(tmp_path / "file" / "below")
    words = ["contest", "mini", "--policies", "local", "--episodes", "1", "--slots", "2"]
    for verb in (words, ["run", "mini", "--world", "simulator", "--slots", "2"]):
        done = lab(*verb, "--out", out)
        assert done.returncode == 2
        lines = [line for line in done.stderr.splitlines() if line.startswith("lab: ")]
        assert len(lines) == 1
        assert "Traceback" not in done.stderr

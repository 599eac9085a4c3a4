"""Where compiled functions are kept: never those of other sources than the ones at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import config

from rl import simulator

ASK = "import rl.simulator, numba; print(numba.config.CACHE_DIR)"


def test_each_version_of_the_sources_has_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = simulator._cache_folder()
    changed = tmp_path / "kernel.py"
    changed.write_bytes((Path(simulator.__file__).parent / "kernel.py").read_bytes() + b"\n")
    others = [p for p in simulator._SOURCES if p.name != "kernel.py"]
    monkeypatch.setattr(simulator, "_SOURCES", (*others, changed))
    assert simulator._cache_folder().name != now.name


def test_numba_uses_it_and_so_do_child_processes() -> None:
    mine = Path(vars(config)["CACHE_DIR"])
    assert mine == simulator._cache_folder()
    child = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert Path(child.stdout.strip()) == mine


def test_a_folder_that_the_user_names_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    assert simulator._cache_folder().parent == Path("/somewhere")

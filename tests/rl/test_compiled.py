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
    now, _ = simulator._cache_folder()
    changed = tmp_path / "kernel.py"
    changed.write_bytes((Path(simulator.__file__).parent / "kernel.py").read_bytes() + b"\n")
    others = [p for p in simulator._SOURCES if p.name != "kernel.py"]
    monkeypatch.setattr(simulator, "_SOURCES", (*others, changed))
    then, _ = simulator._cache_folder()
    assert now is not None
    assert then is not None
    assert then.name != now.name


def test_numba_uses_it_and_so_do_child_processes() -> None:
    mine = Path(vars(config)["CACHE_DIR"])
    assert mine == simulator._cache_folder()[0]
    child = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert Path(child.stdout.strip()) == mine


def test_a_folder_that_the_user_names_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    folder, note = simulator._cache_folder()
    assert (folder and folder.parent, note) == (tmp_path / "mine", "")


def test_a_folder_that_cannot_be_written_gives_way_with_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "below"))
    folder, note = simulator._cache_folder()
    assert folder is not None
    assert tmp_path not in folder.parents
    assert "NUMBA_CACHE_DIR" in note
    assert str(folder.parent) in note


def test_the_first_simulation_says_that_it_compiles_and_says_it_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(simulator._ANNOUNCED, raising=False)
    monkeypatch.setattr(simulator, "_FOLDER", tmp_path)
    monkeypatch.setattr(simulator, "_NOTE", "")
    simulator.announce_compiling()
    simulator.announce_compiling()
    assert caplog.messages == ["compiling the simulator (once); this takes up to a minute or two"]
    monkeypatch.delenv(simulator._ANNOUNCED)
    (tmp_path / "kernel.advance-1.py311.nbi").touch()
    simulator.announce_compiling()
    assert len(caplog.messages) == 1

"""A policy of one's own: begun by a command, at home in every verb."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.new import class_of, new
from model.errors import UserError
from records.reader import find_results, open_result

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the policy ``shy_rule``, and with a file that is named like a library."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(new, ["policy", "shy_rule"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "--policy shy_rule:ShyRule" in done.output
    (tmp_path / "random.py").write_text("raise SystemExit('this is no library')\n")
    return tmp_path


def lab(folder: Path, *arguments: str) -> str:
    """Call the verbs as ``./lab`` does; the output."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_a_short_file_in_its_own_name(begun: Path) -> None:
    text = (begun / "shy_rule.py").read_text()
    assert "class ShyRule(Policy)" in text
    assert "MyPolicy" not in text + (begun / "test_shy_rule.py").read_text()
    assert len(text.splitlines()) < 80


def test_nothing_is_overwritten(begun: Path) -> None:
    (begun / "shy_rule.py").unlink()
    (begun / "test_shy_rule.py").write_text("mine")
    with pytest.raises(UserError, match=r"test_shy_rule\.py is there already"):
        CliRunner().invoke(new, ["policy", "shy_rule"], catch_exceptions=False)
    assert (begun / "test_shy_rule.py").read_text() == "mine"
    assert not (begun / "shy_rule.py").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Shy-Rule", "did you mean 'shy_rule'"),
        ("ShyRule", "did you mean 'shy_rule'"),
        ("../up", "cannot name"),
        ("class", "cannot name"),
        ("numpy", "is the name of a Python module"),
        ("secrets", "is the name of a Python module"),
        ("records", "is the name of a Python module"),
    ],
)
def test_a_bad_name_takes_a_line(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        class_of(name)
    assert "\n" not in str(caught.value)


def test_it_runs_in_the_simulator(begun: Path) -> None:
    lab(begun, "run", "mini", "--policy", "shy_rule:ShyRule", "--world", "simulator",
        "--param", "patience_s=0.5", "--out", "out")  # fmt: skip
    (folder,) = find_results(begun / "out")
    assert open_result(folder).manifest["policy_params"] == {"patience_s": 0.5}


@pytest.mark.slow
def test_it_enters_contests_and_its_test_passes(begun: Path) -> None:
    lab(begun, "contest", "mini", "--policies", "shy_rule:ShyRule,own-edge", "--episodes", "2",
        "--jobs", "1", "--out", "out")  # fmt: skip
    (table,) = json.loads((begun / "out" / "contest.json").read_text())
    sees = {row["policy"]: row["sees"] for row in table["rows"]}
    assert sees["shy_rule:ShyRule"] == "observation"
    (begun / "random.py").unlink()  # pytest puts a test's folder first
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shy_rule.py"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    subprocess.run(command, cwd=begun, env=environment, check=True)


@pytest.mark.ovs
@pytest.mark.slow
def test_it_runs_on_devices(begun: Path) -> None:
    for folder in (begun, begun.parent, begun.parent.parent):
        folder.chmod(0o755)  # devices run as nobody that may enter a folder of the tester's
    lab(begun, "run", "mini", "--policy", "shy_rule:ShyRule", "--slots", "8", "--out", "out")
    (folder,) = find_results(begun / "out")
    result = open_result(folder)
    assert result.manifest["complete"] is True
    assert result.table("tasks")["target"].drop_null().to_pylist()

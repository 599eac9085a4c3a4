"""Mistakes in a user's policy that an emulation names before it starts anything."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from cli.main import main
from emulation import run

SOURCE = """
import os
from rl.policies.base import Policy
if os.geteuid() == 0:
    raise RuntimeError("imported by root")
class Careful(Policy):
    def __init__(self, share: float = 0.5):
        self.share = share
class Gathers(Policy):
    needs = "state"
class Unmade(Policy):
    def __init__(self):
        raise KeyError("x")
class Other:
    pass
"""
MISTAKES = {
    "of_mine:Carefull": r"of_mine has no Carefull; did you mean 'Careful'\?",
    "of_mine:careful": r"of_mine has no careful; did you mean 'Careful'\?",
    "of_mine:Zzzzzz": r"of_mine has no Zzzzzz",
    "of_mine:Other": "Other is not a rl.policies.base.Policy",
    "of_mine:Gathers": "decides by the network's hidden state",
    "of_mine:Unmade": r"__init__: KeyError: 'x' \(of_mine.py, line 13\)",
    "of_yours:Mine": "there is no such module here",
    "of_mine:Careful --param shar=1": r"has no parameter 'shar'; did you mean 'share'\?",
    "of_mine:Careful --param share=much": "share = 'much': must be a finite number",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "of_mine.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)

    def never(*_: object) -> None:
        raise AssertionError("the emulation would begin")

    monkeypatch.setattr(run, "require_machine", never)
    monkeypatch.setattr(run, "run_session", never)
    return tmp_path


@pytest.mark.parametrize("words", list(MISTAKES))
def test_a_mistake_in_a_policy_is_named_before_anything_starts(
    folder: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "mini", "--out", str(folder / "out"), "--policy", *words.split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("lab: policy '")
    assert re.search(MISTAKES[words], lines[0]), lines[0]
    assert not (folder / "out").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="the policy refuses root")
def test_a_right_one_goes_on(folder: Path) -> None:
    with pytest.raises(AssertionError, match="would begin"):
        main(["run", "mini", "--policy", "of_mine:Careful"])

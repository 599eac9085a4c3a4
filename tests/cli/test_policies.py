"""`./lab policies`: all of them, one of them, one of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main
from rl.policies import names

OWN = """
from model.observation import Decision
from rl.policies.base import Policy


class Mine(Policy):
    def __init__(self, *, patience_s: float = 1.0):
        self.patience_s = patience_s

    def decide(self, observation, task):
        return Decision(0, 1.0)
"""


def test_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policies", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert tuple(found) == names()
    assert found["greedy"]["parameters"][1] == {
        "name": "memory_s", "kind": "float", "default": 30.0,
        "meaning": "time constant with which experienced waits are forgotten, s.",
    }  # fmt: skip
    assert main(["policies"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n{name}" in f"\n{shown}" for name in names())


def test_one_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policies", "m2ppo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["scenario"] for one in found["checkpoints"]} >= {"case1", "case2", "case3"}
    assert main(["policies", "m2ppo"]) == 0
    assert "runs in: emulation and simulator" in capsys.readouterr().out


def test_a_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_rule.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert main(["policies", "my_rule:Mine", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == [{"name": "patience_s"}]
    assert found["needs"] == "observation"


def test_a_name_that_does_not_exist_takes_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policies", "gredy"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "did you mean 'greedy'" in said.err

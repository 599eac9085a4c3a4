"""Shells complete ./lab as it is typed, with a path in front and nothing on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import COMPLETE, main
from emulation.completions import scenario_keys
from model.scenario.load import load_scenario

PROJECT = Path(__file__).resolve().parents[2]

# What each shell does when the tab key is pressed behind WORDS, as far as that needs no keyboard.
PRESS = {
    "bash": "COMP_WORDS=({words}) COMP_CWORD={count}; _lab_completion {first}; "
    'echo "${{COMPREPLY[@]}}"',
    "zsh": "words=({words}) CURRENT={position}; compadd() {{ print -l $completions $@[-1] }}; "
    "_describe() {{ print -l $completions_with_descriptions }}; _lab_completion",
    "fish": "complete -C '{words}'",
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("./lab comp", ["compare", "completion"]),
        ("./lab run cas", ["case1", "case3"]),
        ("./lab run mini --set network.e2d.ra", ["network.e2d.rate_mbps="]),
        ("./lab run mini --policy greedy --param me", ["memory_s="]),
    ],
)
def test_a_shell_offers_what_there_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    shell: str,
    typed: str,
    offered: list[str],
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    entry = tmp_path / "lab"
    entry.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n')
    entry.chmod(0o755)
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    first, *rest = typed.split()
    press = PRESS[shell].format(words=typed, first=first, count=len(rest), position=len(rest) + 1)
    before = "compdef() { : }\n" if shell == "zsh" else ""
    done = subprocess.run(
        [program, "-c", f"{before}{script}\n{press}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = done.stdout.replace(":", " ").split()
    assert set(offered) <= set(found), done.stderr
    assert "check" not in found


def test_another_shell_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def offered(shell: str, *words: str) -> list[str]:
    """What a shell is told to offer for the last of some words, as it splits them."""
    done = subprocess.run(
        [sys.executable, "-m", "cli"],
        env={
            **os.environ, "PYTHONPATH": str(PROJECT), COMPLETE: f"{shell}_complete",
            "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.split()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # bash takes `=` for a word of its own, and completes what is behind it.
        (("./lab", "run", "mini", "--set", "cloud.mode", "="), ["none", "overflow", "target"]),
        (("./lab", "run", "mini", "--set", "cloud.mode", "=", "ta"), ["target"]),
        (("./lab", "run", "--set", "cloud.mode", "=", "target", "mi"), ["mini"]),
        (("./lab", "run", "mini", "--policy", "greedy", "--param", "pri"), ["price="]),
        (("./lab", "run", "case1", "--param", "ch"), ["checkpoint=", "choice="]),
        (("./lab", "run", "mini", "--policy", "no-such", "--param", "x"), []),
        (("./lab", "run", "mini", "--policy", "my:Own", "--param", "x"), []),
        (("./lab", "run", "no-such", "--set", "workload.arr"), ["workload.arrival="]),
        (("./lab", "contest", "mini", "--set", "decision.al"), ["decision.alpha="]),
        (("./lab", "trace", "mini", "--set", "network.base_stations.0.e"),
         ["network.base_stations.0.edge="]),
        (("./lab", "train", "mini", "--algo", "mappo", "--set", "options.cl"), ["options.clip="]),
        (("./lab", "policies", "gre"), ["greedy"]),
    ],
)  # fmt: skip
def test_keys_are_those_of_what_is_named_on_the_line(
    words: tuple[str, ...], expected: list[str]
) -> None:
    assert offered("bash", *words) == expected


def test_every_key_of_a_scenario_is_one_that_set_takes() -> None:
    scenario = load_scenario("livecast-mini")
    dumped: Any = scenario.model_dump(mode="json")
    for key, _ in scenario_keys(scenario):
        value: Any = dumped
        for part in key.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        if value is not None and key not in ("name", "description"):
            assert load_scenario("livecast-mini", {key: value}, text_is_yaml=False) == scenario

"""Shells complete ./lab as it is typed, with a path in front and nothing on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main

PROJECT = Path(__file__).resolve().parents[2]

# What each shell does when the tab key is pressed behind WORDS, as far as that needs no keyboard.
PRESS = {
    "bash": "COMP_WORDS=({words}) COMP_CWORD={count}; _lab_completion {first}; "
    'echo "${{COMPREPLY[@]}}"',
    "zsh": "words=({words}) CURRENT={position}; compadd() {{ print -l $completions }}; "
    "_describe() {{ print -l $completions_with_descriptions }}; _lab_completion",
    "fish": "complete -C '{words}'",
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "offered"),
    [("./lab comp", ["compare", "completion"]), ("./lab run cas", ["case1", "case3"])],
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

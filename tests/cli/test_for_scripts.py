"""What scripts rely on: JSON alone on standard output, and no colours where they are not wanted."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import main

ROOT = Path(__file__).resolve().parents[2]
_COLOUR = re.compile(r"\x1b\[(?:\d+;)*[39]\d[;m]")


def on_a_terminal(**environment: str) -> str:
    """What ``./lab check`` shows on a terminal."""
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "check"],
        cwd=ROOT,
        env={**clean, "TERM": "xterm-256color", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end was closed
                break
            if not part:
                break
            shown += part
    os.close(ours)
    return shown.decode()


def test_no_color_is_honoured() -> None:
    assert _COLOUR.search(on_a_terminal())
    plain = on_a_terminal(NO_COLOR="1")
    assert "privilege" in plain
    assert not _COLOUR.search(plain)


@pytest.mark.slow
def test_contest_as_json_is_what_its_file_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["contest", "mini", "--policies", "own-edge,local", "--episodes", "1",
                 "--slots", "10", "--jobs", "1", "--out", str(tmp_path), "--json"]  # fmt: skip
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert json.loads(told) == json.loads((tmp_path / "contest.json").read_text("utf-8"))
    assert {row["label"] for row in json.loads(told)[0]["rows"]} == {"own-edge", "local"}

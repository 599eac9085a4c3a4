"""What scripts rely on: JSON alone on standard output, and no colours where they are not wanted."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from cli.main import main
from records.console import Screen, print_table, styled
from records.provenance import ROOT as CHECKOUT
from records.provenance import as_typed, command_text
from records.streams import say, say_json, stdout_for_json
from tests.analysis.results import simulated

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


def test_numbers_that_json_lacks_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": (1.5, "x")})
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == {"a": None, "b": [None, {"c": None}], "d": [1.5, "x"]}


def test_what_children_print_meanwhile_goes_to_standard_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with stdout_for_json():
        say("of this process")
        subprocess.run(["echo", "of a child"], check=True)
    say_json([1])
    said = capfd.readouterr()
    assert json.loads(said.out) == [1]
    assert "of a child" in said.err
    with pytest.raises(ZeroDivisionError), stdout_for_json():
        raise ZeroDivisionError
    subprocess.run(["echo", "back"], check=True)
    assert capfd.readouterr().out == "back\n"


def run(*arguments: str) -> Any:
    """Run a verb in a process of its own; what its standard output holds, which is JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=pytest.fail)


@pytest.mark.slow
def test_a_run_is_one_object(tmp_path: Path) -> None:
    found = run("run", "mini", "--world", "simulator", "--slots", "10", "--json",
                "--out", str(tmp_path))  # fmt: skip
    folder = Path(found["folder"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert folder.is_absolute()
    assert (found["status"], found["exit_status"], found["verdict"]) == ("done", 0, None)
    assert found["summary"]["unit_delay"] == found["unit_delay"] > 0
    assert found["id"] == manifest["run_id"]
    assert shlex.split(manifest["command"])[1:] == manifest["command_line"][1:]


@pytest.mark.slow
def test_bad_input_of_a_run_leaves_standard_output_empty(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "nowhere", "--world", "simulator", "--json"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


@pytest.mark.slow
def test_a_training_ends_with_its_checkpoint(tmp_path: Path) -> None:
    found = run("train", "mini", "--algo", "mappo", "--slots", "20", "--set", "envs=2", "--set",
                "chunk_slots=10", "--set", "evaluation_episodes=1", "--json",
                "--out", str(tmp_path))  # fmt: skip
    (one,) = found["runs"]
    assert found["finished"] is True
    assert Path(one["checkpoint"]).is_file()
    assert one["best"]["unit_delay"] > 0
    options = run("train", "--algo", "mappo", "--options", "--json")
    assert "options.learning_rate" in {option["key"] for option in options}


@pytest.mark.slow
def test_a_sweep_says_what_became_of_each_cell(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "run:\n  a: {scenarios: [mini], policies: [local], seeds: [1, 2], set: {slots: 10}}\n"
    )
    typed = ("sweep", str(file), "--out", str(tmp_path / "out"), "--json")
    assert run(*typed, "--dry-run")["counts"] == {"done": 0, "failed": 0, "open": 2}
    found = run(*typed)
    assert found["counts"] == {"done": 2, "failed": 0, "open": 0}
    assert [cell["status"] for cell in found["cells"]] == ["done", "done"]
    rows = run(*typed, "--query", "SELECT seed, now() AS t FROM cells ORDER BY seed")
    assert [row["seed"] for row in rows] == sorted(row["seed"] for row in rows)
    assert all(isinstance(row["t"], str) for row in rows)


@pytest.mark.slow
def test_table3_is_rows(tmp_path: Path) -> None:
    simulated(tmp_path / "r", "local", 1)
    found = run("table3", str(tmp_path / "r"), "--out", str(tmp_path / "t"), "--json")
    assert {row["policy"] for row in found["rows"]} == {"local"}
    assert all(Path(path).is_file() for path in found["files"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([str(CHECKOUT / "cli/__main__.py"), "run", "a b", "x='$y'"],
         """./lab run 'a b' 'x='"'"'$y'"'"''"""),
        ([str(CHECKOUT / "emulation/run.py"), "mini"], "python -m emulation.run mini"),
        (["my_script.py", "1"], "my_script.py 1"),
        ([], ""),
    ],
)  # fmt: skip
def test_a_recorded_command_can_be_pasted(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str
) -> None:
    monkeypatch.chdir(CHECKOUT)
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert command_text(arguments) == text
    assert shlex.split(text) == as_typed(arguments)


def test_elsewhere_a_recorded_command_names_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [str(CHECKOUT / "cli/__main__.py"), "check"]
    assert as_typed(arguments) == [str(CHECKOUT / "lab"), "check"]


def _table() -> Table:
    table = Table(box=None)
    for heading in ("policy", "UD: IQM [95 %]", "ACCESS, s", "BACKBONE, s"):
        table.add_column(heading, overflow="fold")
    table.add_row("own-edge", "12345.678 [12000.123, 13000.456]", "0.1234", styled("9876.5", "red"))
    return table


@pytest.mark.parametrize("width", [20, 30, 45, 80])
def test_a_table_breaks_no_number(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Screen(width=width), _table())
    words = capsys.readouterr().out.split()
    assert {"12345.678", "[12000.123,", "13000.456]", "0.1234", "9876.5"} <= set(words)


def test_a_table_that_is_too_wide_says_what_each_number_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(Screen(width=30), _table())
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "own-edge"
    assert "  BACKBONE, s: 9876.5" in shown

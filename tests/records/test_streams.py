"""Printing never ends or spoils a run: encodings, closed pipes, full disks, text of others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from records.console import Screen, styled
from records.streams import one_line, printable

ROOT = Path(__file__).parents[2]
NASTY = "results/[bold]x[/] [red]:bug: [/"


def start(script: str, **environment: str) -> subprocess.Popen[bytes]:
    """Begin a program over guarded streams."""
    begin = "from records.streams import *; from records import streams\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def printed(script: str, **environment: str) -> tuple[int, bytes, bytes]:
    process = start(script, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"Sum E - <= u\n"),
        ("latin-1", b"Sum E - <= \xfc\n"),
        ("utf-8", "ΣE – ≤ ü\n".encode()),
    ],
)
def test_characters_that_an_encoding_lacks_are_written_otherwise(
    encoding: str, expected: bytes
) -> None:
    script = "run_guarded(lambda: say('ΣE – ≤ ü'))"
    assert printed(script, PYTHONIOENCODING=encoding) == (0, expected, b"")


def test_paths_that_are_no_text_are_written_as_they_are() -> None:
    status, out, _ = printed("run_guarded(lambda: say('a\\udcff'))")
    assert (status, out) == (0, b"a\xff\n")


def test_json_loses_nothing_in_ascii() -> None:
    status, out, _ = printed("run_guarded(lambda: say_json({'a': '–'}))", PYTHONIOENCODING="ascii")
    assert (status, json.loads(out)) == (0, {"a": "–"})
    assert out.isascii()


def test_a_reader_that_goes_away_does_not_end_the_work(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "def work():\n"
        "    say('first')\n"
        "    sys.stdin.readline()\n"
        "    for k in range(20000): say('more')\n"
        f"    pathlib.Path({str(tmp_path / 'result')!r}).write_text(str(reader_is_gone()))\n"
        "run_guarded(work)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", "from records.streams import *\n" + script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"first\n"
    process.stdout.close()
    process.stdin.write(b"go on\n")
    process.stdin.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0
    assert (tmp_path / "result").read_text() == "True"


@pytest.mark.parametrize(("status", "ends"), [(0, 1), (3, 3)])
def test_a_full_disk_takes_one_line_after_the_work(status: int, ends: int) -> None:
    script = f"run_guarded(lambda: (say('a'), print('b' * 99999), say('c')) and {status})"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from records.streams import *\n" + script],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == ends
    assert done.stderr == b"lab: standard output cannot be written: No space left on device\n"


def test_no_file_takes_the_place_of_a_closed_standard_output(tmp_path: Path) -> None:
    script = f"run_guarded(lambda: (open({str(tmp_path / 'a')!r}, 'w').fileno() > 2) - 1)"
    process = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c"]
    done = subprocess.run(
        [*process, "from records.streams import *\n" + script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\r\u202ec\nd") == "a\\x1b[31mb\\x0d\\u202ec\nd"
    assert one_line(Path("a\nb")) == "a\\nb"


def test_strings_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(width=120)
    table = Table(NASTY, title=NASTY)
    table.add_row(NASTY)
    screen.print(NASTY)
    screen.print(table)
    screen.print(styled(NASTY, "bold"), "\x1b[2J")
    shown = capsys.readouterr().out
    assert shown.count(NASTY) == 5
    assert "\x1b" not in shown

"""`./lab chaos` as typed: what it can do, and what it says of mistakes, without a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from experiments.chaos.fault import all_faults
from tests.commands import finish

ROOT = Path(__file__).resolve().parents[2]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return finish([sys.executable, "-m", "cli", "chaos", *arguments], cwd=ROOT)


def test_every_fault_is_listed() -> None:
    listed = lab("--list")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(all_faults())


def test_mistakes_take_a_line() -> None:
    for arguments, says in (
        (("--fault", "memory-presure"), "did you mean 'memory-pressure'"),
        (("--slots", "9"), "--slots is for --soak"),
    ):
        done = lab(*arguments)
        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.count("\n") == 1

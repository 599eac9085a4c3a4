"""What is typed often is answered at once: its CPU time, as a multiple of Python's own start."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRIES = 5
MOST = 8.0
"""Python's start takes 20 to 60 ms on the machines that this was tried on; 0.4 s are 8 of 50 ms."""
MOST_COMPLETING = 6.0
"""A shell waits for it at every press of TAB: 0.3 s, of 50 ms."""
HEAVY = ("numpy", "numba", "scipy", "torch", "pyarrow", "pydantic", "networkx", "polars")


def _cpu_s(*words: str, **variables: str) -> float:
    """CPU time of a Python process that ends well, the least of some."""
    found = []
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env={**os.environ, **variables}, check=False,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


@pytest.fixture(scope="module")
def start_s() -> float:
    return _cpu_s("-c", "pass")


@pytest.mark.parametrize("verb", ["run", "contest", "results", "policies", "compare"])
def test_help_of_a_verb(verb: str, start_s: float) -> None:
    assert _cpu_s("-m", "cli", verb, "--help") < MOST * start_s


@pytest.mark.parametrize("line", ["lab con", "lab run ca", "lab run --po"])
def test_completing(line: str, start_s: float) -> None:
    last = str(line.count(" "))
    words = {"_LAB_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": last}
    assert _cpu_s("-m", "cli", **words) < MOST_COMPLETING * start_s


@pytest.mark.parametrize("verb", ["run", "contest", "results", "policies"])
def test_help_of_a_verb_loads_nothing_heavy(verb: str) -> None:
    script = (
        "import sys\nfrom cli.main import main\n"
        f"main([{verb!r}, '--help'])\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"

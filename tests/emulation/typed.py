"""The project's Python as a user types it, and runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent


def run_lab(scenario: str | Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m emulation.run`` to its end; the status is for who asks to look at."""
    return run_python("-m", "emulation.run", str(scenario), "--out", str(out), *arguments)


def run_python(*words: str) -> subprocess.CompletedProcess[str]:
    """``python WORDS`` in the project's folder, to its end."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=PROJECT,
        env={**os.environ, "LAB_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@contextmanager
def started_lab(
    scenario: str | Path, out: Path, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """``python -m emulation.run`` under way; it is interrupted at the end if it still is."""
    child = subprocess.Popen(
        [sys.executable, "-m", "emulation.run", str(scenario), "--out", str(out), *arguments],
        cwd=PROJECT,
        env={**os.environ, "LAB_VENV": sys.prefix},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        child.communicate(timeout=60)

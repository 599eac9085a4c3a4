"""The project's Python as a user types it, and runs."""

from __future__ import annotations

import os
import subprocess
import sys
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

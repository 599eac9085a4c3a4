"""A run as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent


def run_lab(scenario: str | Path, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m emulation.run`` to its end; the status is for who asks to look at."""
    return subprocess.run(
        [sys.executable, "-m", "emulation.run", str(scenario), "--out", str(out), *arguments],
        cwd=PROJECT,
        env={**os.environ, "LAB_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

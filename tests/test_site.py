"""The documentation as a site: complete, and without a link that leads nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli import document

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_of_all_options_is_current() -> None:
    # In a process of its own: click remembers how a command was asked for help before.
    script = "import sys; from cli import document; sys.stdout.write(document.document())"
    made = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    kept = document.PAGE.read_text("utf-8")
    assert made.stdout.decode() == kept, "call: ./lab python -m cli.document"


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed (extra: docs)")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert "tutorial.html" in start
    # Whoever reads a built site tells nobody: nothing is fetched from elsewhere.
    fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)"', start)
    assert [address for address in fetched if "canonical" not in address] == []

"""Scenario files in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.model.complaining import Writer


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.chdir(tmp_path)

    def write_file(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write_file

"""What scenario files with mistakes are answered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model.errors import ScenarioError
from model.scenario.load import load_scenario

Writer = Callable[..., Path]
"""Writes a file: ``write(text, name)``."""


def complaint(path: object, overrides: dict[str, object] | None = None) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, overrides)  # type: ignore[arg-type]
    return str(caught.value)

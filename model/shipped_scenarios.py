"""Scenarios that come with the lab; imports nothing, so that a shell can complete them at once."""

from __future__ import annotations

from pathlib import Path

SCENARIO_FOLDER = Path(__file__).resolve().parents[1] / "scenarios"


def scenario_names(folder: Path = SCENARIO_FOLDER) -> tuple[str, ...]:
    """Return the names of the scenarios that come with the lab, in order."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))

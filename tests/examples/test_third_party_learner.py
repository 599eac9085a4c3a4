"""A learner of another library trains on the environment as it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "third_party_learner.py"


@pytest.mark.slow
def test_it_learns_something() -> None:
    pytest.importorskip(
        "stable_baselines3", reason="stable-baselines3 is not installed (extra: examples)"
    )
    spec = importlib.util.spec_from_file_location("third_party_learner", EXAMPLE)
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    before, after = example.main("case3", 40_000)
    assert after < before

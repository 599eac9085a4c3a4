"""Learners of other libraries train on the environment as it is, where they are installed."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def example(name: str, *needs: str) -> ModuleType:
    for library in needs:
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} is not installed; docs/learning.md says how")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stable_baselines3_learns_something() -> None:
    before, after = example("learn_sb3", "stable_baselines3", "supersuit").main("case3", 40_000)
    assert after < before


def test_torchrl_trains() -> None:
    costs = example("learn_torchrl", "torchrl").main("mini", 3)
    assert len(costs) == 3
    assert all(math.isfinite(cost) and cost > 0.0 for cost in costs)


def test_benchmarl_trains() -> None:
    assert example("learn_benchmarl", "benchmarl").main("mini", 2) == 240


def test_rllib_trains() -> None:
    returns = example("learn_rllib", "ray", "tree", "lz4", "pandas").main("mini", 2)
    assert all(math.isfinite(value) and value < 0.0 for value in returns)

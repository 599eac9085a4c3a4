"""Results that several tests read; made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from tests.analysis.results import simulated


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two policies in two episodes, simulated."""
    root = tmp_path_factory.mktemp("results")
    for policy in ("own-edge", "self-biased"):
        for seed in (1, 2):
            simulated(root, policy, seed)
    return root


@pytest.fixture(scope="session")
def one(results: Path) -> Path:
    """A single result."""
    return next((results / "mini" / "own-edge" / "seed1").iterdir())


@pytest.fixture(autouse=True)
def _no_figure_stays_open() -> Iterator[None]:
    """Figures that a test looked at and did not save."""
    yield
    plt.close("all")

"""Fig. 11: memory usage by kind of node."""

from __future__ import annotations

from analysis.figures import Source
from analysis.figures.prototype import KINDS, bars
from analysis.style import Drawing


def draw(source: Source) -> Drawing:
    """Of all emulations of real work that can be used."""
    return bars(source, "memory per node (MB)", {"": lambda p: p.memory_mb}, KINDS)

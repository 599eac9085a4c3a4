"""Fig. 8: average delay of transcoding by where it is done."""

from __future__ import annotations

from analysis.figures import Source
from analysis.figures.prototype import bars
from analysis.style import Drawing


def draw(source: Source) -> Drawing:
    """Of all emulations of real work that can be used."""
    return bars(source, "delay E, mean (s)", {"": lambda p: p.delay_s})

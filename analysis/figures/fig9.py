"""Fig. 9: average throughput, clips and results in and out, by role."""

from __future__ import annotations

from dataclasses import replace

from analysis.figures import Source
from analysis.figures.prototype import bars, panels_of, traffic_changes
from analysis.style import Drawing


def draw(source: Source) -> Drawing:
    """Of all emulations of real work that can be used; says how much less traffic there is."""
    parts = {"in": lambda p: p.in_mbps, "out": lambda p: p.out_mbps}
    drawing = bars(source, "throughput per node (Mbps)", parts)
    changes = [line for panel in panels_of(source) for line in traffic_changes(panel)]
    return replace(drawing, said=(*changes, *drawing.said))

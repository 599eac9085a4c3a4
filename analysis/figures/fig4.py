"""Fig. 4: unit delay in test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.collection import Collection, Group
from analysis.figures import Source
from analysis.figures.panels import grid, log_if_wide, reach, titled
from analysis.paper import agreement, table3
from analysis.style import GREY, WORLDS, Drawing, legend_below
from metrics.summary import Summary


def unit_delay(summary: Summary) -> float:
    """UD, s per MB."""
    return summary.unit_delay


def draw(source: Source) -> Drawing:
    """Of all results that can be used."""
    return draw_results(source.results)


def draw_results(found: Collection) -> Drawing:
    """Every episode a dot; bars: interquartile mean with 95 % interval; diamonds: the paper's."""
    figure, axes = grid(len(found.panels))
    said: list[str] = []
    rows: list[dict[str, object]] = []
    for axis, panel in zip(axes, found.panels, strict=True):
        _draw_panel(axis, panel, rows)
        first = panel[0]
        if first.scenario == first.case:
            ours = {g.policy: g.estimate(unit_delay).value for g in panel}
            where = f"{first.case}, {WORLDS[first.world]}, T = {first.duration_s:g} s: UD"
            said += agreement(where, ours, table3(first.case, "ad"))
    for axis in axes[::3]:
        axis.set_ylabel("unit delay UD (s/MB)")
    legend_below(figure, axes)
    return Drawing(figure, pl.DataFrame(rows), (*said, *found.said))


def _draw_panel(axis: Any, panel: Sequence[Group], rows: list[dict[str, object]]) -> None:
    first, values = panel[0], []
    theirs = table3(first.case, "ad") if first.scenario == first.case else {}
    for k, group in enumerate(panel):
        each, figure = group.values(unit_delay), group.estimate(unit_delay)
        colour, marker = group.look.colour, group.look.marker
        axis.scatter([k - 0.18] * len(each), each, s=10, color=colour, alpha=0.5, linewidths=0)
        below, above = reach(figure)
        axis.errorbar([k], [figure.value], [[below], [above]], fmt=marker, color=colour, ms=6,
                      capsize=3, lw=1.4)  # fmt: skip
        paper = theirs.get(group.policy)
        if paper is not None:
            axis.plot(k + 0.22, paper, "D", mfc="none", color=GREY, ms=6, label="paper, Table III")
        values += [*each, figure.value, *([paper] if paper is not None else [])]
        rows += [
            {"world": group.world, "scenario": group.scenario, "duration_s": group.duration_s,
             "policy": group.policy, "valid": run.valid, "seed": run.seed,
             "checkpoint": run.checkpoint, "unit_delay_s_per_mb": run.summary.unit_delay}
            for run in group.runs
        ]  # fmt: skip
    log_if_wide(axis, values)
    labels = [g.look.label + g.mark for g in panel]
    axis.set_xticks(range(len(panel)), labels, rotation=35, ha="right")
    axis.set(title=titled(panel), xlim=(-0.6, len(panel) - 0.4))
    axis.grid(visible=False, axis="x")

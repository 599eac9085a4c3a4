"""Fig. 6: load rate Q/F by kind of node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.collection import Collection, Group, Metric
from analysis.figures import Source
from analysis.figures.panels import grid, reach, symlog_if_wide, titled
from analysis.style import NODE_KINDS, WORLDS, Drawing, legend_below
from metrics.summary import NAN, Summary
from model.network import UNIT_KINDS


def node_load(kind: str) -> Metric:
    """Mean Q_u/F_u of the units of a kind, s; NaN where there is none."""

    def load(summary: Summary) -> float:
        return summary.node_load.get(kind, NAN)

    return load


def draw(source: Source) -> Drawing:
    """Of all results that can be used."""
    return draw_results(source.results)


def draw_results(found: Collection) -> Drawing:
    """Bars: interquartile mean over episodes with 95 % interval."""
    figure, axes = grid(len(found.panels))
    rows: list[dict[str, object]] = []
    said: list[str] = []
    for axis, panel in zip(axes, found.panels, strict=True):
        _draw_panel(axis, panel, rows)
        least = min(panel, key=lambda g: g.estimate(node_load("device")).value)
        said.append(
            f"{panel[0].scenario}, {WORLDS[panel[0].world]}: smallest load of devices: "
            f"{least.look.label}, {least.estimate(node_load('device')).value:.3f} s."
        )
    for axis in axes[::3]:
        axis.set_ylabel("load rate Q/F (s)")
    legend_below(figure, axes)
    return Drawing(figure, pl.DataFrame(rows), (*said, *found.said))


def _draw_panel(axis: Any, panel: Sequence[Group], rows: list[dict[str, object]]) -> None:
    present = [
        k for k in UNIT_KINDS if any(k in r.summary.node_load for g in panel for r in g.runs)
    ]
    width, values = 0.8 / len(present), []
    for j, kind in enumerate(present):
        figures = [group.estimate(node_load(kind)) for group in panel]
        bars = [reach(f) for f in figures]
        at = [k - 0.4 + (j + 0.5) * width for k in range(len(panel))]
        axis.bar(at, [f.value for f in figures], 0.92 * width, color=NODE_KINDS[kind].colour,
                 label=NODE_KINDS[kind].label, yerr=list(zip(*bars, strict=True)), capsize=2,
                 error_kw={"lw": 1})  # fmt: skip
        values += [f.value for f in figures]
        rows += [
            {"world": group.world, "scenario": group.scenario, "duration_s": group.duration_s,
             "policy": group.policy, "valid": not group.mark, "kind": kind,
             "load_s": f.value, "low": f.low, "high": f.high, "runs": len(group.runs)}
            for group, f in zip(panel, figures, strict=True)
        ]  # fmt: skip
    # Loads of an unstable policy are a thousand times those of the others.
    symlog_if_wide(axis, values)
    labels = [g.look.label + g.mark for g in panel]
    axis.set_xticks(range(len(panel)), labels, rotation=35, ha="right")
    axis.set_title(titled(panel))
    axis.grid(visible=False, axis="x")

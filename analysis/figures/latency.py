"""How long devices take to decide, real time, in emulations."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from analysis.collection import Group
from analysis.figures import Source
from analysis.figures.panels import grid, plain_numbers, titled
from analysis.style import Drawing, legend_below
from model.errors import UserError

QUANTILES = (("decision_p50_s", "median", "o"), ("decision_p99_s", "99 %", "^"))


def draw(source: Source) -> Drawing:
    """A dot a device: median and 99 % of the time in which its policy decided on a task."""
    found = source.results
    panels = [p for p in found.panels if p[0].world == "emulation" and any(map(_devices, p))]
    if not panels:
        raise UserError("decision latency is measured by the devices of emulations; there is none")
    figure, axes = grid(len(panels))
    rows: list[dict[str, Any]] = []
    said: list[str] = []
    for axis, panel in zip(axes, panels, strict=True):
        random = np.random.default_rng(0)
        for k, group in enumerate(panel):
            mine = _devices(group)
            rows += mine
            for j, (key, _, marker) in enumerate(QUANTILES):
                values = np.array([1e3 * r[key] for r in mine])
                at = k - 0.18 + 0.36 * j + random.uniform(-0.08, 0.08, len(values))
                axis.plot(at, values, marker, color=group.look.colour, ms=3.5, alpha=0.6, mew=0)
            if mine:
                said.append(_sentence(group, mine))
        axis.set_yscale("log")
        plain_numbers(axis.yaxis)
        labels = [g.look.label + g.mark for g in panel]
        axis.set_xticks(range(len(panel)), labels, rotation=35, ha="right")
        axis.set(title=titled(panel), xlim=(-0.6, len(panel) - 0.4))
    axes[0].set_ylabel("time to decide (real ms)")
    for _, label, marker in QUANTILES:
        axes[0].plot([], [], marker, color="grey", ms=4, label=f"{label}, by device")
    legend_below(figure, axes)
    return Drawing(figure, pl.DataFrame(rows), (*said, *found.said))


def _devices(group: Group) -> list[dict[str, Any]]:
    """What each device counted of its decisions, in every run."""
    rows = []
    for run in group.runs:
        for name, counters in run.result.manifest.get("nodes", {}).items():
            if counters.get("decision_p50_s") is not None:
                rows.append(
                    {
                        "scenario": group.scenario,
                        "policy": group.policy,
                        "seed": run.seed,
                        "valid": run.valid,
                        "device": name,
                        **{k: counters[k] for k in ("decisions", *(q[0] for q in QUANTILES))},
                    }
                )
    return rows


def _sentence(group: Group, rows: list[dict[str, Any]]) -> str:
    median = 1e3 * float(np.median([r["decision_p50_s"] for r in rows]))
    worst = 1e3 * max(r["decision_p99_s"] for r in rows)
    return (
        f"{group.scenario}: {group.look.label}: a device decides in {median:.3f} ms (median), "
        f"99 % within {worst:.2f} ms on the slowest device; "
        f"{sum(r['decisions'] for r in rows)} decisions."
    )

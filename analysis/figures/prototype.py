"""Figs. 8 to 11: bars by policy and role (client, edge, MD) of emulations in which work is real."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from analysis.collection import Group
from analysis.figures import Source
from analysis.figures.panels import grid, reach, titled
from analysis.paper import printed
from analysis.prototype import Prototype, prototype_of
from analysis.style import BLUE, ORANGE, SKY, Drawing, legend_below
from metrics.statistics import Estimate, estimate, mean
from model.errors import UserError

ROLES = {"client": ("client", SKY), "edge": ("edge", BLUE), "md": ("MD", ORANGE)}
KINDS = {"device": ("device (client and MD)", SKY), "edge": ("edge", BLUE)}
Values = Callable[[Prototype], Mapping[str, float]]


def panels_of(source: Source) -> Sequence[Sequence[Group]]:
    """Results of real work, those that may be compared together. Raises ``UserError`` if none."""
    found = [
        panel
        for panel in source.results.panels
        if panel[0].world == "emulation"
        and panel[0].runs[0].result.scenario.compute.work == "ffmpeg"
    ]
    if not found:
        raise UserError("this is drawn from emulations that transcode, as livecast; there is none")
    return found


def figures_of(group: Group) -> dict[int, Prototype]:
    """Seed → the figures of its run."""
    return {run.seed: prototype_of(run.result, run.duration_s) for run in group.runs}


def estimated(values: Sequence[float]) -> Estimate:
    """Mean over runs with its 95 % interval; runs without a value are left out."""
    known = [v for v in values if np.isfinite(v)]
    return estimate(known, mean) if known else Estimate(np.nan, np.nan, np.nan)


def bars(
    source: Source,
    label: str,
    parts: Mapping[str, Values],
    kinds: Mapping[str, tuple[str, str]] = ROLES,
) -> Drawing:
    """Bars of ``parts`` (name → values by kind), one panel for each part and comparable results."""
    panels = panels_of(source)
    figure, axes = grid(len(panels) * len(parts))
    rows: list[dict[str, Any]] = []
    places = [(panel, name) for panel in panels for name in parts]
    for axis, (panel, name) in zip(axes, places, strict=True):
        mine = [(group, figures_of(group)) for group in panel]
        _draw(axis, mine, name, parts[name], kinds, rows)
        axis.set_title(f"{titled(panel)}{f', {name}' if name else ''}")
    for axis in axes[::3]:
        axis.set_ylabel(label)
    legend_below(figure, axes)
    return Drawing(figure, pl.DataFrame(rows), source.results.said)


def _draw(
    axis: Any,
    groups: Sequence[tuple[Group, dict[int, Prototype]]],
    name: str,
    values: Values,
    kinds: Mapping[str, tuple[str, str]],
    rows: list[dict[str, Any]],
) -> None:
    width = 0.8 / len(kinds)
    for j, (kind, (label, colour)) in enumerate(kinds.items()):
        of_runs = [[values(p).get(kind, np.nan) for p in f.values()] for _, f in groups]
        found = [estimated(values_of_group) for values_of_group in of_runs]
        at = [k - 0.4 + (j + 0.5) * width for k in range(len(groups))]
        lengths = list(zip(*(reach(e) for e in found), strict=True))
        axis.bar(at, [e.value for e in found], 0.92 * width, color=colour, label=label,
                 yerr=lengths, capsize=2, error_kw={"lw": 1})  # fmt: skip
        rows += [
            {"scenario": g.scenario, "policy": g.policy, "valid": not g.mark, "part": name,
             "kind": kind, "value": e.value, "low": e.low, "high": e.high,
             "runs": int(np.isfinite(v).sum())}
            for (g, _), e, v in zip(groups, found, of_runs, strict=True)
        ]  # fmt: skip
    labels = [group.look.label + group.mark for group, _ in groups]
    axis.set_xticks(range(len(groups)), labels, rotation=35, ha="right")
    axis.grid(visible=False, axis="x")


def traffic_changes(panel: Sequence[Group]) -> list[str]:
    """How a policy's traffic differs from AGO's and random's, seed by seed, beside the paper's."""
    theirs = printed()["prototype"]["traffic_change_percent"]
    found = {g.policy.partition(" ")[0]: figures_of(g) for g in panel}
    said = []
    for name, mine in found.items():
        for other, against in theirs.items():
            if name in theirs or other not in found:
                continue
            seeds = sorted(set(mine) & set(found[other]))
            changes = [
                100 * (mine[s].traffic_mbps / found[other][s].traffic_mbps - 1) for s in seeds
            ]
            e = estimated(changes)
            said.append(
                f"{name}: traffic {e.value:+.1f} % [{e.low:+.1f}, {e.high:+.1f}] against {other} "
                f"over {len(seeds)} seeds (the paper's M2PPO: {against:+g} %)."
            )
    return said

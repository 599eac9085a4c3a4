"""What one run looks like: over time, delays, where tasks went, what was decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from analysis.frames import frame
from analysis.style import GREY, LINK_LOOKS, NODE_KINDS, Drawing, legend_below, new_figure
from model.aliases import FloatArray
from records.reader import Result

_BINS = 60
_UNITS_SHOWN = 10
_PARTS = (
    ("waiting to be sent", "born_s", "dispatched_s"),
    ("on the way", "dispatched_s", "arrived_s"),
    ("waiting at the unit", "arrived_s", "service_start_s"),
    ("service", "service_start_s", "service_end_s"),
    ("result's way back", "service_end_s", "known_s"),
)


def read_loads(result: Result, table: str) -> pl.DataFrame:
    """Loads of ``links`` or ``units``: time_s, link or unit, link_class or kind, load_s.

    Slots in which nobody looked at the links are left out.
    """
    names = {"links": ("link", "link_class"), "units": ("unit", "kind")}[table]
    columns = ("time_s", *names, "load_s", *(("utilisation",) if table == "links" else ()))
    return frame(result, table, columns).drop_nulls("load_s")


def _edges(end_s: float, slot_s: float) -> FloatArray:
    return np.linspace(0.0, end_s, max(2, min(_BINS, int(end_s / slot_s))) + 1)


def over_time(
    tasks: pl.DataFrame, links: pl.DataFrame, units: pl.DataFrame, end_s: float, slot_s: float
) -> Drawing:
    """Unit delay by time of birth, tasks under way, loads of links and units."""
    edges = _edges(end_s, slot_s)
    middle = (edges[1:] + edges[:-1]) / 2
    figure, axes = new_figure(2, 4.6, 2.5, rows=2, sharex=True)
    born = tasks["born_s"].to_numpy()
    delay = np.histogram(born, edges, weights=tasks["delay_s"].to_numpy())[0]
    data = np.histogram(born, edges, weights=tasks["data_mb"].to_numpy())[0]
    unit_delay = np.divide(delay, data, out=np.full(len(delay), np.nan), where=data > 0)
    known = (born + tasks["delay_s"].to_numpy())[tasks["outcome"].to_numpy() == "done"]
    open_tasks = np.searchsorted(np.sort(born), edges[1:]) - np.searchsorted(
        np.sort(known), edges[1:]
    )
    axes[0][0].plot(middle, unit_delay, color="black", lw=1.2)
    axes[0][0].set(ylabel="UD of tasks born then (s/MB)", ylim=(0, None))
    axes[0][1].plot(edges[1:], open_tasks, color="black", lw=1.2)
    axes[0][1].set(ylabel="tasks without result", ylim=(0, None))
    rows = {"time_s": middle, "unit_delay_s_per_mb": unit_delay, "open_tasks": open_tasks}
    rows |= _draw_loads(axes[1][0], links, "link_class", LINK_LOOKS, edges)
    rows |= _draw_loads(axes[1][1], units, "kind", NODE_KINDS, edges)
    axes[1][0].set(ylabel="link load V/c (s)", xlabel="time (s)")
    axes[1][1].set(ylabel="node load Q/F (s)", xlabel="time (s)")
    for axis in axes[1]:
        axis.legend(ncols=3)
    return Drawing(figure, pl.DataFrame(rows))


def _draw_loads(
    axis: Any, table: pl.DataFrame, by: str, looks: dict[str, Any], edges: FloatArray
) -> dict[str, FloatArray]:
    found = {}
    for name in [n for n in looks if n in set(table[by].unique())]:
        mine = table.filter(pl.col(by) == name)
        time = mine["time_s"].to_numpy() - 1e-9
        sums = np.histogram(time, edges, weights=mine["load_s"].to_numpy())[0]
        counts = np.histogram(time, edges)[0]
        mean = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        middle = (edges[1:] + edges[:-1]) / 2
        axis.plot(middle, mean, color=looks[name].colour, lw=1.2, label=looks[name].label)
        found[f"{name}_load_s"] = mean
    axis.set_ylim(0, None)
    return found


def delays(tasks: pl.DataFrame) -> Drawing:
    """Distribution of E by where a task was computed, and its parts for finished tasks."""
    figure, (left, right) = new_figure(2, 4.6, 3.1)
    rows: list[dict[str, Any]] = []
    for kind in [k for k in NODE_KINDS if k in set(tasks["target_kind"])]:
        values = np.sort(tasks.filter(pl.col("target_kind") == kind)["delay_s"].to_numpy())
        shares = np.linspace(0.0, 1.0, min(len(values), 400))
        points = np.quantile(values, shares)
        style = NODE_KINDS[kind]
        left.plot(
            points, shares, color=style.colour, lw=1.4, label=f"{style.label} ({len(values)})"
        )
        rows += [{"target": kind, "share": s, "delay_s": d}
                 for s, d in zip(shares.tolist(), points.tolist(), strict=True)]  # fmt: skip
    everything = np.quantile(tasks["delay_s"].to_numpy(), np.linspace(0, 1, 400))
    left.plot(everything, np.linspace(0, 1, 400), color="black", lw=1.0, ls=":", label="all tasks")
    left.set_xscale("symlog", linthresh=0.1)
    left.xaxis.set_major_formatter("{x:g}")
    left.set(xlabel="delay E (s)", ylabel="share of tasks", ylim=(0, 1.01), xlim=(0, None))
    left.legend()
    _draw_parts(right, tasks)
    return Drawing(figure, pl.DataFrame(rows))


def _draw_parts(axis: Any, tasks: pl.DataFrame) -> None:
    done = tasks.filter(pl.col("outcome") == "done")
    kinds = [k for k in NODE_KINDS if k in set(done["target_kind"])]
    below = np.zeros(len(kinds))
    shades = ("#cccccc", "#D55E00", "#E69F00", "#0072B2", "#000000")
    for (label, begin, end), shade in zip(_PARTS, shades, strict=True):
        spans = done.group_by("target_kind").agg((pl.col(end) - pl.col(begin)).mean())
        mean = dict(spans.iter_rows())
        heights = np.array([max(0.0, mean[k] or 0.0) for k in kinds])
        axis.bar(range(len(kinds)), heights, 0.6, bottom=below, color=shade, label=label)
        below = below + heights
    axis.set_xticks(range(len(kinds)), [NODE_KINDS[k].label for k in kinds])
    highest = float(below.max(initial=0.0))
    axis.set(ylabel="mean E of finished tasks (s)", ylim=(0, 1.35 * highest or 1.0))
    axis.legend(fontsize=7, ncols=2, loc="upper center")
    axis.grid(visible=False, axis="x")


def whereabouts(tasks: pl.DataFrame, end_s: float, slot_s: float) -> Drawing:
    """Where tasks went: over time, and from which cell to which unit."""
    edges = _edges(end_s, slot_s)
    figure, (left, right) = new_figure(2, 4.6, 3.1)
    kinds = [k for k in NODE_KINDS if k in set(tasks["target_kind"])]
    counts = np.array(
        [np.histogram(tasks.filter(pl.col("target_kind") == k)["born_s"], edges)[0] for k in kinds]
    )
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    looks = [NODE_KINDS[k] for k in kinds]
    left.stackplot((edges[1:] + edges[:-1]) / 2, shares, colors=[x.colour for x in looks],
                   labels=[x.label for x in looks])  # fmt: skip
    left.set(xlabel="time (s)", ylabel="share of decisions", ylim=(0, 1), xlim=(0, end_s))
    table = _busiest_units(tasks)
    right.barh(table["target"].to_list(), table["tasks"].to_numpy(), 0.7, color=GREY)
    right.set(xlabel="tasks sent to it by others", title="the busiest units")
    right.set_ylim(max(len(table), 4) - 0.5, -0.5)
    legend_below(figure, [left])
    return Drawing(figure, tasks.group_by("target_kind").len("tasks").sort("target_kind"))


def _busiest_units(tasks: pl.DataFrame) -> pl.DataFrame:
    remote = tasks.filter(pl.col("target").is_not_null() & (pl.col("target_kind") != "self"))
    counts = remote.group_by("target").len("tasks")
    return counts.sort("tasks", "target", descending=True).head(_UNITS_SHOWN)


def decisions(tasks: pl.DataFrame) -> Drawing:
    """What was decided on: target by a task's data and work, and rates of sending."""
    figure, (left, middle, right) = new_figure(3, 3.1, 3.0)
    decided = tasks.filter(pl.col("target_kind").is_not_null())
    for axis, column, unit in (
        (left, "data_mb", "data (MB)"),
        (middle, "work_ghz_s", "work (GHz·s)"),
    ):
        _draw_shares(axis, decided, column)
        axis.set(xlabel=unit, ylim=(0, 1))
    left.set_ylabel("share of decisions")
    remote = decided.filter(pl.col("target_kind") != "self")["rate_mbps"].drop_nulls().to_numpy()
    if len(remote):
        right.hist(remote, bins=np.linspace(0, max(10.0, remote.max()), 21),
                   weights=np.full(len(remote), 1 / len(remote)), color=GREY)  # fmt: skip
    right.set(xlabel="rate x (Mbps)", ylabel="share of tasks sent", ylim=(0, None))
    legend_below(figure, [left])
    data = (
        decided.group_by("target_kind", "rate_mbps").len("tasks").sort("target_kind", "rate_mbps")
    )
    return Drawing(figure, data)


def _range(values: FloatArray) -> str:
    """``2–5``, or ``2``."""
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low}–{high}"


def _draw_shares(axis: Any, decided: pl.DataFrame, column: str) -> None:
    """Stacked shares of the kinds of target, over equally populated ranges of a column."""
    values = decided[column].to_numpy()
    if not len(values):
        return
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 7)))
    at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(0, len(edges) - 2))
    kinds, targets = list(NODE_KINDS), decided["target_kind"].to_numpy()
    groups = np.unique(at)
    names = [_range(values[at == g]) for g in groups]
    below = np.zeros(len(names))
    for kind in [k for k in kinds if k in set(targets)]:
        share = np.array([np.mean(targets[at == g] == kind) for g in groups])
        axis.bar(range(len(names)), share, 0.85, bottom=below, color=NODE_KINDS[kind].colour,
                 label=NODE_KINDS[kind].label)  # fmt: skip
        below = below + share
    axis.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=7)
    axis.grid(visible=False)

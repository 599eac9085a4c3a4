"""Results side by side, and the differences between runs of the same tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from analysis.collection import Collection, Group, Run, paired
from analysis.frames import tasks_until
from analysis.style import WORLDS
from analysis.tables import Table, shown
from metrics.statistics import Estimate
from metrics.summary import digits
from model.aliases import FloatArray
from records.plain import without_nan

STRETCHES = 20
"""Parts of equal length that a single run is cut into for an interval: tasks that follow each other
meet the same queues, so they are no independent samples; means over stretches nearly are."""
_SAME_S = 1e-6


@dataclass(frozen=True)
class Column:
    """What stands side by side: a result, or the results of a folder that belong together."""

    label: str
    group: Group


@dataclass(frozen=True)
class Difference:
    """Column − reference over the same tasks.

    Attributes:
        episodes: pairs of runs.
        unit_delay: of UD, s per MB.
        delay: mean over tasks of the difference of E, s.
        faster, slower: shares of the tasks; the others take the same to the microsecond.
    """

    episodes: int
    unit_delay: Estimate
    delay: Estimate
    faster: float
    slower: float


def columns(found: Sequence[tuple[Path, Collection]]) -> list[Column]:
    """A column an argument and group in it; labels tell apart what differs."""
    groups = [group for _, collection in found for group in collection.groups]
    parts = [
        (g.look.label + g.mark, WORLDS[g.world], g.scenario, f"T={g.duration_s:g}", _seeds(g))
        for g in groups
    ]
    telling = [k for k in range(1, 5) if len({p[k] for p in parts}) > 1]
    labels = [" ".join([p[0], *(p[k] for k in telling)]) for p in parts]
    return [
        Column(label if labels.count(label) == 1 else f"{label} #{k + 1}", group)
        for k, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]


def _seeds(group: Group) -> str:
    seeds = sorted({r.seed for r in group.runs})
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"


def side_by_side(listed: Sequence[Column]) -> Table:
    """Every metric of every column; of several runs the mean."""
    values: dict[tuple[str, str], dict[int, list[float]]] = {}
    for k, column in enumerate(listed):
        for run in column.group.runs:
            for name, value, unit in run.summary.values():
                values.setdefault((name, unit), {}).setdefault(k, []).append(value)
    rows = []
    for (name, unit), by_column in values.items():
        cells = [_mean(by_column.get(k, [])) for k in range(len(listed))]
        if any(cells):
            rows.append((name, unit, *(cell or "–" for cell in cells)))
    first = listed[0].group
    title = f"{first.scenario}, {WORLDS[first.world]}, T = {first.duration_s:g} s"
    if any(c.group.runs[0].scenario_text != first.runs[0].scenario_text for c in listed):
        title = "several scenarios"
    return Table(title, ("metric", "", *(c.label for c in listed)), tuple(rows), left=2)


def _mean(values: list[float]) -> str:
    known = [v for v in values if np.isfinite(v)]
    if not known:
        return ""
    return digits(known[0] if len(known) == 1 else float(np.mean(known)))


def differences(listed: Sequence[Column]) -> tuple[list[tuple[Column, Difference]], list[str]]:
    """Of every column to the first, and sentences on those that cannot be paired.

    Raises ``UserError`` if tables cannot be read.
    """
    reference, *others = listed
    theirs = [(run, _tasks(run)) for run in reference.group.runs]
    found, said = [], []
    for column in others:
        pairs = []
        for run in column.group.runs:
            mine = _tasks(run)
            pairs += [
                (mine, tasks)
                for other, tasks in theirs
                if (run.seed, run.duration_s) == (other.seed, other.duration_s)
                and _same_trace(mine, tasks)
            ]
        if pairs:
            found.append((column, _difference(column.group, reference.group, pairs)))
        else:
            said.append(
                f"{column.label} and {reference.label} have no run of the same tasks and length: "
                "no paired difference."
            )
    return found, said


def _tasks(run: Run) -> pl.DataFrame:
    names = ("task", "device", "born_s", "work_ghz_s", "data_mb", "known_s", "outcome")
    return tasks_until(run.result, run.duration_s, names)


_TRACE = ("task", "device", "born_s", "work_ghz_s", "data_mb")


def _same_trace(mine: pl.DataFrame, other: pl.DataFrame) -> bool:
    return mine.select(_TRACE).equals(other.select(_TRACE))


def _difference(
    group: Group, reference: Group, pairs: Sequence[tuple[pl.DataFrame, pl.DataFrame]]
) -> Difference:
    apart = [(a["delay_s"] - b["delay_s"]).to_numpy() for a, b in pairs]
    tasks = np.concatenate(apart)
    if len(pairs) > 1:
        unit_delay, episodes = paired(group, reference, lambda s: s.unit_delay)
        delay, _ = paired(group, reference, lambda s: s.delay_mean)
    else:
        episodes = 1
        unit_delay, delay = _by_stretches(pairs[0][0], apart[0], group.duration_s)
    faster, slower = float((tasks < -_SAME_S).mean()), float((tasks > _SAME_S).mean())
    return Difference(episodes, unit_delay, delay, faster, slower)


def _by_stretches(
    tasks: pl.DataFrame, apart: FloatArray, duration_s: float
) -> tuple[Estimate, Estimate]:
    """Of one pair of runs: the bootstrap draws stretches of time, each with all of its tasks."""
    edges = np.linspace(0.0, duration_s, STRETCHES + 1)
    born, data = tasks["born_s"].to_numpy(), tasks["data_mb"].to_numpy()
    sums, mb, counts = (
        np.histogram(born, edges, weights=w)[0] for w in (apart, data, np.ones(len(born)))
    )
    draws = np.random.default_rng(0).integers(STRETCHES, size=(5000, STRETCHES))
    figures = []
    for weight in (mb, counts):
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn = sums[draws].sum(axis=1) / weight[draws].sum(axis=1)
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
        value = float(sums.sum() / weight.sum()) if weight.sum() else float("nan")
        figures.append(Estimate(value, float(low), float(high)))
    return figures[0], figures[1]


def difference_table(reference: Column, found: Sequence[tuple[Column, Difference]]) -> Table:
    """A row a column that could be paired."""
    rows = tuple(
        (
            column.label,
            str(d.episodes),
            shown(d.unit_delay, "+"),
            shown(d.delay, "+"),
            f"{100 * d.faster:.1f}",
            f"{100 * d.slower:.1f}",
        )
        for column, d in found
    )
    heading = ("", "episodes", "ΔUD, s/MB", "mean ΔE, s", "tasks faster, %", "slower, %")
    return Table(f"the same tasks: difference to {reference.label}", heading, rows)


def records(listed: Sequence[Column]) -> list[dict[str, Any]]:
    """A row a run and metric, for CSV."""
    return [
        {"column": c.label, "folder": str(run.result.folder), "world": run.world,
         "scenario": c.group.scenario, "policy": run.policy, "seed": run.seed, "valid": run.valid,
         "metric": name, "unit": unit, "value": value}
        for c in listed
        for run in c.group.runs
        for name, value, unit in run.summary.values()
        if np.isfinite(value)
    ]  # fmt: skip


def plain(listed: Sequence[Column], found: Sequence[tuple[Column, Difference]]) -> dict[str, Any]:
    """Metrics of every run and the paired differences to the first column, for JSON."""
    return {
        "reference": listed[0].label,
        "columns": [
            {"label": c.label, "runs": [_plain_run(run) for run in c.group.runs]} for c in listed
        ],
        "differences": [{"label": c.label, **without_nan(asdict(d))} for c, d in found],
    }


def _plain_run(run: Run) -> dict[str, Any]:
    what = {"folder": str(run.result.folder), "seed": run.seed, "valid": run.valid}
    return {**what, "metrics": run.summary.to_dict()}

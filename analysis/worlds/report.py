"""What is written and shown of a gap: JSON with everything, CSV with a metric a line, rows."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.worlds.comparison import (
    AIM,
    PARTS,
    QUANTILES,
    Gap,
    Metric,
    Pair,
    TaskGap,
    correlation,
    mean_metrics,
    plain,
    worst,
)
from records.ownership import make_folder
from records.writer import write_atomically

FORMAT = "crowd-edge-lab gap"
VERSION = 1
_CSV = ("scenario", "slots", "policy", "seed", "metric", "unit", "emulation", "simulation")


def write(gap: Gap, folder: Path) -> list[Path]:
    """Write ``gap.json`` and ``gap.csv``; returns their paths. Raises ``OSError``."""
    make_folder(folder)
    json_path, csv_path = folder / "gap.json", folder / "gap.csv"
    text = json.dumps(plain(to_dict(gap)), indent=1, ensure_ascii=False)
    write_atomically(json_path, text + "\n")
    write_atomically(csv_path, _csv(gap))
    return [json_path, csv_path]


def to_dict(gap: Gap) -> dict[str, Any]:
    """Everything, as plain data; NaN is left as it is."""
    order = gap.order()
    return {
        "format": FORMAT,
        "version": VERSION,
        "scenario": gap.scenario,
        "slots": gap.slots,
        "aim": AIM,
        "order": {**asdict(order), "same": order.same},
        "left_out": [{"folder": f, "why": why} for f, why in gap.left_out],
        "policies": {p: [_metric(m) for m in gap.mean(p)] for p in gap.policies},
        "quantile_levels": QUANTILES,
        "pairs": [_pair(p) for p in gap.pairs],
    }


def _metric(metric: Metric) -> dict[str, Any]:
    return {**asdict(metric), "relative": metric.relative}


def _pair(pair: Pair) -> dict[str, Any]:
    listed = {name: [_metric(m) for m in getattr(pair, name)] for name in ("metrics", "parts")}
    loads = {
        name: {
            "r": correlation(getattr(pair, name)),
            "loads_s": [_metric(m) for m in getattr(pair, name)],
        }
        for name in ("links", "units")
    }
    return {**asdict(pair), **listed, **loads}


def _csv(gap: Gap) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for pair in gap.pairs:
        for m in (*pair.metrics, *pair.parts):
            numbers = (f"{v:.6g}" if v == v else "" for v in (m.emulation, m.simulation))
            writer.writerow(
                (gap.scenario, gap.slots, pair.policy, pair.seed, m.name, m.unit, *numbers)
            )
    return text.getvalue()


def metric_rows(gap: Gap, policy: str) -> list[tuple[str, str, str, str]]:
    """(name with unit, emulation, simulation, difference) of a policy, means over its seeds."""
    parts = mean_metrics([p.parts for p in gap.of(policy)])
    rows = []
    for m in (*gap.mean(policy), *(Metric(f"time: {p.name}", *_values(p)) for p in parts)):
        name = f"{m.name} ({m.unit})" if m.unit else m.name
        rows.append((name, _digits(m.emulation), _digits(m.simulation), _apart(m)))
    return rows


def _values(metric: Metric) -> tuple[str, float, float]:
    return metric.unit, metric.emulation, metric.simulation


def delay_rows(gap: Gap) -> list[tuple[str, str, str, str, str, str]]:
    """(policy, seeds, UD emulated, simulated, difference, range of differences over seeds)."""
    rows = []
    for policy in gap.policies:
        pairs = gap.of(policy)
        mean = next(m for m in gap.mean(policy) if m.name == "unit delay")
        each = sorted(p.metric("unit delay").relative for p in pairs)
        span = f"{each[0]:+.1%} … {each[-1]:+.1%}" if len(each) > 1 else ""
        rows.append(
            (
                policy,
                " ".join(str(p.seed) for p in pairs),
                f"{mean.emulation:.3f}",
                f"{mean.simulation:.3f}",
                f"{mean.relative:+.1%}",
                span,
            )
        )
    return rows


def task_rows(gap: Gap, policy: str) -> list[tuple[str, ...]]:
    """Tasks decided alike, one row a kind of target, times in ms: see ``TaskGap``.

    (kind, share decided alike, tasks, mean, median, 90 % of |.|, and the mean by part).
    """
    by_kind: dict[str, list[TaskGap]] = {}
    for pair in gap.of(policy):
        for found in pair.kinds:
            by_kind.setdefault(found.kind, []).append(found)
    rows = []
    for kind, several in by_kind.items():
        tasks = sum(k.tasks for k in several)
        share = sum(k.share for k in several) / len(several)
        if not tasks:
            rows.append((kind, f"{share:.0%}", "0", *[""] * (3 + len(PARTS))))
            continue

        def pooled(values: list[float], *, of: list[TaskGap] = several) -> str:
            weighted = [v * k.tasks for v, k in zip(values, of, strict=True) if k.tasks]
            return f"{1e3 * sum(weighted) / sum(k.tasks for k in of):+.0f}"

        rows.append(
            (
                kind,
                f"{share:.0%}",
                str(tasks),
                pooled([k.mean for k in several]),
                pooled([k.median for k in several]),
                f"{1e3 * max(k.p90_absolute for k in several if k.tasks):.0f}",
                *(pooled([k.parts[part] for k in several]) for part in PARTS),
            )
        )
    return rows


def sentences(gap: Gap) -> list[str]:
    """What a reader wants to know first."""
    apart = {
        p: next(m for m in gap.mean(p) if m.name == "unit delay").relative for p in gap.policies
    }
    within = [p for p, x in apart.items() if abs(x) <= AIM]
    said = [f"Unit delay within {AIM:.0%}: {len(within)} of {len(apart)} policies."]
    order = gap.order()
    if len(gap.policies) > 1:
        said.append(
            f"Order by unit delay: {' < '.join(order.emulation)} in the emulation, "
            + ("the same in the simulation." if order.same else " < ".join(order.simulation) + ".")
        )
    said += [
        f"  {a} and {b} change places; they are {x:+.1%} apart in the emulation, "
        f"{y:+.1%} in the simulation."
        for a, b, x, y in order.swapped
    ]
    for pair in gap.pairs:
        if pair.drops:
            said.append(
                f"{pair.policy}, seed {pair.seed}: the emulation's full queues dropped "
                f"{pair.drops} packets, which the simulator does not."
            )
    said += [
        f"{p.policy}, seed {p.seed}: compared although its verdict is {p.verdict}."
        for p in gap.pairs
        if p.verdict != "valid"
    ]
    said += [f"Left out: {folder}: {why}." for folder, why in gap.left_out]
    return said


def worst_rows(gap: Gap, policy: str) -> list[tuple[str, str, str, str]]:
    """The links and units whose mean loads differ most, over the seeds: as ``metric_rows``."""
    rows = []
    for what in ("links", "units"):
        found = mean_metrics([getattr(p, what) for p in gap.of(policy)])
        r = correlation(found)
        rows += [
            (f"{m.name} ({what[:-1]}, s)", _digits(m.emulation), _digits(m.simulation), _apart(m))
            for m in worst(found)
        ]
        rows.append((f"r over all {what}", "", "" if r != r else f"{r:.3f}", ""))
    return rows


def _digits(value: float) -> str:
    return "–" if value != value else f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}"


def _apart(metric: Metric) -> str:
    if metric.unit == "" and metric.difference == metric.difference:
        return f"{100 * metric.difference:+.1f} points"
    # A small share of a hardly loaded queue says nothing; its difference does.
    if abs(metric.relative) <= 9.995:
        return f"{metric.relative:+.1%}"
    return f"{metric.difference:+.4f}" if metric.difference == metric.difference else "–"

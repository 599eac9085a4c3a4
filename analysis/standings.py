"""The table of a contest: who did how well, with intervals, and how it is written down."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metrics.episodes import Entrant, Metrics, Played
from metrics.statistics import Estimate, estimate_crossed, mean, paired_difference
from model.aliases import FloatArray
from model.scenario import LINK_CLASSES
from records.ownership import make_folder
from records.plain import without_nan
from records.writer import write_atomically

SEES = {
    "observation": "its observation",
    "state": "the operator's state",
    "truth": "everything (reference)",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A policy in a scenario; unit delays in s per MB, loads in s.

    Attributes:
        sees: what it decides from: ``observation``, ``state`` or ``truth``.
        training_seeds: checkpoints that the row is about; 0 of a rule.
        iqm, mean: of the unit delay over episodes; pending tasks are charged.
        difference: paired, to the best rule that decides from its observation; None for that one.
        unfinished: share of the tasks without a result at the end.
        anlr, link_load: means over episodes.
    """

    label: str
    policy: str
    params: dict[str, Any]
    sees: str
    training_seeds: int
    episodes: int
    iqm: Estimate
    mean: Estimate
    difference: Estimate | None
    unfinished: float
    anlr: float
    link_load: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standings:
    """The rows of a scenario, smallest interquartile mean first; ``duration_s`` is T."""

    scenario: str
    duration_s: float
    seeds: tuple[int, ...]
    best_rule: str
    rows: tuple[Row, ...]


def standings(played: Sequence[Played]) -> list[Standings]:
    """One table per scenario, over the episodes in which all entrants have played.

    Episodes without a task have no unit delay and are left out, and so are scenarios without any
    other.
    """
    return [table for found in played if (table := _of_scenario(found))]


def _of_scenario(played: Played) -> Standings | None:
    seeds = [k for k in played.seeds if _is_played(played, k)]
    if not seeds or not played.entrants:
        return None
    groups: dict[str, list[Entrant]] = {}
    for entrant in played.entrants:
        groups.setdefault(entrant.row, []).append(entrant)
    metrics = {
        row: [[played.metrics[e.label, k] for k in seeds] for e in members]
        for row, members in groups.items()
    }
    delays = {
        row: np.array([[_number(m, "unit_delay") for m in found] for found in tables])
        for row, tables in metrics.items()
    }
    best = _best_rule(played.entrants, delays)
    rows = [_row(members[0], metrics[row], delays, best) for row, members in groups.items()]
    rows.sort(key=lambda row: row.iqm.value)
    return Standings(played.scenario, played.duration_s, tuple(seeds), best, tuple(rows))


def _is_played(played: Played, seed: int) -> bool:
    found = [played.metrics.get((e.label, seed), {}) for e in played.entrants]
    return all(metrics.get("unit_delay") is not None for metrics in found)


def _number(metrics: Metrics, name: str) -> float:
    value = metrics[name]
    return float("nan") if value is None else float(value)


def _best_rule(entrants: Sequence[Entrant], delays: dict[str, FloatArray]) -> str:
    """Label of the rule with the smallest mean among those that need no more than their device."""
    honest = [e.label for e in entrants if e.sees == "observation" and e.is_rule]
    return min(honest, key=lambda label: float(np.mean(delays[label])), default="")


def _row(
    entrant: Entrant, found: list[list[Metrics]], delays: dict[str, FloatArray], best: str
) -> Row:
    """A row from one of its entrants and the metrics of all of them."""
    mine = delays[entrant.row]
    episodes = [metrics for tables in found for metrics in tables]
    difference = None
    if best and entrant.row != best:
        difference = paired_difference(mine, delays[best][0])
    generated = sum(v for m in episodes for name, v in m.items() if name.startswith("tasks_"))
    classes = [c for c in LINK_CLASSES if f"link_load_{c}" in episodes[0]]
    return Row(
        label=entrant.row,
        policy=entrant.policy,
        params=dict(entrant.params) if len(found) == 1 else {},
        sees=entrant.sees,
        training_seeds=len(found) if entrant.is_trained else 0,
        episodes=mine.shape[1],
        iqm=estimate_crossed(mine),
        mean=estimate_crossed(mine, mean),
        difference=difference,
        unfinished=1.0 - sum(m["tasks_done"] for m in episodes) / max(1, generated),
        anlr=_mean(episodes, "anlr"),
        link_load={c: _mean(episodes, f"link_load_{c}") for c in classes},
    )


def _mean(episodes: Sequence[Metrics], name: str) -> float:
    return float(np.mean([_number(metrics, name) for metrics in episodes]))


def _columns(tables: Sequence[Standings]) -> list[str]:
    return [c for c in LINK_CLASSES if any(c in row.link_load for t in tables for row in t.rows)]


def heading(classes: Sequence[str]) -> list[str]:
    """Column titles of a table for reading; the first four are the widest."""
    loads = [f"{c.upper()}, s" for c in classes]
    return ["policy", "sees", "UD: IQM [95 %]", "mean [95 %]", "vs best rule", "open", "ANLR, s",
            *loads]  # fmt: skip


def cells(row: Row, classes: Sequence[str]) -> list[str]:
    """A row for reading."""
    return [
        f"{row.label} ×{row.training_seeds}" if row.training_seeds else row.label,
        SEES[row.sees],
        _shown(row.iqm),
        _shown(row.mean),
        "best rule" if row.difference is None else _shown(row.difference, sign="+"),
        f"{100 * row.unfinished:.1f} %",
        _digits(row.anlr),
        *(_digits(row.link_load.get(c, float("nan"))) for c in classes),
    ]


def _digits(value: float, sign: str = "") -> str:
    return "–" if np.isnan(value) else f"{value:{sign}.{3 if abs(value) < 10 else 1}f}"


def _shown(figure: Estimate, sign: str = "") -> str:
    value, low, high = (_digits(x, sign) for x in (figure.value, figure.low, figure.high))
    return value if np.isnan(figure.low) else f"{value} [{low}, {high}]"


def title(table: Standings) -> str:
    """What a table is about, T included."""
    count = len(table.seeds)
    seeds = f"{min(table.seeds)} … {max(table.seeds)}" if count > 1 else f"{table.seeds[0]}"
    return f"{table.scenario}: T = {table.duration_s:g} s, {count} episodes (seeds {seeds})"


def markdown(tables: Sequence[Standings]) -> str:
    """All tables as Markdown."""
    classes, parts = _columns(tables), []
    for table in tables:
        head = heading(classes)
        lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
        lines += [cells(row, classes) for row in table.rows]
        parts.append(
            "\n".join([f"### {title(table)}", "", *("| " + " | ".join(r) + " |" for r in lines)])
        )
    return "\n\n".join(parts) + "\n"


def _flat(tables: Sequence[Standings]) -> Iterator[dict[str, Any]]:
    classes = _columns(tables)
    for table in tables:
        for row in table.rows:
            flat: dict[str, Any] = {"scenario": table.scenario, "duration_s": table.duration_s}
            flat |= {"policy": row.label, "training_seeds": row.training_seeds}
            flat |= {"sees": row.sees, "episodes": row.episodes}
            for name, figure in (
                ("iqm", row.iqm),
                ("mean", row.mean),
                ("vs_best_rule", row.difference),
            ):
                for end in ("value", "low", "high"):
                    flat[f"{name}_{end}"] = getattr(figure, end) if figure else None
            flat |= {"unfinished_share": row.unfinished, "anlr_s": row.anlr}
            yield flat | {f"{c}_s": row.link_load.get(c) for c in classes}


def write(tables: Sequence[Standings], folder: Path) -> list[Path]:
    """``contest.md``, ``.csv`` and ``.json`` in a folder. Raises ``OSError``."""
    rows = list(_flat(tables))
    text = io.StringIO()
    sheet = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    sheet.writeheader()
    sheet.writerows(rows)
    texts = {
        "contest.md": markdown(tables),
        "contest.csv": text.getvalue(),
        "contest.json": _json_text(tables),
    }
    make_folder(folder)
    for name, content in texts.items():
        write_atomically(folder / name, content)
    return [folder / name for name in texts]


def _json_text(tables: Sequence[Standings]) -> str:
    return json.dumps(plain(tables), indent=1, ensure_ascii=False) + "\n"


def plain(tables: Sequence[Standings]) -> Any:
    """Return all tables as plain data, as JSON has it; NaN is None."""
    return without_nan([asdict(table) for table in tables])

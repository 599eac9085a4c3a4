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

from experiments.cells import Outcome
from experiments.contest import Contest, Entrant
from experiments.guest import described
from metrics.statistics import Estimate, FloatArray, estimate_crossed, mean, paired_difference
from records.ownership import make_folder
from records.plain import without_nan
from records.writer import write_atomically
from rl import policies

SEES = {
    "observation": "its observation",
    "state": "the operator's state",
    "truth": "everything (reference)",
}
LINK_CLASSES = ("e2e", "e2d", "access", "backbone")


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
    params: dict[str, policies.Value]
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


def standings(contest: Contest) -> list[Standings]:
    """One table per scenario, over the episodes in which everybody has played."""
    return [table for s in contest.plan.scenarios if (table := _of_scenario(contest, s.name))]


def _of_scenario(contest: Contest, scenario: str) -> Standings | None:
    entrants = contest.plan.entrants[scenario]
    (duration_s,) = [s.duration_s for s in contest.plan.scenarios if s.name == scenario]
    played = [
        seed
        for seed in contest.plan.seeds
        if all((scenario, e.label, seed) in contest.outcomes for e in entrants)
    ]
    if not played or not entrants:
        return None
    groups: dict[str, list[Entrant]] = {}
    for entrant in entrants:
        groups.setdefault(entrant.row, []).append(entrant)
    outcomes = {
        row: [[contest.outcomes[scenario, e.label, k] for k in played] for e in members]
        for row, members in groups.items()
    }
    delays = {
        row: np.array([[_unit_delay(o) for o in found] for found in tables])
        for row, tables in outcomes.items()
    }
    best = _best_rule(entrants, delays)
    rows = [_row(members[0], outcomes[row], delays, best) for row, members in groups.items()]
    rows.sort(key=lambda row: row.iqm.value)
    return Standings(scenario, duration_s, tuple(played), best, tuple(rows))


def _unit_delay(outcome: Outcome) -> float:
    value = outcome["metrics"]["unit_delay"]
    return float("nan") if value is None else float(value)


def _best_rule(entrants: Sequence[Entrant], delays: dict[str, FloatArray]) -> str:
    """Label of the rule with the smallest mean among those that need no more than their device."""
    honest = [e.label for e in entrants if _sees(e) == "observation" and _is_rule(e)]
    return min(honest, key=lambda label: float(np.mean(delays[label])), default="")


def _sees(entrant: Entrant) -> str:
    return described(entrant.policy).needs


def _is_rule(entrant: Entrant) -> bool:
    """A policy of the lab that was not trained."""
    return entrant.policy in policies.names() and not _is_trained(entrant)


def _is_trained(entrant: Entrant) -> bool:
    """Learners name a checkpoint."""
    return "checkpoint" in described(entrant.policy).parameters


def _row(
    entrant: Entrant, found: list[list[Outcome]], delays: dict[str, FloatArray], best: str
) -> Row:
    """A row from one of its entrants and the outcomes of all of them."""
    mine = delays[entrant.row]
    metrics = [o["metrics"] for outcomes in found for o in outcomes]
    tasks = [m["tasks"] for m in metrics]
    difference = None
    if best and entrant.row != best:
        difference = paired_difference(mine, delays[best][0])
    classes = [c for c in LINK_CLASSES if c in metrics[0]["link_load"]]
    return Row(
        label=entrant.row,
        policy=entrant.policy,
        params=dict(entrant.params) if len(found) == 1 else {},
        sees=_sees(entrant),
        training_seeds=len(found) if _is_trained(entrant) else 0,
        episodes=mine.shape[1],
        iqm=estimate_crossed(mine),
        mean=estimate_crossed(mine, mean),
        difference=difference,
        unfinished=1.0
        - sum(t["done"] for t in tasks) / max(1, sum(sum(t.values()) for t in tasks)),
        anlr=float(np.mean([m["anlr"] for m in metrics])),
        link_load={c: float(np.mean([m["link_load"][c] for m in metrics])) for c in classes},
    )


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

"""Table III: unit delay and loads of nodes and links, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.collection import Collection, Group, Metric, paired
from analysis.paper import CASES, agreement, table3
from analysis.style import WORLDS
from analysis.tables import Table, digits, shown
from metrics.statistics import Estimate
from metrics.summary import NAN, Summary


def _link(name: str) -> Metric:
    def load(summary: Summary) -> float:
        return summary.link_load.get(name, NAN)

    return load


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table; ``unit`` of its numbers."""

    key: str
    label: str
    unit: str
    metric: Metric


COLUMNS = (
    Column("ad", "AD", "s/MB", lambda s: s.unit_delay),
    Column("anlr", "ANLR", "s", lambda s: s.anlr),
    Column("e2e", "E2E", "s", _link("e2e")),
    Column("e2d", "E2D", "s", _link("e2d")),
    Column("access", "ACCESS", "s", _link("access")),
)
"""The paper's four, and the load of the links to the edge servers, which it does not print."""


def tables(found: Collection) -> list[Table]:
    """A table a world, scenario and length: interquartile mean [95 % interval]; the paper's."""
    return [_table(panel) for panel in found.panels]


def _table(panel: Sequence[Group]) -> Table:
    rows = []
    for group in panel:
        name = f"{group.look.label}{group.mark}"
        rows.append((name, _counts(group), *(shown(group.estimate(c.metric)) for c in COLUMNS)))
        paper = [_paper(group, column) for column in COLUMNS]
        if any(value is not None for value in paper):
            told = (digits(value) if value is not None else "" for value in paper)
            rows.append((f"  {group.look.label} in the paper", "", *told))
    return Table(
        title(panel[0]),
        ("policy", "episodes", *(f"{c.label}, {c.unit}" for c in COLUMNS)),
        tuple(rows),
        left=2,
    )


def title(group: Group) -> str:
    """World, scenario and length of a panel."""
    case = f" ({CASES[group.case]} of the paper)" if group.scenario in CASES else ""
    return f"{group.scenario}{case}, {WORLDS[group.world]}, T = {group.duration_s:g} s"


def _counts(group: Group) -> str:
    seeds, teachers = len({r.seed for r in group.runs}), group.training_seeds
    return f"{seeds} × {teachers} trained" if teachers > 1 else str(seeds)


def _paper(group: Group, column: Column) -> float | None:
    """The paper's number, for a scenario as it is shipped."""
    if group.scenario != group.case or column.key == "access":
        return None
    return table3(group.case, column.key).get(group.policy)


def sentences(found: Collection) -> list[str]:
    """Where the orders of the learners agree with the paper's, by case and column."""
    said: list[str] = []
    for panel in found.panels:
        first = panel[0]
        if first.scenario not in CASES:
            continue
        where = f"{CASES[first.case]}, {WORLDS[first.world]}, T = {first.duration_s:g} s"
        for column in COLUMNS[:-1]:
            ours = {g.policy: g.estimate(column.metric).value for g in panel}
            said += agreement(f"{where}: {column.label}", ours, table3(first.case, column.key))
        said += _against_mappo(where, panel)
    if said:
        said.append("The paper gives no seeds, no intervals and T = 3000 s.")
    return said


def _against_mappo(where: str, panel: Sequence[Group]) -> Iterator[str]:
    """The paper's claim: M2PPO before MAPPO; over the same episodes."""
    by_name = {g.policy: g for g in panel}
    if "m2ppo" in by_name and "mappo" in by_name:
        ad = COLUMNS[0]
        found, episodes = paired(by_name["m2ppo"], by_name["mappo"], ad.metric)
        if episodes:
            theirs = table3(panel[0].case, "ad")
            sure = "" if found.certain else ", which may be chance"
            yield (
                f"{where}: AD: M2PPO − MAPPO = {shown(found, '+')} s/MB over {episodes} common "
                f"episodes{sure}; in the paper {digits(theirs['m2ppo'] - theirs['mappo'], '+')}."
            )


def records(found: Collection) -> Iterator[dict[str, object]]:
    """One row a policy and column, for CSV."""
    for group in found.groups:
        for column in COLUMNS:
            figure: Estimate = group.estimate(column.metric)
            yield {
                "world": group.world,
                "scenario": group.scenario,
                "duration_s": group.duration_s,
                "policy": group.policy,
                "valid": not group.mark,
                "runs": len(group.runs),
                "training_seeds": group.training_seeds,
                "metric": column.key,
                "unit": column.unit,
                "value": figure.value,
                "low": figure.low,
                "high": figure.high,
                "paper": _paper(group, column),
            }

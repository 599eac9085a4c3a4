"""Policies against each other in the simulator on common random numbers.

In every episode all policies meet the same tasks, the same F(t) and the same capacities, so that
differences are compared within episodes. A contest is a sweep of simulations that keeps metrics
alone.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments.guest import described
from experiments.sweep.book import Book, locked
from experiments.sweep.cell import Cell, RunCell
from experiments.sweep.execute import Job, Outcome
from experiments.sweep.lanes import Lanes
from experiments.sweep.plan import Plan
from experiments.sweep.schedule import carry_out
from experiments.tuned import MARK, load_tuned, parse_entry
from experiments.tuning import TUNING_SEEDS
from metrics.episodes import Entrant, Played
from model.errors import UserError
from model.scenario import Scenario
from records.provenance import command_text
from rl import policies
from rl.policies.checkpoint import load, shipped
from rl.policies.learned import Learned

_NAME = "(./lab contest)"
"""No sweep's: its folder has metrics alone, which a sweep would take for whole cells."""


@dataclass(frozen=True, slots=True)
class ContestPlan:
    """Who meets where.

    Attributes:
        scenarios: their ``slots`` is the length of an episode.
        entrants: the entrants of each scenario, for tuned parameters differ, by scenario name.
        seeds: of the episodes, the same for every entrant.
    """

    scenarios: tuple[Scenario, ...]
    entrants: Mapping[str, tuple[Entrant, ...]]
    seeds: tuple[int, ...]

    def cells(self) -> dict[tuple[str, str, int], RunCell]:
        """All cells by (scenario name, label, seed); episodes first, so that a part is paired."""
        return {
            (scenario.name, entrant.label, seed): RunCell(
                scenario, entrant.policy, dict(entrant.params), seed, "simulator"
            )
            for seed in self.seeds
            for scenario in self.scenarios
            for entrant in self.entrants[scenario.name]
        }


@dataclass(frozen=True, slots=True)
class Contest:
    """What a plan came to: all of it, or what was done in time.

    Attributes:
        played: for each scenario, in the plan's order.
        computed, kept: how many cells were simulated now, and were there before.
        complete: whether all are done.
    """

    played: tuple[Played, ...]
    computed: int
    kept: int
    complete: bool


def rules() -> list[str]:
    """Return the names of the lab's policies that are not trained."""
    return [n for n in policies.names() if not issubclass(policies.policy_class(n), Learned)]


def plan_contest(
    scenarios: Sequence[Scenario],
    names: Sequence[str],
    seeds: Sequence[int],
    *,
    tuned: bool,
) -> ContestPlan:
    """A contest of policies by name; ``NAME@default`` keeps its defaults where others are tuned.

    A learner takes part with every checkpoint shipped for a scenario, one per training seed.

    Raises ``UserError`` if a policy does not exist, scenarios share a name, or tuned parameters
    would be compared on the seeds that they were tuned on.
    """
    if len({s.name for s in scenarios}) < len(scenarios):
        raise UserError("two scenarios of a contest have the same name")
    if tuned and set(seeds) & set(TUNING_SEEDS):
        raise UserError(
            f"seeds {min(TUNING_SEEDS)} … {max(TUNING_SEEDS)} are those of tuning; "
            "take others with --seed0"
        )
    entrants = {
        s.name: tuple(e for name in names for e in _entrants(s, name, tuned=tuned))
        for s in scenarios
    }
    return ContestPlan(tuple(scenarios), entrants, tuple(seeds))


def _entrants(scenario: Scenario, word: str, *, tuned: bool) -> list[Entrant]:
    name, wants_default = parse_entry(word)
    facts, ours = described(name), name in policies.names()
    if facts.learned and ours:
        paths = shipped(name, scenario)
        if not paths:
            policies.completed(name, {}, scenario)  # says what to do
        return [
            Entrant(
                f"{name} {load(str(p)).meta.seed}", name, {"checkpoint": str(p)}, facts.needs,
                is_trained=True, is_rule=False, group=name,
            )
            for p in paths
        ]  # fmt: skip
    trained = "checkpoint" in facts.parameters
    enter = partial(Entrant, sees=facts.needs, is_trained=trained, is_rule=ours and not trained)
    found = load_tuned(scenario, name) if tuned and not wants_default else None
    if found is None:
        return [enter(name, name, {})]
    mark = MARK if found.scenario == scenario.name else f" (tuned for {found.scenario})"
    return [enter(f"{name}{mark}", name, found.params)]


def borrowed_checkpoints(plan: ContestPlan) -> list[str]:
    """Say for which learners and scenarios the checkpoints are those of an extended scenario."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for scenario in plan.scenarios:
        for entrant in plan.entrants[scenario.name]:
            home = policies.checkpoint_home(entrant.policy, entrant.params)
            if home and home != policies.own_name(scenario):
                counts[entrant.row, scenario.name, home] += 1
    return [
        f"{row} in {name}: {many} checkpoints shipped for {home}, which {name} extends"
        for (row, name, home), many in counts.items()
    ]


class _Watcher:
    """Counts cells, and stops the contest at the first that fails."""

    def __init__(self, done: int, total: int, on_cell: Callable[[int, int], None]):
        self.done, self.total, self.on_cell = done, total, on_cell
        self.fault = ""

    def begun(self, cell: Cell) -> None:
        """Nothing to show of it."""

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        """Count it, or note why it failed."""
        if outcome.status == "done":
            self.done += 1
            self.on_cell(self.done, self.total)
        elif outcome.status == "failed":
            self.fault = self.fault or outcome.reason

    def passed(self) -> None:
        """Nothing to show of it."""

    def lost(self, cell: Cell, attempt: int) -> None:
        """Nothing to show of it: the cell begins again."""


def run_contest(
    plan: ContestPlan,
    folder: Path,
    *,
    jobs: int,
    on_cell: Callable[[int, int], None] = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Contest:
    """Simulate what is not in ``folder`` yet.

    Args:
        plan: who meets where.
        folder: of the cells.
        jobs: processes.
        on_cell: called with the number of cells that are there and that there will be.
        should_stop: asked a few times a second; ends the contest with what is done by then.

    Raises ``UserError`` if a policy fails, with its reason, or if nothing can be written.
    """
    cells, book = plan.cells(), Book(folder)
    sweep = Plan(_NAME, {c.key: c for c in cells.values()}, {})
    with locked(folder):
        book.begin(_NAME, f"# {command_text(sys.argv)}\n")
        for key in sweep.cells:
            if (known := book.outcome(key)) and known.status == "failed":
                book.forget(key)
        there = {key for key in sweep.cells if book.outcome(key)}
        watcher = _Watcher(len(there), len(sweep.cells), on_cell)
        on_cell(len(there), len(sweep.cells))
        executor, whole = Lanes(book.cell_folder, jobs), False
        try:
            tally = carry_out(
                sweep, book, executor, watcher,
                partial(Job, sweep=_NAME, command=tuple(sys.argv), keep_result=False),
                should_stop=lambda: should_stop() or bool(watcher.fault),
            )  # fmt: skip
            whole = True
        finally:
            executor.close(kill=not whole)
    if watcher.fault:
        raise UserError(watcher.fault)
    outcomes = {key: found for key in sweep.cells if (found := book.outcome(key))}
    played = tuple(_played(plan, scenario, cells, outcomes) for scenario in plan.scenarios)
    complete = len(outcomes) == len(sweep.cells)
    return Contest(played, len(tally.done), len(there), complete)


def _played(
    plan: ContestPlan,
    scenario: Scenario,
    cells: Mapping[tuple[str, str, int], RunCell],
    outcomes: Mapping[str, Outcome],
) -> Played:
    """What the entrants of a scenario came to, in the episodes that are done."""
    metrics = {
        (label, seed): outcomes[cell.key].metrics
        for (name, label, seed), cell in cells.items()
        if name == scenario.name and cell.key in outcomes
    }
    entrants = plan.entrants[scenario.name]
    return Played(scenario.name, scenario.duration_s, entrants, plan.seeds, metrics)

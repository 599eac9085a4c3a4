"""Policies against each other in the simulator on common random numbers.

In every episode all policies meet the same tasks, the same F(t) and the same capacities, so that
differences are compared within episodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from experiments.cells import Cell, Outcome, Store
from experiments.guest import described
from experiments.sweep.worker_pool import in_parallel
from experiments.tuned import MARK, load_tuned, parse_entry
from experiments.tuning import TUNING_SEEDS
from model.errors import UserError
from model.scenario import Scenario
from rl import policies
from rl.policies.checkpoint import load, shipped


@dataclass(frozen=True, slots=True)
class Entrant:
    """A policy with its parameters; ``label`` names it.

    Attributes:
        group: the row of the table that it belongs to: checkpoints of an algorithm that differ in
            their training seed only share one.
    """

    label: str
    policy: str
    params: Mapping[str, policies.Value] = field(default_factory=dict)
    group: str = ""

    @property
    def row(self) -> str:
        """What the table calls it."""
        return self.group or self.label


@dataclass(frozen=True, slots=True)
class Plan:
    """A contest.

    Attributes:
        scenarios: their ``slots`` is the length of an episode.
        entrants: the entrants of each scenario, for tuned parameters differ, by scenario name.
        seeds: of the episodes, the same for everybody.
    """

    scenarios: tuple[Scenario, ...]
    entrants: Mapping[str, tuple[Entrant, ...]]
    seeds: tuple[int, ...]

    def cells(self) -> dict[tuple[str, str, int], Cell]:
        """All cells by (scenario name, label, seed); episodes first, so that a part is paired."""
        return {
            (scenario.name, entrant.label, seed): Cell(
                scenario, entrant.policy, seed, dict(entrant.params)
            )
            for seed in self.seeds
            for scenario in self.scenarios
            for entrant in self.entrants[scenario.name]
        }


@dataclass(frozen=True, slots=True)
class Contest:
    """What a plan came to: outcomes by (scenario name, label, seed), all or those done in time."""

    plan: Plan
    outcomes: Mapping[tuple[str, str, int], Outcome]
    computed: int
    complete: bool


def plan_contest(
    scenarios: Sequence[Scenario],
    names: Sequence[str],
    seeds: Sequence[int],
    *,
    tuned: bool,
) -> Plan:
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
    return Plan(tuple(scenarios), entrants, tuple(seeds))


def _entrants(scenario: Scenario, word: str, *, tuned: bool) -> list[Entrant]:
    name, wants_default = parse_entry(word)
    if described(name).learned and name in policies.names():
        paths = shipped(name, scenario)
        if not paths:
            policies.completed(name, {}, scenario)  # says what to do
        return [
            Entrant(f"{name} {load(str(p)).meta.seed}", name, {"checkpoint": str(p)}, name)
            for p in paths
        ]
    found = load_tuned(scenario, name) if tuned and not wants_default else None
    if found is None:
        return [Entrant(name, name)]
    mark = MARK if found.scenario == scenario.name else f" (tuned for {found.scenario})"
    return [Entrant(f"{name}{mark}", name, found.params)]


def borrowed_checkpoints(plan: Plan) -> list[str]:
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


def run_contest(
    plan: Plan, folder: Path, *, jobs: int, on_cell: Callable[[int, int], None] | None = None
) -> Contest:
    """Simulate what is not in ``folder`` yet; Ctrl-C ends early with what is done by then.

    Args:
        plan: who meets where.
        folder: of the cells.
        jobs: processes.
        on_cell: called with the number of cells that are there and that there will be.
    """
    cells, store = plan.cells(), Store(folder)
    stored = {where: store.load(cell) for where, cell in cells.items()}
    outcomes = {where: outcome for where, outcome in stored.items() if outcome is not None}
    missing = [where for where in cells if where not in outcomes]
    before = len(outcomes)
    if on_cell:
        on_cell(before, len(cells))
    results = in_parallel(partial(_compute, folder), [cells[where] for where in missing], jobs)
    try:
        for k, outcome in results:
            outcomes[missing[k]] = outcome
            if on_cell:
                on_cell(len(outcomes), len(cells))
    except KeyboardInterrupt:
        results.close()
    computed = len(outcomes) - before
    return Contest(plan, outcomes, computed, complete=len(outcomes) == len(cells))


def _compute(folder: Path, cell: Cell) -> Outcome:
    return Store(folder).compute(cell)

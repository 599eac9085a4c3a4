"""From a sweep file to its cells: products taken, scenarios resolved, policies found, keys made."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emulation.sandbox.policy_description import facts_of
from experiments.sweep.cell import Cell, RunCell, TrainCell
from experiments.sweep.spec import CHECKPOINTS, PolicySpec, RunBlock, SweepFile, TrainBlock
from experiments.tuned import load_tuned
from experiments.tuning import TUNING_SEEDS, grid
from model.errors import ScenarioError, UserError, nearest
from model.scenario import Scenario
from model.scenario.load import load_scenario
from model.scenario.yaml_reader import KeyPath
from model.worlds import require_simulable
from rl import policies
from rl.learning.config import load_config
from rl.learning.options import OptionError
from rl.learning.registry import algorithms, is_users
from rl.policies.checkpoint import shipped
from rl.policies.learned import Learned

MAX_CELLS = 100_000
_LARGEST_CLUSTER = 99
_ORDER = {"training": 0, "simulator": 1, "emulation": 2}


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep's cells.

    Attributes:
        name: of the sweep.
        cells: by key, in the order in which they are begun: trainings, simulations, emulations,
            each in an order drawn by ``order_seed``.
        blocks: names of the blocks that a cell belongs to, by key.
    """

    name: str
    cells: Mapping[str, Cell]
    blocks: Mapping[str, tuple[str, ...]]

    def shard(self, index: int, count: int) -> Plan:
        """Part ``index`` (from 1) of ``count``; a run is in the part of the training it needs."""
        groups = sorted({_group(c) for c in self.cells.values()})
        mine = {group for k, group in enumerate(groups) if k % count == index - 1}
        return replace(self, cells={k: c for k, c in self.cells.items() if _group(c) in mine})


def _group(cell: Cell) -> tuple[bool, str]:
    trained = cell.trained if isinstance(cell, RunCell) else cell
    return trained is None, (trained or cell).key


def make_plan(file: SweepFile) -> Plan:
    """All cells of a sweep file. Raises ``UserError`` where something in it does not exist."""
    return _Planner(file).plan()


class _Planner:
    def __init__(self, file: SweepFile):
        self._file, self._sweep = file, file.sweep
        self._trained: dict[str, list[TrainCell]] = {}

    def plan(self) -> Plan:
        cells: dict[str, Cell] = {}
        blocks: dict[str, list[str]] = {}
        for name, cell in self._all():
            known = blocks.setdefault(cell.key, [])
            cells.setdefault(cell.key, cell)
            if name not in known:
                known.append(name)
            if len(cells) > MAX_CELLS:
                raise self._file.mistake(("run", name), f"more than {MAX_CELLS} cells so far")
        order = sorted(cells.values(), key=lambda c: c.key)
        random.Random(self._sweep.order_seed).shuffle(order)
        order.sort(key=lambda c: _ORDER[c.kind])
        return Plan(
            self._sweep.name,
            {c.key: c for c in order},
            {key: tuple(names) for key, names in blocks.items()},
        )

    def _all(self) -> Iterator[tuple[str, Cell]]:
        for name, block in self._sweep.train.items():
            self._trained[name] = list(self._trainings(("train", name), block))
            yield from ((name, cell) for cell in self._trained[name])
        for name, run in self._sweep.run.items():
            yield from ((name, cell) for cell in self._runs(("run", name), run))

    def _trainings(self, where: KeyPath, block: TrainBlock) -> Iterator[TrainCell]:
        for i, named in enumerate(block.scenarios):
            scenario = self._scenario((*where, "scenarios", i), named, block.set)
            self._require_simulable((*where, "scenarios", i), scenario)
            for j, algorithm in enumerate(block.algorithms):
                if is_users(algorithm):
                    raise self._file.mistake(
                        (*where, "algorithms", j),
                        f"'{algorithm}' is a learner of your own, which a sweep does not train; "
                        f"./lab train {named} --algo {algorithm}",
                    )
                for varied in grid(block.vary):
                    settings = {**block.settings, **varied}
                    try:
                        config = load_config(algorithm, settings, scenario)
                    except UserError as error:
                        at = _place_of(error, algorithm, j, varied)
                        raise self._file.mistake((*where, *at), str(error)) from None
                    shown = {**settings, **{f"scenario.{k}": v for k, v in block.set.items()}}
                    for seed in block.seeds:
                        yield TrainCell(scenario, config, seed, shown)

    def _runs(self, where: KeyPath, block: RunBlock) -> Iterator[RunCell]:
        for k, named in enumerate(block.scenarios):
            for devices in block.devices or (None,):
                for varied in grid(block.vary):
                    settings = {**block.set, **varied}
                    here = (*where, "scenarios", k)
                    scenario = self._scenario(here, named, settings, devices)
                    if "simulator" in block.worlds:
                        self._require_simulable(here, scenario)
                    shown = {**settings, **({"devices": devices} if devices else {})}
                    for j, spec in enumerate(block.policies):
                        at = (*where, "policies", j)
                        yield from self._policy_runs(at, block, scenario, spec, shown)

    def _policy_runs(
        self,
        where: KeyPath,
        block: RunBlock,
        scenario: Scenario,
        spec: PolicySpec,
        settings: Mapping[str, Any],
    ) -> Iterator[RunCell]:
        try:
            entrants = list(self._entrants(where, scenario, spec))
            self._require_fair_seeds(where, block.seeds, spec)
        except UserError as error:
            if str(error).startswith(str(self._file.path)):
                raise
            raise self._file.mistake(where, str(error)) from None
        for seed in block.seeds:
            for world in block.worlds:
                emulated = world == "emulation"
                for params, trained in entrants:
                    yield RunCell(
                        scenario,
                        spec.policy,
                        params,
                        seed,
                        world,
                        speedup=block.speedup if emulated else 1.0,
                        without_netem=emulated and block.without_netem,
                        trained=trained,
                        settings=settings,
                    )

    def _scenario(
        self,
        where: KeyPath,
        name: str,
        settings: Mapping[str, Any],
        devices: int | None = None,
    ) -> Scenario:
        try:
            scenario = load_scenario(name, settings, text_is_yaml=False)
            if devices is None:
                return scenario
            settings = {**settings, "network.clusters": _spread(scenario, devices)}
            return load_scenario(name, settings, text_is_yaml=False)
        except UserError as error:
            raise self._file.mistake(where, str(error)) from None

    def _require_simulable(self, where: KeyPath, scenario: Scenario) -> None:
        try:
            require_simulable(scenario)
        except ScenarioError as error:
            raise self._file.mistake(where, str(error)) from None

    def _entrants(
        self, where: KeyPath, scenario: Scenario, spec: PolicySpec
    ) -> Iterator[tuple[dict[str, policies.Value], TrainCell | None]]:
        """Parameters, and the training that completes them, of all that a policy stands for."""
        self._require_checkpoints(where, spec)
        if ":" in spec.policy:
            facts_of(spec.policy)
            yield from ((policies.canonical(spec.policy, p), None) for p in _varied(spec))
            return
        kind = policies.policy_class(spec.policy)
        if spec.tuned:
            found = load_tuned(scenario, spec.policy)
            if found is None:
                raise UserError(
                    f"{spec.policy} is not tuned for {scenario.name}; "
                    f"./lab tune {spec.policy} {scenario.name}"
                )
            yield dict(found.params), None
            return
        for params in _varied(spec):
            params = policies.canonical(spec.policy, params)
            if not issubclass(kind, Learned) or "checkpoint" in params:
                yield policies.completed(spec.policy, params, scenario), None
            elif spec.checkpoints in self._trained:
                for cell in self._training_of(where, scenario, spec):
                    yield params, cell
            else:
                for path in self._shipped(where, kind.algorithm, scenario, spec):
                    given = {"checkpoint": str(path)} if path else {}
                    yield policies.completed(spec.policy, {**params, **given}, scenario), None

    def _require_checkpoints(self, where: KeyPath, spec: PolicySpec) -> None:
        """Raise ``ScenarioError`` where ``checkpoints`` is given and would not be used."""
        if "checkpoints" not in spec.model_fields_set:
            return
        own = ":" in spec.policy
        learned = not own and issubclass(policies.policy_class(spec.policy), Learned)
        named = "checkpoint" in spec.params or "checkpoint" in spec.vary
        if learned and not (named or spec.tuned):
            return
        why = "beside its checkpoint" if named else "beside tuned" if spec.tuned else ""
        why = why if learned else f"for {spec.policy}, which is no learner of the lab"
        raise self._file.mistake((*where, "checkpoints"), f"no meaning {why}")

    def _training_of(self, where: KeyPath, scenario: Scenario, spec: PolicySpec) -> list[TrainCell]:
        """Trainings of a block for a scenario, or else for the nearest one that it extends."""
        mine = [c for c in self._trained[spec.checkpoints] if c.policy == spec.policy]
        for file in scenario.files:
            found = [c for c in mine if c.scenario.files[:1] == (file,)]
            if found:
                return found
        raise self._file.mistake(
            (*where, "checkpoints"),
            f"block '{spec.checkpoints}' trains no {spec.policy} for {scenario.name}",
        )

    def _shipped(
        self, where: KeyPath, algorithm: str, scenario: Scenario, spec: PolicySpec
    ) -> Sequence[object]:
        if spec.checkpoints not in CHECKPOINTS:
            allowed = [*CHECKPOINTS, *self._trained]
            raise self._file.mistake(
                (*where, "checkpoints"),
                f"there is no training block '{spec.checkpoints}'"
                f"{nearest(spec.checkpoints, allowed) or '.'} There are: {', '.join(allowed)}",
            )
        return shipped(algorithm, scenario) or [None] if spec.checkpoints == "shipped" else [None]

    def _require_fair_seeds(self, where: KeyPath, seeds: Sequence[int], spec: PolicySpec) -> None:
        if spec.tuned and set(seeds) & set(TUNING_SEEDS):
            raise self._file.mistake(
                (*where[:2], "seeds"),
                f"{min(TUNING_SEEDS)} … {max(TUNING_SEEDS)} are the seeds of tuning; take others",
            )


def _place_of(error: UserError, algorithm: str, j: int, varied: Mapping[str, object]) -> KeyPath:
    """Where in a training block something is wrong."""
    if algorithm not in algorithms():
        return "algorithms", j
    key = error.key if isinstance(error, OptionError) else ""
    return ("vary" if key in varied else "settings"), *([key] if key else [])


def _varied(spec: PolicySpec) -> list[dict[str, policies.Value]]:
    return [{**spec.params, **varied} for varied in grid(spec.vary)]


def _spread(scenario: Scenario, devices: int) -> list[dict[str, Any]]:
    """Clusters that hold so many devices evenly; more, or fewer, of them where that is needed."""
    cells = [b.name for b in scenario.network.base_stations]
    clusters = [(c.name, c.bs) for c in scenario.network.clusters]
    while len(clusters) * _LARGEST_CLUSTER < devices:
        clusters += [(f"c{len(clusters) + k + 1}", bs) for k, bs in enumerate(cells)]
    if devices < len(clusters):
        # One device each, cell by cell.
        first = [next((c for c in clusters if c[1] == bs), None) for bs in cells]
        clusters = [*(c for c in first if c), *(c for c in clusters if c not in first)][:devices]
    each, rest = divmod(devices, len(clusters))
    return [
        {"name": name, "bs": bs, "devices": each + (k < rest)}
        for k, (name, bs) in enumerate(clusters)
    ]

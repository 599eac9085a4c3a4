"""How far the two worlds are apart: an emulation against a simulation of the same run.

Both worlds have the same tasks, so tasks are compared one by one; but a policy that saw something
else decided something else, so that only tasks with the same decision tell of the worlds alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metrics.summary import Summary, delays_s, summarise
from model.aliases import FloatArray
from model.errors import UserError
from model.observation import TARGET_KINDS
from records.reader import Result

NAN = float("nan")
AIM = 0.05
"""Largest relative difference of unit delays that counts as agreement."""
QUANTILES = np.arange(0.01, 1.0, 0.01)
PARTS = ("sending and links", "waiting and service", "result")
"""Where the time of a finished task goes: until its last byte has arrived, until the end of its
service, until its device knows."""
_STEPS = ("born_s", "arrived_s", "service_end_s", "known_s")


@dataclass(frozen=True, slots=True)
class Metric:
    """One quantity in both worlds; NaN where a world did not measure it."""

    name: str
    unit: str
    emulation: float
    simulation: float

    @property
    def relative(self) -> float:
        """Emulation / simulation - 1; NaN where the simulation has zero."""
        return self.emulation / self.simulation - 1.0 if self.simulation else NAN

    @property
    def difference(self) -> float:
        """Emulation - simulation."""
        return self.emulation - self.simulation


@dataclass(frozen=True, slots=True)
class TaskGap:
    """Tasks of one kind of target (``all``: of any) that were decided alike in both worlds.

    Times in s, of the tasks that were finished in both.

    Attributes:
        kind: of target.
        share: of tasks of that kind in the emulation that were decided alike.
        tasks: how many were decided alike and finished.
        mean, median: of E emulated - E simulated.
        p90_absolute: nine of ten differ by less.
        parts: mean difference by part of the way, see ``PARTS``; their sum is ``mean``.
    """

    kind: str
    share: float
    tasks: int
    mean: float
    median: float
    p90_absolute: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """One run in both worlds, compared.

    Attributes:
        policy, seed: of the run.
        folders: result folders, emulation first.
        verdict: the emulation's own.
        metrics: of the whole run.
        parts: mean time of finished tasks by part of the way, as metrics.
        quantiles: of E at ``QUANTILES``, s, (2, 99), emulation first; pending tasks included.
        kinds: tasks decided alike, by kind of target.
        links, units: mean load V/c and Q/F of each link and unit, s.
        drops: packets that the emulation's queues refused; the simulator's refuse none.
    """

    policy: str
    seed: int
    folders: tuple[str, str]
    verdict: str
    metrics: tuple[Metric, ...]
    parts: tuple[Metric, ...]
    quantiles: FloatArray
    kinds: tuple[TaskGap, ...]
    links: tuple[Metric, ...]
    units: tuple[Metric, ...]
    drops: int

    def metric(self, name: str) -> Metric:
        """A metric by name. Raises ``KeyError``."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Order:
    """Policies from the smallest mean unit delay to the largest, in both worlds.

    Attributes:
        emulation, simulation: names of policies.
        swapped: pairs of policies that stand the other way round, with how far they are apart,
            relative: (a, b, b / a - 1 in the emulation, the same in the simulation).
    """

    emulation: tuple[str, ...]
    simulation: tuple[str, ...]
    swapped: tuple[tuple[str, str, float, float], ...]

    @property
    def same(self) -> bool:
        """Whether both worlds put the policies in the same order."""
        return not self.swapped


@dataclass(frozen=True, slots=True)
class Gap:
    """All pairs of a scenario, and what they say together.

    Attributes:
        scenario: its name.
        slots: length of the runs.
        pairs: those compared.
        left_out: emulations that were not, and why.
    """

    scenario: str
    slots: int
    pairs: tuple[Pair, ...]
    left_out: tuple[tuple[str, str], ...] = field(default=())

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the policies, in order of appearance."""
        return tuple(dict.fromkeys(p.policy for p in self.pairs))

    def of(self, policy: str) -> tuple[Pair, ...]:
        """The pairs of a policy."""
        return tuple(p for p in self.pairs if p.policy == policy)

    def mean(self, policy: str) -> tuple[Metric, ...]:
        """Each metric, its mean over the policy's seeds."""
        return mean_metrics([p.metrics for p in self.of(policy)])

    def order(self) -> Order:
        """The order of the policies by mean unit delay."""
        delay = {
            policy: next(m for m in self.mean(policy) if m.name == "unit delay")
            for policy in self.policies
        }
        swapped = []
        for a, b in itertools.combinations(self.policies, 2):
            emulated = delay[b].emulation / delay[a].emulation - 1.0
            simulated = delay[b].simulation / delay[a].simulation - 1.0
            if emulated * simulated < 0.0:
                swapped.append((a, b, emulated, simulated))
        return Order(
            tuple(sorted(delay, key=lambda p: delay[p].emulation)),
            tuple(sorted(delay, key=lambda p: delay[p].simulation)),
            tuple(swapped),
        )


def mean_metrics(several: Sequence[Sequence[Metric]]) -> tuple[Metric, ...]:
    """Metrics of the same names, each in its mean over the runs that have it."""
    found: dict[tuple[str, str], list[Metric]] = {}
    for metrics in several:
        for metric in metrics:
            found.setdefault((metric.name, metric.unit), []).append(metric)
    return tuple(
        Metric(*key, _mean([m.emulation for m in ms]), _mean([m.simulation for m in ms]))
        for key, ms in found.items()
    )


def require_same_run(emulation: Result, simulation: Result) -> None:
    """Raise ``UserError`` unless the two are the same run, one in each world."""
    for result, world in ((emulation, "emulation"), (simulation, "simulation")):
        if result.manifest["world"] != world:
            raise UserError(f"{result.folder}: is no result of the {world}")
    for key in ("policy", "seed", "policy_params"):
        here, there = emulation.manifest[key], simulation.manifest[key]
        if here != there:
            raise UserError(f"{emulation.folder} has {key} {here}, {simulation.folder} {there}")
    if emulation.scenario != simulation.scenario:
        raise UserError(f"{emulation.folder} and {simulation.folder} differ in their scenario")


def compare(emulation: Result, simulation: Result) -> Pair:
    """Compare a run in both worlds.

    Raises ``UserError`` if they are not the same run, or a table cannot be read.
    """
    require_same_run(emulation, simulation)
    end_s = emulation.scenario.duration_s
    tasks = [_by_task(r.table("tasks")) for r in (emulation, simulation)]
    if not np.array_equal(_floats(tasks[0], "born_s"), _floats(tasks[1], "born_s")):
        raise UserError(f"{emulation.folder} and {simulation.folder} have different tasks")
    summaries = summarise(emulation), summarise(simulation)
    delays = [delays_s(t, end_s) for t in tasks]
    quantiles = np.array([np.quantile(d, QUANTILES) for d in delays])
    steps = [_steps(t) for t in tasks]
    return Pair(
        policy=str(emulation.manifest["policy"]),
        seed=int(emulation.manifest["seed"]),
        folders=(str(emulation.folder), str(simulation.folder)),
        verdict=str(emulation.manifest.get("fidelity", {}).get("verdict", "not judged")),
        metrics=_metrics(*summaries, *(_mean_ping_s(r) for r in (emulation, simulation))),
        parts=_parts(*steps),
        quantiles=quantiles,
        kinds=_kinds(tasks, steps),
        links=_loads("links", "link", emulation, simulation),
        units=_loads("units", "unit", emulation, simulation),
        drops=summaries[0].drops,
    )


def _by_task(table: pa.Table) -> pa.Table:
    return table.sort_by("task")


def _floats(table: pa.Table, name: str) -> FloatArray:
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def _mean(values: Sequence[float] | FloatArray) -> float:
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    return float(array.mean()) if array.size else NAN


def _mean_ping_s(result: Result) -> float:
    return _mean(_floats(result.table("probes"), "rtt_s"))


def _metrics(
    emulated: Summary, simulated: Summary, ping_e: float, ping_s: float
) -> tuple[Metric, ...]:
    plain = (
        ("unit delay", "s/MB", "unit_delay"),
        ("E, mean", "s", "delay_mean"),
        ("E, median", "s", "delay_p50"),
        ("E, 95 %", "s", "delay_p95"),
        ("ANLR = Q/F", "s", "anlr"),
        ("ping round trip, median", "s", "ping_rtt"),
    )
    by_class = (
        ("load Q/F", "s", "node_load"),
        ("load V/c", "s", "link_load"),
        ("utilisation", "", "utilisation"),
        ("tasks sent to", "", "target_share"),
    )
    metrics = [Metric(n, u, getattr(emulated, a), getattr(simulated, a)) for n, u, a in plain]
    metrics.append(Metric("ping round trip, mean", "s", ping_e, ping_s))
    for name, unit, attribute in by_class:
        here, there = getattr(emulated, attribute), getattr(simulated, attribute)
        missing = 0.0 if attribute == "target_share" else NAN
        metrics += [
            Metric(f"{name}, {key}", unit, here.get(key, missing), there.get(key, missing))
            for key in sorted({*here, *there})
        ]
    return tuple(metrics)


def _steps(tasks: pa.Table) -> FloatArray:
    """Durations of the parts of each task, (tasks, parts), s; NaN for what is not finished."""
    moments = np.stack([_floats(tasks, name) for name in _STEPS], axis=1)
    done = np.asarray([o == "done" for o in tasks["outcome"].to_pylist()], dtype=bool)
    moments[~done] = NAN
    durations: FloatArray = np.diff(moments, axis=1)
    return durations


def _parts(emulated: FloatArray, simulated: FloatArray) -> tuple[Metric, ...]:
    return tuple(
        Metric(name, "s", _mean(emulated[:, k]), _mean(simulated[:, k]))
        for k, name in enumerate(PARTS)
    )


def _kinds(tasks: Sequence[pa.Table], steps: Sequence[FloatArray]) -> tuple[TaskGap, ...]:
    kind = np.asarray(tasks[0]["target_kind"].to_pylist(), dtype=object)
    decided = np.asarray([k is not None for k in kind], dtype=bool)
    targets = [np.asarray(t["target"].to_pylist(), dtype=object) for t in tasks]
    rates = [_floats(t, "rate_mbps") for t in tasks]
    # A task that stays at home is sent at no rate, whatever the policy said of it.
    alike = decided & (targets[0] == targets[1])
    alike &= (kind == "self") | np.isclose(rates[0], rates[1], rtol=1e-6)
    gaps = []
    for name in ("all", *TARGET_KINDS):
        chosen = decided if name == "all" else kind == name
        if chosen.any():
            gaps.append(_task_gap(name, chosen, alike, steps[0] - steps[1]))
    return tuple(gaps)


def _task_gap(
    name: str, chosen: NDArray[np.bool_], alike: NDArray[np.bool_], difference: FloatArray
) -> TaskGap:
    mine = difference[chosen & alike]
    mine = mine[np.isfinite(mine).all(axis=1)]
    total = mine.sum(axis=1)
    return TaskGap(
        kind=name,
        share=float(alike[chosen].mean()),
        tasks=len(mine),
        mean=_mean(total),
        median=float(np.median(total)) if len(total) else NAN,
        p90_absolute=float(np.quantile(np.abs(total), 0.9)) if len(total) else NAN,
        parts={part: _mean(mine[:, k]) for k, part in enumerate(PARTS)},
    )


def _loads(table: str, column: str, emulation: Result, simulation: Result) -> tuple[Metric, ...]:
    here, there = (
        {
            row[column]: row["load_s_mean"]
            for row in r.table(table, [column, "load_s"])
            .group_by(column)
            .aggregate([("load_s", "mean")])
            .to_pylist()
        }
        for r in (emulation, simulation)
    )
    return tuple(
        Metric(name, "s", float(here.get(name) or 0.0), float(there.get(name) or 0.0))
        for name in sorted({*here, *there})
    )


def worst(metrics: Sequence[Metric], count: int = 3) -> tuple[Metric, ...]:
    """Those that differ most, in their own unit."""
    ranked = sorted(
        metrics, key=lambda m: -abs(m.difference) if m.difference == m.difference else 0
    )
    return tuple(ranked[:count])


def correlation(metrics: Sequence[Metric]) -> float:
    """Pearson's r of both worlds over the metrics; NaN where one of them is constant."""
    values = np.array([[m.emulation, m.simulation] for m in metrics])
    if len(values) < 3 or (values.std(axis=0) < 1e-9).any():
        return NAN
    return float(np.corrcoef(values.T)[0, 1])


def plain(value: Any) -> Any:
    """As data for JSON: NaN becomes None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value

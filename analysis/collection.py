"""Many result folders at once: opened, summarised, grouped; what cannot be used is said.

Results are put together only where they are of the same world, scenario (every value of it) and
length. A result that cannot be read, a run that did not end by itself and an emulation that its own
verdict calls invalid are left out with a sentence each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.scenario_labels import scenario_labels, scenario_text
from analysis.style import Look, look, rank
from metrics.statistics import (
    Estimate,
    estimate,
    estimate_crossed,
    interquartile_mean,
    paired_difference,
)
from metrics.summary import Summary, summarise
from model.aliases import FloatArray
from model.errors import UserError
from records.reader import Result, find_results, open_result

OnRun = Callable[[int, int], None]
Metric = Callable[[Summary], float]
_LONGEST = 24
"""Letters of parameters that a label has room for."""
MARK = "†"
"""Stands at numbers that an invalid emulation is in."""


@dataclass
class Run:
    """A result with its metrics.

    Attributes:
        summary: see ``metrics.summary``.
    """

    result: Result
    summary: Summary

    @property
    def world(self) -> str:
        """``emulation`` or ``simulation``."""
        return str(self.result.manifest["world"])

    @property
    def seed(self) -> int:
        """Of tasks, frequencies and policy: the same seed of a scenario is the same episode."""
        return int(self.result.manifest["seed"])

    @cached_property
    def policy(self) -> str:
        """The policy with its parameters, a checkpoint left out: ``greedy price=False``.

        Many parameters, as tuned ones are, are told apart by a hash: ``self-biased (set 3fa2)``.
        """
        name, params = str(self.result.manifest["policy"]), self._params
        told = _listed(params, _one_number)
        if len(_listed(params, _as_float)) > _LONGEST:
            told = f"(set {hashlib.sha256(_listed(params, _as_float).encode()).hexdigest()[:4]})"
        return f"{name} {told}" if told else name

    @property
    def checkpoint(self) -> str:
        """The file with a learned policy, '' of a rule: what differs between training seeds."""
        return str(self._params.get("checkpoint", ""))

    @property
    def _params(self) -> Mapping[str, Any]:
        params = self.result.manifest.get("policy_params")
        return params if isinstance(params, dict) else {}

    @cached_property
    def scenario_text(self) -> str:
        """Every value of the scenario but its length and description, to compare by."""
        return scenario_text(self.result.manifest["scenario"])

    @property
    def speedup(self) -> float:
        """Scenario seconds per real second."""
        return float(self.result.manifest.get("speedup", 1.0))

    @property
    def started(self) -> str:
        """UTC, ISO 8601."""
        return str(self.result.manifest.get("started_utc"))

    @property
    def commit(self) -> str:
        """Of the lab that made it."""
        git = self.result.manifest.get("git")
        return str(git.get("commit")) if isinstance(git, dict) else ""

    @property
    def valid(self) -> bool:
        """False of an emulation whose verdict is ``invalid`` or missing."""
        return self.world != "emulation" or self.result.verdict == "valid"

    @property
    def duration_s(self) -> float:
        """T, scenario s."""
        return self.summary.end_s


@dataclass(frozen=True)
class Group:
    """Runs of one policy in one scenario, world and length.

    Attributes:
        scenario: its name, with what sets it apart from others of that name.
        case: its name alone.
    """

    world: str
    scenario: str
    case: str
    duration_s: float
    policy: str
    runs: tuple[Run, ...]

    @property
    def look(self) -> Look:
        """How it is drawn."""
        return look(self.policy)

    @property
    def mark(self) -> str:
        """``MARK`` if an invalid emulation is among the runs."""
        return "" if all(r.valid for r in self.runs) else MARK

    @property
    def training_seeds(self) -> int:
        """Checkpoints that played; 0 of a rule."""
        return len({r.checkpoint for r in self.runs if r.checkpoint})

    def values(self, metric: Metric) -> FloatArray:
        """Of every run, NaN where there was nothing to measure."""
        return np.array([metric(r.summary) for r in self.runs], dtype=np.float64)

    def estimate(
        self, metric: Metric, statistic: Callable[..., Any] = interquartile_mean
    ) -> Estimate:
        """Over episodes, and over training seeds where all have played the same episodes.

        Runs without the metric are left out; NaN if none has it.
        """
        known = [r for r in self.runs if np.isfinite(metric(r.summary))]
        if not known:
            return Estimate(np.nan, np.nan, np.nan)
        table = {(r.checkpoint, r.seed): metric(r.summary) for r in known}
        teachers, seeds = {t for t, _ in table}, {s for _, s in table}
        if len(teachers) > 1 and len(table) == len(teachers) * len(seeds):
            crossed = [[table[t, s] for s in sorted(seeds)] for t in sorted(teachers)]
            return estimate_crossed(np.array(crossed), statistic)
        return estimate([metric(r.summary) for r in known], statistic)


def paired(group: Group, reference: Group, metric: Metric) -> tuple[Estimate, int]:
    """Mean difference of a metric, group − reference, over the episodes that both have played.

    Returns it with the number of such episodes; NaN and 0 where there is none. Checkpoints that
    have not played all of them are left out.
    """
    values, other = (_by_checkpoint(g, metric) for g in (group, reference))
    mean_other: dict[int, list[float]] = {}
    for played in other.values():
        for seed, value in played.items():
            mean_other.setdefault(seed, []).append(value)
    common = sorted(set(mean_other).intersection(*(set(v) for v in values.values())))
    if not values or not common:
        return Estimate(np.nan, np.nan, np.nan), 0
    table = np.array([[played[seed] for seed in common] for played in values.values()])
    against = np.array([np.mean(mean_other[seed]) for seed in common])
    return paired_difference(table, against), len(common)


def _by_checkpoint(group: Group, metric: Metric) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for run in group.runs:
        value = metric(run.summary)
        if np.isfinite(value):
            found.setdefault(run.checkpoint, {})[run.seed] = value
    return found


@dataclass(frozen=True)
class Collection:
    """What was found below some folders.

    Attributes:
        groups: sorted by world, scenario, length, policy.
        left_out: sentences on what is not in ``groups``.
        notes: other sentences.
    """

    groups: tuple[Group, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """All sentences."""
        return (*self.left_out, *self.notes)

    @cached_property
    def panels(self) -> tuple[tuple[Group, ...], ...]:
        """Groups that may be compared: of one world, scenario and length."""
        together: dict[tuple[str, str, float], list[Group]] = {}
        for group in self.groups:
            key = group.world, group.scenario, group.duration_s
            together.setdefault(key, []).append(group)
        return tuple(tuple(groups) for groups in together.values())

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them."""
        return tuple(r for g in self.groups for r in g.runs)


@dataclass
class _Sieve:
    """Takes results one by one and keeps what can be used."""

    keep_invalid: bool
    partial: bool
    runs: list[Run] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, folder: Path) -> None:
        try:
            result = open_result(folder)
            why = _unfinished(result)
            if why and not self.partial:
                self.left_out.append(f"{folder}: left out: {why}.")
                return
            run = Run(result, summarise(result))
        except UserError as error:
            self.left_out.append(f"left out: {error}.")
            return
        if not run.valid and not self.keep_invalid:
            self.left_out.append(f"{folder}: left out: the run says of itself: {result.verdict}.")
            return
        if not run.valid:
            self.notes.append(f"{folder}: marked {MARK}: {result.verdict}.")
        if why:
            self.notes.append(f"{folder}: {why}.")
        self.runs.append(run)


def _unfinished(result: Result) -> str:
    manifest = result.manifest
    if not result.finished:
        return "the run was killed before its end"
    if manifest.get("complete") is False:
        return f"the run was interrupted after {float(manifest.get('ran_s', 0)):.0f} s"
    if manifest["exit_status"] != 0:
        why = manifest.get("error") or f"exit status {manifest['exit_status']}"
        return f"the run broke ({why})"
    return ""


def collect(
    folders: Iterable[Path],
    *,
    keep_invalid: bool = False,
    partial: bool = False,
    on_run: OnRun | None = None,
) -> Collection:
    """All results at or below some folders.

    Args:
        folders: results, or folders anywhere below which results lie.
        keep_invalid: take emulations whose verdict is ``invalid`` too, marked.
        partial: take runs too that did not come to their end.
        on_run: called with the number of results read and to be read.

    Raises ``UserError`` if there is no folder, or no result below any.
    """
    named = [Path(f) for f in folders]
    paths = list(dict.fromkeys(p for folder in named for p in find_results(folder)))
    if not paths:
        raise UserError(f"{', '.join(map(str, named))}: no result lies below (no manifest.json)")
    sieve = _Sieve(keep_invalid, partial)
    for k, path in enumerate(paths):
        sieve.take(path)
        if on_run:
            on_run(k + 1, len(paths))
    runs, repeated = _newest(sieve.runs)
    notes = (*sieve.notes, *repeated, *_commits(runs))
    return Collection(_grouped(runs), tuple(sieve.left_out), notes)


def _newest(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """One run of each episode: counted twice it would look like two independent ones."""
    by_episode: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        key = (run.world, run.speedup, run.scenario_text, run.duration_s, run.policy,
               run.checkpoint, run.seed)  # fmt: skip
        by_episode.setdefault(key, []).append(run)
    newest = [max(several, key=lambda r: r.started) for several in by_episode.values()]
    count = len(runs) - len(newest)
    note = f"Of an episode that was run again the last run counts: {count} earlier left out."
    return newest, [note] if count else []


def _commits(runs: Sequence[Run]) -> list[str]:
    count = len({run.commit for run in runs})
    return [f"The results are of {count} different commits of the lab."] if count > 1 else []


def some(found: Collection) -> Collection:
    """The same, if there is anything in it; else ``UserError`` with the reasons."""
    if not found.groups:
        raise UserError("no result can be used: " + " ".join(found.left_out[:3]))
    return found


def _grouped(runs: Sequence[Run]) -> tuple[Group, ...]:
    names = scenario_labels(run.scenario_text for run in runs)
    together: dict[tuple[str, str, str, float, str], list[Run]] = {}
    for run in runs:
        case = str(run.result.manifest["scenario"]["name"])
        fast = f" at speed-up {run.speedup:g}" if run.speedup != 1.0 else ""
        key = run.world, names[run.scenario_text] + fast, case, run.duration_s, run.policy
        together.setdefault(key, []).append(run)
    groups = [Group(*key, tuple(sorted(v, key=_order))) for key, v in together.items()]
    groups.sort(key=lambda g: (g.world, g.case, g.scenario, g.duration_s, rank(g.policy)))
    return tuple(groups)


def _one_number(value: object) -> object:
    """Return a whole number as ``int``: a manifest's 10 and 10.0 are one parameter."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_float(value: object) -> object:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _listed(params: Mapping[str, Any], spelled: Callable[[object], object]) -> str:
    shown = ((k, spelled(v)) for k, v in sorted(params.items()) if k != "checkpoint")
    return ", ".join(f"{k}={v}" for k, v in shown)


def _order(run: Run) -> tuple[str, int, str]:
    return run.checkpoint, run.seed, str(run.result.folder)

"""Logs of training runs, as ``./lab train`` and sweeps leave them: JSON lines, a row a chunk."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.paper import printed
from metrics.statistics import band
from model.aliases import FloatArray
from model.errors import UserError
from model.scenario.yaml_reader import read_yaml
from records.plain import read_object

LOG, CONFIG = "log.jsonl", "config.yaml"


@dataclass(frozen=True)
class Training:
    """One training run.

    Attributes:
        case: its scenario's name.
        config: its hyper-parameters.
        rows: of the log, in order of environment slots; a run that went on from an earlier state
            has the rows of its second try.
    """

    folder: Path
    case: str
    algorithm: str
    seed: int
    config: dict[str, Any]
    rows: tuple[dict[str, Any], ...]

    def series(self, name: str) -> tuple[FloatArray, FloatArray]:
        """(environment slots, values) of the rows that have a value."""
        found = [(r["slots"], r[name]) for r in self.rows if isinstance(r.get(name), int | float)]
        table = np.array(found, dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    @property
    def held_out(self) -> tuple[FloatArray, FloatArray]:
        """(environment slots, unit delay on held-out episodes, the better way to decide)."""
        found = []
        for row in self.rows:
            values = [v for k, v in row.items() if k.startswith("held_out_")]
            if values:
                found.append((row["slots"], min(values)))
        table = np.array(found, dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]


@dataclass(frozen=True)
class Trainings:
    """What was found; ``left_out`` in sentences."""

    runs: tuple[Training, ...]
    left_out: tuple[str, ...] = ()

    def cases(self) -> tuple[str, ...]:
        """Scenarios, in order of name."""
        return tuple(sorted({r.case for r in self.runs}))


@dataclass(frozen=True)
class Curve:
    """A quantity over environment slots: mean over training seeds, 95 % interval (NaN: one seed).

    All arrays have shape (points,).
    """

    slots: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def last(self) -> float:
        """Mean of the last tenth."""
        return float(self.value[-max(1, len(self.value) // 10) :].mean())


def curve(runs: Iterable[Training], name: str) -> Curve:
    """The mean over runs, at the slots of the run with the fewest, as far as all have come.

    Raises ``ValueError`` if no run has the quantity.
    """
    series = [(x, y) for x, y in (r.series(name) for r in runs) if len(x)]
    slots = min((x for x, _ in series), key=len)
    slots = slots[slots <= min(x[-1] for x, _ in series)]
    table = np.array([np.interp(slots, x, y) for x, y in series])
    return Curve(slots, table.mean(axis=0), *band(table))


_LENGTH = ("slots", "evaluate_every", "evaluation_episodes")
"""Hyper-parameters that make no other algorithm."""


def labels(runs: Iterable[Training]) -> dict[Path, str]:
    """Folder → algorithm, with the hyper-parameters that set it apart: ``m2ppo critics=min``.

    They are told against what the paper says of its algorithms, and else the commonest value among
    the runs of the algorithm in its case: algorithms may have settings for a case.
    """
    found: dict[Path, str] = {}
    by_algorithm: dict[tuple[str, str], list[Training]] = {}
    for run in runs:
        by_algorithm.setdefault((run.algorithm, run.case), []).append(run)
    for (algorithm, _), several in by_algorithm.items():
        flat = {run.folder: _hyperparameters(run.config) for run in several}
        usual = dict(printed()["learners"].get(algorithm, {}))
        for name in dict.fromkeys(k for one in flat.values() for k in one):
            counts = Counter(str(one.get(name)) for one in flat.values())
            usual.setdefault(name, counts.most_common(1)[0][0])
        for folder, one in flat.items():
            other = [f"{k}={one[k]}" for k in usual if k in one and str(one[k]) != str(usual[k])]
            found[folder] = " ".join([algorithm, *other])
    return found


def _hyperparameters(config: dict[str, Any]) -> dict[str, Any]:
    options = config.get("options") or {}
    flat = {k: v for k, v in config.items() if k not in (*_LENGTH, "algorithm", "options")}
    return flat | {f"options.{k}": v for k, v in options.items()}


def find_trainings(folders: Iterable[Path]) -> Trainings:
    """Training runs at or below some folders. Raises ``UserError`` if there is none."""
    named, runs, left_out = [Path(f) for f in folders], [], []
    for folder in dict.fromkeys(p for root in named for p in _folders(root)):
        try:
            runs.append(_read(folder))
        except (UserError, OSError, ValueError, KeyError) as error:
            left_out.append(f"{folder}: left out: {' '.join(str(error).split())}.")
    if not runs:
        why = " ".join(left_out[:2]) or f"training runs have a {LOG} and a {CONFIG}"
        raise UserError(f"{', '.join(map(str, named))}: no training run lies below: {why}")
    return Trainings(tuple(runs), tuple(left_out))


def _folders(root: Path) -> list[Path]:
    return sorted(Path(at) for at, _, files in os.walk(root) if {LOG, CONFIG} <= set(files))


def _read(folder: Path) -> Training:
    config = read_yaml((folder / CONFIG).read_text(encoding="utf-8"), CONFIG).data
    if not isinstance(config, dict):
        raise UserError(f"{CONFIG} has no options of a training in it")
    rows: list[dict[str, Any]] = []
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    for k, line in enumerate(lines):
        try:
            row = json.loads(line)
        except ValueError:
            if k < len(lines) - 1:
                raise UserError(f"line {k + 1} of {LOG} is no JSON") from None
            break  # The run was killed in the middle of a line.
        while rows and rows[-1]["slots"] >= row["slots"] and "unit_delay" in row:
            rows.pop()
        rows.append(row)
    if len(rows) < 2:
        raise UserError(f"{LOG} has no chunk of training in it")
    card = read_object(folder / "card.json") or {}
    case = str(card.get("scenario") or folder.parent.parent.name)
    seed = card.get("seed", folder.name.removeprefix("seed"))
    return Training(folder, case, str(config["algorithm"]), int(seed), config, tuple(rows))

"""Tuned parameters of the rules: found here, kept as data beside the scenarios they are for."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments.keys import code_version, scenario_hash
from experiments.tuning import TUNING_SEEDS, Known, Params, Trial, grid, tune
from model.errors import UserError, as_user_error
from model.scenario import Scenario
from model.scenario.load import shipped_ancestors
from model.scenario.yaml_reader import dump_yaml, read_yaml
from records.ownership import give_to_user, make_folder
from records.provenance import git_state, utc_now
from records.user_folders import data_folder
from records.writer import write_atomically
from rl import policies

TUNED_FOLDER = Path(__file__).resolve().parent.parent / "scenarios" / "tuned"
"""What comes with the lab; what a user tunes goes to `own_folder`."""
_logger = logging.getLogger(__name__)

MARK = " (tuned)"
DEFAULT = "@default"

GRIDS: Mapping[str, Mapping[str, Sequence[policies.Value]]] = {
    "self-biased": {
        "bias_s": (0.0, 0.1, 0.25, 0.5, 1.0),
        "peer_bias_s": (0.25, 0.5, 1.0, 2.0, 4.0),
        "scale": (1.0, 1.25, 1.5, 2.0),
        "temperature_s": (0.0, 0.02, 0.05, 0.1, 0.2),
        "memory_s": (3.0, 6.0, 10.0, 20.0),
        "unknown_wait_s": (0.1, 0.3, 0.6),
    },
    "threshold": {
        "local_s": (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0),
        "edge_s": (0.0, 0.5, 1.0, 2.0, 4.0),
        "memory_s": (3.0, 10.0, 30.0),
    },
    "static-split": {
        "own": (0.3, 0.4, 0.5, 0.6),
        "peers": (0.0, 0.05, 0.1, 0.2),
        "own_edge": (0.1, 0.2, 0.3, 0.4, 0.5),
        "other_edges": (0.0, 0.05, 0.1, 0.2, 0.3),
    },
    "greedy": {
        "price": (False, True),
        "memory_s": (3.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0),
    },
}
"""Rule → parameter → values worth trying."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """Tuned parameters of a rule, the scenario they were tuned for, and the file they are in."""

    params: dict[str, policies.Value]
    scenario: str
    path: Path


def parse_entry(word: str) -> tuple[str, bool]:
    """``"greedy@default"`` → ``("greedy", True)``: a policy, and whether it keeps its defaults."""
    name = word.removesuffix(DEFAULT)
    return name, name != word


def candidates(rule: str, budget: int) -> list[dict[str, policies.Value]]:
    """The defaults, then as many points of the rule's grid, drawn the same way every time.

    Raises ``UserError`` if the rule has no grid.
    """
    if rule not in GRIDS:
        raise UserError(f"'{rule}' has nothing to tune; there are {', '.join(GRIDS)}")
    points = grid(GRIDS[rule])
    order = np.random.default_rng(0).permutation(len(points))[: max(0, budget - 1)]
    known = policies.parameters(policies.policy_class(rule))
    defaults = {name: known[name].default for name in GRIDS[rule]}
    return [defaults, *(points[k] for k in order if points[k] != defaults)]


def tune_rule(
    scenario: Scenario,
    rule: str,
    budget: int,
    *,
    command: Sequence[str] = (),
    seeds: Sequence[int] = TUNING_SEEDS,
    folder: Path | None = None,
) -> list[Trial]:
    """Tune a rule and keep the best parameters as ``folder/<scenario>/<rule>.yaml``.

    Returns those that were tried on all seeds, best first. Candidates are tried on a third of the
    seeds, the better half of them on the next third, and the better half of these on all. A search
    that was ended early goes on where it was.

    Raises ``UserError`` if the file cannot be written: before the search begins, or, if the disk
    has become full meanwhile, with the parameters in its text.
    """
    tried = candidates(rule, budget)
    path = tuned_file(scenario.name, rule, folder)
    journal = _Journal(scenario, rule, path)
    trials = tune(scenario, rule, tried, seeds, journal)
    best = " ".join(f"--param {key}={value}" for key, value in trials[0].params.items())
    with as_user_error(f"{path}: cannot be written", f"; found: {best}"):
        _write(path, _entries(scenario, rule, trials, len(tried), command, seeds))
    journal.remove()
    return trials


def tuned_file(scenario: str, rule: str, folder: Path | None = None) -> Path:
    """Return where parameters are kept, in the user's own folder unless another one is named."""
    return (folder or own_folder()) / scenario / f"{rule}.yaml"


def own_folder() -> Path:
    """Return where the user's tuned parameters lie. Raises ``UserError`` without a home folder."""
    return data_folder() / "tuned"


class _Journal(Known):
    """What a search has measured so far, a line each, beside the file that it will end in."""

    def __init__(self, scenario: Scenario, rule: str, path: Path):
        self._path = path.with_name(f".{rule}.search.jsonl")
        self._of = f"{scenario_hash(scenario)} {code_version(rule)}"
        hint = "; --out names another folder"
        with as_user_error(f"{path.parent}: cannot be written", hint):
            make_folder(path.parent)
            with self._path.open("a+", encoding="utf-8") as file:
                file.seek(0)
                self._found = dict(filter(None, map(self._read, file)))
            give_to_user(self._path)

    def get(self, params: Params, seed: int) -> float | None:
        return self._found.get(_key(params, seed))

    def add(self, params: Params, seed: int, unit_delay: float) -> None:
        entry = {"of": self._of, "key": _key(params, seed), "unit_delay": unit_delay}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError:
            return  # The search goes on; its end says that nothing can be written.

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def _read(self, line: str) -> tuple[str, float] | None:
        try:
            entry = json.loads(line)
            return (entry["key"], float(entry["unit_delay"])) if entry["of"] == self._of else None
        except (ValueError, KeyError, TypeError):
            return None  # cut off by the end of its process


def _key(params: Params, seed: int) -> str:
    return json.dumps([sorted(params.items()), int(seed)])


def _entries(
    scenario: Scenario,
    rule: str,
    trials: Sequence[Trial],
    tried: int,
    command: Sequence[str],
    seeds: Sequence[int],
) -> dict[str, Any]:
    return {
        "scenario": scenario.name,
        "rule": rule,
        "params": dict(trials[0].params),
        "unit_delay_s_per_mb": round(trials[0].unit_delay, 4),
        "slots": scenario.slots,
        "seeds": [min(seeds), max(seeds)],
        "grid": {name: list(values) for name, values in GRIDS[rule].items()},
        "candidates": tried,
        "runners_up": [
            {"params": dict(t.params), "unit_delay_s_per_mb": round(t.unit_delay, 4)}
            for t in trials[1:4]
        ],
        "command": shlex.join(command),
        "scenario_hash": scenario_hash(scenario, any_length=True),
        "code": code_version(rule),
        "git": git_state(),
        "utc": utc_now(),
    }  # fmt: skip


@cache
def _note(text: str) -> None:
    _logger.warning(text)


def _folders() -> tuple[Path, ...]:
    try:
        return own_folder(), TUNED_FOLDER
    except UserError:  # no home, hence nothing of one's own in it
        return (TUNED_FOLDER,)


def _write(path: Path, data: Mapping[str, Any]) -> None:
    make_folder(path.parent)
    head = "# Written by `./lab tune`; read by `./lab contest --tuned`. Unit delay in s per MB.\n"
    write_atomically(path, head + dump_yaml(dict(data)))


def _read(path: Path) -> dict[str, Any]:
    data = read_yaml(path.read_text(encoding="utf-8"), str(path)).data
    if not isinstance(data, dict) or not isinstance(data.get("params"), dict):
        raise UserError(f"{path}: has no parameters of a rule; tune again: ./lab tune")
    return data


def load_tuned(scenario: Scenario, rule: str, folder: Path | None = None) -> Tuned | None:
    """Parameters tuned for a scenario, or for one that it extends; None if there are none.

    A variant (``case3-burst``) is met with what was tuned for its case, as checkpoints are. Where
    no folder is named, what the user has tuned comes before what the lab brings, and is logged.
    Raises ``UserError`` if they are of a scenario that has changed since, in more than its length.
    """
    folders = _folders() if folder is None else (folder,)
    for name in dict.fromkeys((scenario.name, *shipped_ancestors(scenario))):
        path = next((p for f in folders if (p := tuned_file(name, rule, f)).is_file()), None)
        if path is None:
            continue
        data = _read(path)
        same = data["scenario_hash"] == scenario_hash(scenario, any_length=True)
        if name == scenario.name and not same:
            raise UserError(
                f"{path}: tuned for another version of {scenario.name}; "
                f"tune again: ./lab tune {rule} {scenario.name}; or remove the file"
            )
        if folder is None and TUNED_FOLDER not in path.parents:
            _note(f"note: {rule} in {scenario.name}: your own parameters, {path}")
        return Tuned(policies.canonical(rule, data["params"]), name, path)
    return None

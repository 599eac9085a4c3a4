"""Tuned parameters of the rules: found here, kept as data beside the scenarios they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cells import code_version, scenario_hash
from model.errors import UserError
from model.load import shipped_ancestors
from model.scenario import Scenario
from model.yaml_input import dump_yaml, read_yaml
from records.ownership import make_folder
from records.provenance import git_state, utc_now
from records.writer import write_atomically
from rl import policies
from rl.tuning import TUNING_SEEDS, Trial, grid, tune

TUNED_FOLDER = Path(__file__).resolve().parent.parent / "scenarios" / "tuned"
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
    folder: Path = TUNED_FOLDER,
) -> list[Trial]:
    """Tune a rule and keep the best parameters as ``folder/<scenario>/<rule>.yaml``.

    Returns those that were tried on all seeds, best first. Candidates are tried on a third of the
    seeds, the better half of them on the next third, and the better half of these on all.
    """
    tried = candidates(rule, budget)
    trials = tune(scenario, rule, tried, seeds)
    _write(_path(scenario.name, rule, folder), {
        "scenario": scenario.name,
        "rule": rule,
        "params": dict(trials[0].params),
        "unit_delay_s_per_mb": round(trials[0].unit_delay, 4),
        "slots": scenario.slots,
        "seeds": [min(seeds), max(seeds)],
        "grid": {name: list(values) for name, values in GRIDS[rule].items()},
        "candidates": len(tried),
        "runners_up": [
            {"params": dict(t.params), "unit_delay_s_per_mb": round(t.unit_delay, 4)}
            for t in trials[1:4]
        ],
        "command": " ".join(command),
        "scenario_hash": scenario_hash(scenario, any_length=True),
        "code": code_version(rule),
        "git": git_state(),
        "utc": utc_now(),
    })  # fmt: skip
    return trials


def _path(scenario: str, rule: str, folder: Path) -> Path:
    return folder / scenario / f"{rule}.yaml"


def _write(path: Path, data: Mapping[str, Any]) -> None:
    make_folder(path.parent)
    head = "# Written by `./lab tune`; read by `./lab contest --tuned`. Unit delay in s per MB.\n"
    write_atomically(path, head + dump_yaml(dict(data)))


def _read(path: Path) -> dict[str, Any]:
    data = read_yaml(path.read_text(encoding="utf-8"), str(path)).data
    if not isinstance(data, dict) or not isinstance(data.get("params"), dict):
        raise UserError(f"{path}: has no parameters of a rule; tune again: ./lab tune")
    return data


def load_tuned(scenario: Scenario, rule: str, folder: Path = TUNED_FOLDER) -> Tuned | None:
    """Parameters tuned for a scenario, or for one that it extends; None if there are none.

    A variant (``case3-burst``) is met with what was tuned for its case, as checkpoints are.
    Raises ``UserError`` if they are of a scenario that has changed since, in more than its length.
    """
    for name in dict.fromkeys((scenario.name, *shipped_ancestors(scenario))):
        path = _path(name, rule, folder)
        if not path.is_file():
            continue
        data = _read(path)
        same = data["scenario_hash"] == scenario_hash(scenario, any_length=True)
        if name == scenario.name and not same:
            raise UserError(
                f"{path}: tuned for another version of {scenario.name}; "
                f"tune again: ./lab tune {rule} {scenario.name}"
            )
        return Tuned(policies.canonical(rule, data["params"]), name, path)
    return None

"""One cell of a contest: a policy in an episode of a scenario, simulated once and then kept.

A cell is stored as a small JSON file whose name is a hash of everything that decides its outcome:
scenario, policy, parameters, seed, and the code of the simulator and of the policy. So whatever is
on disk under that name need not be computed again, and a change of the code makes new cells.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from emulation.sandbox.policy_files import is_users
from experiments.guest import policy_source
from experiments.simulated import simulated
from metrics.summary import summarise_tables
from model.network import build_network
from model.scenario import Scenario
from model.scenario.identity import comparable
from records.ownership import make_folder
from records.writer import write_atomically
from rl import policies
from rl.simulator.layout import Layout

ROOT = Path(__file__).resolve().parent.parent
_CODE = ("model", "rl/simulator", "rl/policies", "metrics/summary.py")
"""What decides the outcome of a cell."""

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A policy in one episode of a scenario; ``scenario.slots`` is the episode's length."""

    scenario: Scenario
    policy: str
    seed: int
    params: Mapping[str, policies.Value] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """Name of the cell's file: the same for the same outcome only."""
        what = {
            "scenario": scenario_hash(self.scenario),
            "policy": self.policy,
            "params": content_of_params(self.policy, self.params),
            "seed": self.seed,
            "code": code_version(self.policy),
        }
        return key_of(what)


def key_of(what: Mapping[str, Any]) -> str:
    """Name for everything that is described by the same plain data."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


def scenario_hash(scenario: Scenario, *, any_length: bool = False) -> str:
    """Hash of what a scenario means, whatever it is called; ``any_length``: of any slots, too."""
    data = comparable(scenario.model_dump(mode="json"))
    for name in ("name", "description", *(("slots",) if any_length else ())):
        data.pop(name, None)
    if scenario.compute.work == "timed":  # what only real work asks for means nothing then
        del data["clips"]
        for name in ("work", "core_ghz", "workers"):
            del data["compute"][name]
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


@cache
def code_version(policy: str) -> str:
    """Hash of the simulator's source and of the file that a policy of one's own is in."""
    users = is_users(policy)
    own = policy_source(policy) if users else inspect.getsourcefile(policies.policy_class(policy))
    return source_hash(*_CODE, *([str(Path(own).resolve())] if own else ()))


@cache
def source_hash(*names: str) -> str:
    """Hash of the source in files and folders of the project, each file once."""
    paths = dict.fromkeys(p for name in names for p in _sources(ROOT / name))
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def content_of(value: policies.Value) -> policies.Value:
    """A parameter that names a file (a checkpoint) stands for what is in the file."""
    path = Path(value) if isinstance(value, str) and value else None
    if path is None or not path.is_file():
        return value
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content_of_params(policy: str, params: Mapping[str, policies.Value]) -> dict[str, Any]:
    """A policy's parameters for a key: numbers in one spelling, files by their content."""
    found = policies.canonical(policy, params)
    return {name: content_of(value) for name, value in sorted(found.items())}


@cache
def _layout(scenario_json: str) -> Layout:
    scenario = Scenario.model_validate_json(scenario_json)
    return Layout(scenario, build_network(scenario))


def compute(cell: Cell) -> Outcome:
    """Simulate a cell; pending tasks are charged until the end, as in ``metrics.summary``."""
    begin = time.process_time()
    layout = _layout(cell.scenario.model_dump_json())
    tables = simulated(cell.scenario, cell.policy, cell.params, cell.seed, layout=layout)
    summary = summarise_tables(cell.scenario, tables)
    return {
        "scenario": cell.scenario.name,
        "scenario_hash": scenario_hash(cell.scenario),
        "policy": cell.policy,
        "params": dict(cell.params),
        "seed": cell.seed,
        "code": code_version(cell.policy),
        "metrics": summary.to_dict(),
        "cpu_s": round(time.process_time() - begin, 3),
    }


class Store:
    """The cells of a folder, one JSON file each."""

    def __init__(self, folder: Path):
        self.folder = folder

    def load(self, cell: Cell) -> Outcome | None:
        """What is there of a cell; None if nothing, or nothing readable."""
        try:
            found = json.loads(self._path(cell).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and "metrics" in found else None

    def compute(self, cell: Cell) -> Outcome:
        """Simulate a cell and keep the outcome. Raises ``OSError`` if it cannot be written."""
        outcome = compute(cell)
        path = self._path(cell)
        make_folder(path.parent)
        write_atomically(path, json.dumps(outcome, indent=1) + "\n")
        return outcome

    def _path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.key}.json"

"""Keys: hashes of everything that decides the outcome of a cell.

That is the scenario, the policy, its parameters, the seed, and the code that computes it. What is
on disk under a key need not be computed again; other code makes other keys.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from emulation.sandbox.policy_files import is_users
from experiments.guest import policy_source
from model.scenario import Scenario
from model.scenario.identity import comparable
from rl import policies

ROOT = Path(__file__).resolve().parent.parent
_CODE = ("model", "rl/simulator", "rl/policies", "metrics/summary.py")
"""The code that decides the outcome of a simulation."""


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

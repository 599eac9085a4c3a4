"""The sweep file: blocks of training cells and blocks of runs, validated.

A block is a product: every scenario × number of devices × combination of ``vary`` × policy × seed
× world. ``set`` and ``vary`` override values of the scenario by dotted key, as ``--set`` does.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from model.aliases import Value
from model.errors import ScenarioError, nearest
from model.random_streams import MAX_SEED_IN_TABLES
from model.scenario import FileName, Section
from model.scenario.error_text import mistakes_of
from model.scenario.load import required_file
from model.scenario.yaml_reader import Document, KeyPath, read_yaml
from rl.learning.options import MAX_TRAINING_SEED

SWEEP_FOLDER = Path(__file__).resolve().parent.parent.parent / "sweeps"
World = Literal["simulator", "emulation"]
MAX_SEEDS = 10_000
CHECKPOINTS = ("best", "shipped")
"""What ``checkpoints`` may say beside the name of a block under ``train``."""


def _seeds(value: object) -> object:
    """``3`` and ``"0-15"`` as the seeds that they mean; everything else as it is."""
    if not isinstance(value, str):
        return (value,) if type(value) is int else _tuple(value)
    if match := re.fullmatch(r"\s*(\d{1,9})\s*-\s*(\d{1,9})\s*", value):
        first, last = int(match[1]), int(match[2])
        if not first <= last < first + MAX_SEEDS:
            raise ValueError(f"'{value}': must be FIRST-LAST, at most {MAX_SEEDS} seeds")
        return tuple(range(first, last + 1))
    raise ValueError(f"'{value[:40]}': must be seeds, as 3, [1, 2, 3] or 0-15")


def _tuple(value: object) -> object:
    # A validator in Python no longer knows that its input was JSON, which has lists only.
    return tuple(value) if isinstance(value, list) else value


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MAX_SEED_IN_TABLES)], ...],
    Field(min_length=1),
    BeforeValidator(_seeds),
]
TrainingSeeds = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MAX_TRAINING_SEED)], ...],
    Field(min_length=1),
    BeforeValidator(_seeds),
]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Values = Annotated[tuple[Any, ...], Field(min_length=1), BeforeValidator(_tuple)]


class PolicySpec(Section):
    """A policy of a block, as its name alone or with what it is given."""

    policy: str = Field(description="name of a rule or learner, or package.module:Class")
    params: dict[str, Value] = Field({}, description="parameters of the policy")
    vary: dict[str, Values] = Field({}, description="parameters, each with the values to try")
    tuned: bool = Field(False, description="a rule's parameters from scenarios/tuned/")
    checkpoints: str = Field(
        "best",
        description="a learner's: best (shipped, best held out), shipped (all of them), or the "
        "name of a block under train",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: object) -> object:
        return {"policy": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_source(self) -> PolicySpec:
        if self.tuned and (self.params or self.vary):
            raise ValueError("tuned: takes neither params nor vary beside it")
        return self


class TrainBlock(Section):
    """Training cells: algorithm × scenario × seed × settings."""

    algorithms: Names = Field(description="learners, as in ./lab train --algo")
    scenarios: Names = Field(description="names from scenarios/, or paths of .yaml files")
    seeds: TrainingSeeds = Field(description="of networks and episodes: 3, [1, 2, 3] or 0-15")
    settings: dict[str, Any] = Field({}, description="hyper-parameters, as in ./lab train --set")
    vary: dict[str, Values] = Field({}, description="hyper-parameters, each with values to try")
    set: dict[str, Any] = Field({}, description="values of the scenario by dotted key")


class RunBlock(Section):
    """Runs: scenario × devices × variation × policy × seed × world."""

    scenarios: Names = Field(description="names from scenarios/, or paths of .yaml files")
    policies: Annotated[tuple[PolicySpec, ...], Field(min_length=1)] = Field(
        description="names, or sections with policy, params, vary, tuned, checkpoints"
    )
    seeds: Seeds = Field(description="of the episodes, the same for all: 3, [1, 2, 3] or 0-15")
    worlds: Annotated[tuple[World, ...], Field(min_length=1)] = Field(
        ("simulator",), description="simulator, emulation or both"
    )
    devices: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="numbers of devices, spread evenly over the scenario's cells"
    )
    set: dict[str, Any] = Field({}, description="values of the scenario by dotted key")
    vary: dict[str, Values] = Field({}, description="the same, each with values to try")
    speedup: Annotated[float, Field(ge=0.1, le=100)] = Field(
        1.0, description="emulation: scenario seconds per real second"
    )
    without_netem: bool = Field(
        False, description="emulation: leave out delay and loss where the kernel lacks netem"
    )

    @model_validator(mode="after")
    def _options_of_their_world(self) -> RunBlock:
        given = sorted({"speedup", "without_netem"} & self.model_fields_set)
        if given and "emulation" not in self.worlds:
            raise ValueError(f"{given[0]}: no meaning without emulation among worlds")
        return self


class Sweep(Section):
    """A sweep file."""

    name: FileName = Field(description="of the sweep and of its folder under results/sweeps/")
    description: str = Field("", description="what it is for")
    order_seed: Annotated[int, Field(ge=0)] = Field(
        0, description="draws the order of the cells, so that no policy gets the machine's drift"
    )
    train: dict[str, TrainBlock] = Field({}, description="blocks of training cells by name")
    run: dict[str, RunBlock] = Field({}, description="blocks of runs by name")

    @model_validator(mode="after")
    def _something_to_do(self) -> Sweep:
        if not self.train and not self.run:
            raise ValueError("neither train nor run has a block: there is nothing to do")
        taken = sorted({*CHECKPOINTS, *self.run} & set(self.train))
        if taken:
            raise ValueError(f"train: the name '{taken[0]}' is taken; choose another")
        return self


class SweepFile:
    """A sweep file that was read, and where each key of it stands."""

    def __init__(self, path: Path):
        """Read ``path``. Raises ``ScenarioError``, a line for every mistake."""
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ScenarioError(f"{path}: is not UTF-8 text") from None
        self._document: Document = read_yaml(self.text, str(path))
        data = self._document.data
        if not isinstance(data, dict):
            raise ScenarioError(f"{path}: must be a section with keys, as 'run:'")
        data.setdefault("name", path.stem)
        try:
            # From JSON, strictly: lists become tuples, but "5" is no number and true is not 1.
            self.sweep = Sweep.model_validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            wrong = mistakes_of(error, data, Sweep)
            # A list without its wrong entries may seem too short, too.
            outer = {where[:k] for where, _ in wrong for k in range(len(where))}
            lines = [str(self.mistake(at, words)) for at, words in wrong if at not in outer]
            raise ScenarioError("\n".join(lines[:10])) from None

    def mistake(self, path: KeyPath, words: str) -> ScenarioError:
        """An error at a key path: file, line, path and what is wrong, one line for each of it."""
        lines = self._document.lines
        known = next((path[:k] for k in range(len(path), -1, -1) if path[:k] in lines), ())
        origin = f"{self.path}:{lines.get(known, 1)}"
        dotted = ".".join(map(str, path))
        return ScenarioError("\n".join(f"{origin}: {dotted}: {w}" for w in words.splitlines()))


def find_sweep(name_or_path: str) -> Path:
    """The file of a sweep: a path, or the name of one in ``sweeps/``. Raises ``ScenarioError``."""
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        return required_file(Path(name_or_path), name_or_path)
    names = sorted(p.stem for p in SWEEP_FOLDER.glob("*.yaml"))
    if name_or_path not in names and Path(name_or_path).exists():
        return required_file(Path(name_or_path), name_or_path)
    if name_or_path not in names:
        raise ScenarioError(
            f"there is no sweep '{name_or_path}'{nearest(name_or_path, names) or '.'} There are: "
            f"{', '.join(names)}; or give the path of a .yaml file"
        )
    return SWEEP_FOLDER / f"{name_or_path}.yaml"

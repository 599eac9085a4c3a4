"""A cell of a sweep: one training or one run, and the key of all that decides its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

from emulation.sandbox.policy_files import policy_file, user_folder
from experiments.keys import code_version, content_of_params, key_of, scenario_hash, source_hash
from experiments.sweep.spec import World
from model.network import build_network
from model.scenario import Scenario
from rl import policies
from rl.learning.options import TrainingConfig

LEARNING_CODE = ("model", "rl")
EMULATION_CODE = (
    "model",
    "topologies",
    "controller",
    "emulation",
    "rl/policies",
    "records",
    "metrics",
)

Kind = Literal["training", "simulator", "emulation"]


@dataclass(frozen=True)
class TrainCell:
    """The training of one policy.

    Attributes:
        scenario: where; its ``slots`` are an episode's length.
        config: algorithm and hyper-parameters.
        seed: of networks and episodes.
        settings: what the sweep set or varied, by key.
    """

    scenario: Scenario
    config: TrainingConfig
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    kind: Kind = "training"

    @cached_property
    def key(self) -> str:
        """Name of the cell's folder: the same for the same outcome only."""
        return key_of({
            "scenario": [self.scenario.name, scenario_hash(self.scenario)],
            "config": self.config.model_dump(mode="json"),
            "seed": self.seed,
            "code": source_hash(*LEARNING_CODE),
        })  # fmt: skip

    @property
    def policy(self) -> str:
        """The algorithm's name."""
        return self.config.algorithm

    @property
    def label(self) -> str:
        """For people."""
        return f"train {self.policy} {self.scenario.name} seed {self.seed}"


@dataclass(frozen=True)
class RunCell:
    """One run of a policy.

    Attributes:
        scenario: as resolved.
        policy: name, or ``package.module:Class``.
        params: its parameters; without the checkpoint where ``trained`` will make it.
        seed: of tasks, frequencies and policy.
        world: simulator or emulation.
        speedup, without_netem: of an emulation.
        trained: the training that makes the checkpoint.
        settings: what the sweep set or varied, by key.
    """

    scenario: Scenario
    policy: str
    params: Mapping[str, policies.Value]
    seed: int
    world: World
    speedup: float = 1.0
    without_netem: bool = False
    trained: TrainCell | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What it takes to carry it out."""
        return self.world

    @cached_property
    def key(self) -> str:
        """Name of the cell's folder: the same for the same outcome only."""
        return key_of({
            "scenario": [self.scenario.name, scenario_hash(self.scenario)],
            "policy": self.policy,
            "params": content_of_params(self.policy, self.params),
            "trained": self.trained.key if self.trained else None,
            "seed": self.seed,
            "world": [self.world, self.speedup, self.without_netem],
            "code": self._code(),
        })  # fmt: skip

    def _code(self) -> str:
        if self.world == "simulator":
            return code_version(self.policy)
        # A user's own module is not imported by root, for an emulation.
        own = policy_file(self.policy, user_folder())
        return source_hash(*EMULATION_CODE, *([str(own)] if own else ()))

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.scenario.name} {self.policy} seed {self.seed} {self.world}"


Cell = TrainCell | RunCell


@cache
def device_count(scenario: Scenario) -> int:
    """Devices of a scenario, as its network draws them."""
    return len(build_network(scenario).devices)


def training_seed(cell: Cell) -> int | None:
    """The seed that a cell's policy was trained with; None for rules."""
    if isinstance(cell, TrainCell):
        return cell.seed
    if cell.trained:
        return cell.trained.seed
    path = cell.params.get("checkpoint")
    return policies.checkpoint.load(str(path)).meta.seed if path else None


def origin(cell: RunCell, sweep: str) -> dict[str, Any]:
    """What the manifest of a cell's result says of where it comes from."""
    part: dict[str, Any] = {"name": sweep, "cell": cell.key, "settings": dict(cell.settings)}
    seed = training_seed(cell)
    if seed is not None:
        part |= {"training_seed": seed}
    if cell.trained:
        part |= {"training_cell": cell.trained.key}
        part |= {"training_settings": dict(cell.trained.settings)}
    return {"sweep": part}

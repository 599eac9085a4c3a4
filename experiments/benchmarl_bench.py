"""BenchMARL's recurrent MAPPO on the same environment: what the speed of training is compared with.

BenchMARL is no dependency of the lab (`docs/learning.md` says how it is installed for this); it
takes one categorical action an agent and slot, so the adapter lets all tasks of a slot share one
choice of target and rate, and needs no masks. Both make its work less than that of our learners.
"""

from __future__ import annotations

import importlib.util
import time
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from model.scenario import Scenario
from rl.env import CrowdEdge

WARM_UP = 1
"""Rounds that are not timed."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was timed: environment slots, and CPU time of playing and of all, s."""

    env_slots: int
    playing_cpu_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Workload:
    """What both sides do: environments side by side, slots of a chunk, passes, minibatches."""

    envs: int
    chunk_slots: int
    epochs: int
    minibatches: int


def available() -> bool:
    """Whether BenchMARL can be imported."""
    return importlib.util.find_spec("benchmarl") is not None


class OneChoice(ParallelEnv[str, Any, int]):  # type: ignore[misc]
    """``CrowdEdge`` with flat observations and one categorical action for all tasks of a slot."""

    def __init__(self, scenario: Scenario):
        self._env = CrowdEdge(scenario, reward="shared")
        self.metadata, self.render_mode = self._env.metadata, None
        self.possible_agents = self._env.possible_agents
        self.agents: list[str] = []
        self._rates = len(scenario.decision.rates_mbps)
        self._targets = np.array([len(p.targets) for p in self._env.profiles])
        first = self._env.observation_spaces[self.possible_agents[0]]
        size = sum(spaces.flatdim(first[key]) for key in ("own", "targets", "tasks"))
        width = int(self._env.action_spaces[self.possible_agents[0]].nvec[:2].prod())
        box = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.observation_spaces = dict.fromkeys(self.possible_agents, box)
        self.action_spaces = {a: spaces.Discrete(width) for a in self.possible_agents}
        self.state_space = self._env.state_space

    def observation_space(self, agent: str) -> spaces.Box:
        """A vector."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Discrete:
        """Target times rate."""
        return self.action_spaces[agent]

    def state(self) -> NDArray[np.float32]:
        """S, as of ``CrowdEdge``."""
        return self._env.state()

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Start an episode."""
        seen, infos = self._env.reset(seed, options)
        self.agents = self._env.agents
        return self._flat(seen), {a: {} for a in infos}

    def step(self, actions: dict[str, int]) -> Any:
        """Decide all tasks of a slot; a padded target stands for a real one."""
        chosen = {}
        for a, (name, action) in enumerate(actions.items()):
            target, rate = divmod(int(action), self._rates)
            pair = (target % self._targets[a], rate)
            chosen[name] = np.array(pair * self._env.max_tasks)
        seen, rewards, ends, overs, infos = self._env.step(chosen)
        self.agents = self._env.agents
        return self._flat(seen), rewards, ends, overs, {a: {} for a in infos}

    def _flat(self, seen: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
        return {
            a: np.concatenate([o["own"], o["targets"].ravel(), o["tasks"].ravel()])
            for a, o in seen.items()
        }

    def close(self) -> None:
        """There is nothing to close."""

    def render(self) -> None:
        """There is nothing to see."""


def measure(scenario: Scenario, work: Workload, rounds: int) -> Speed:
    """Time whole training rounds of BenchMARL's MAPPO with GRU 64 in this process, one thread."""
    from torchrl._utils import logger  # type: ignore[import-not-found]

    logger.setLevel("ERROR")
    # Progress bars write to stderr, one a round; the table at the end says it all.
    with TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        return _timed(_experiment(scenario, work, rounds, Path(folder)), work, rounds)


def _timed(experiment: Any, work: Workload, rounds: int) -> Speed:
    marks: list[float] = []
    playing = 0.0
    collect = iter(experiment.collector)

    class Collector:
        """Notes the CPU time at which a round begins and what of it was playing."""

        def __iter__(self) -> Any:
            nonlocal playing
            for k in range(WARM_UP + rounds):
                begin = time.process_time()
                marks.append(begin)
                batch = next(collect)
                playing += (time.process_time() - begin) * (k >= WARM_UP)
                yield batch

        def __getattr__(self, name: str) -> Any:
            return getattr(collector, name)

    collector, experiment.collector = experiment.collector, Collector()
    experiment.run()
    marks.append(time.process_time())
    slots = rounds * work.envs * work.chunk_slots
    return Speed(slots, playing, marks[-1] - marks[WARM_UP])


def _experiment(scenario: Scenario, work: Workload, rounds: int, folder: Path) -> Any:
    from benchmarl.algorithms import MappoConfig  # type: ignore[import-not-found]
    from benchmarl.experiment import Experiment, ExperimentConfig  # type: ignore[import-not-found]
    from benchmarl.models import (  # type: ignore[import-not-found]
        GruConfig,
        MlpConfig,
        SequenceModelConfig,
    )

    frames = work.envs * work.chunk_slots
    config = ExperimentConfig.get_from_yaml()
    config.on_policy_collected_frames_per_batch = frames
    config.on_policy_n_envs_per_worker = work.envs
    config.on_policy_n_minibatch_iters = work.epochs
    config.on_policy_minibatch_size = frames // work.minibatches
    config.max_n_iters, config.max_n_frames = WARM_UP + rounds, None
    config.evaluation, config.render, config.create_json = False, False, False
    config.loggers, config.save_folder = [], str(folder)
    recurrent = GruConfig.get_from_yaml()
    recurrent.hidden_size, recurrent.n_layers = 64, 1
    mlp = MlpConfig.get_from_yaml()
    mlp.num_cells = [64, 64]
    model = SequenceModelConfig(model_configs=[recurrent, mlp], intermediate_sizes=[64])
    return Experiment(
        task=_task(scenario), algorithm_config=MappoConfig.get_from_yaml(), model_config=model,
        critic_model_config=mlp, seed=0, config=config,
    )  # fmt: skip


def _task(scenario: Scenario) -> Any:
    from benchmarl.environments.common import TaskClass  # type: ignore[import-not-found]
    from torchrl.data import Composite  # type: ignore[import-not-found]
    from torchrl.envs.libs.pettingzoo import PettingZooWrapper  # type: ignore[import-not-found]

    def make() -> Any:
        env = OneChoice(scenario)
        groups = {"devices": env.possible_agents}
        return PettingZooWrapper(env, categorical_actions=True, return_state=True, group_map=groups)

    def seen(env: Any) -> Any:
        group = env.observation_spec["devices"]
        inner = Composite({"observation": group["observation"].clone()}, shape=group.shape)
        return Composite({"devices": inner})

    answers: dict[str, Any] = {
        "get_env_fun": lambda *_, **__: make,
        "supports_continuous_actions": lambda _: False,
        "supports_discrete_actions": lambda _: True,
        "has_render": lambda *_: False,
        "max_steps": lambda *_: scenario.slots,
        "group_map": lambda _, env: env.group_map,
        "state_spec": lambda _, env: Composite({"state": env.observation_spec["state"].clone()}),
        "action_mask_spec": lambda *_: None,
        "observation_spec": lambda _, env: seen(env),
        "info_spec": lambda *_: None,
        "action_spec": lambda _, env: env.full_action_spec,
        "env_name": staticmethod(lambda: "crowd_edge"),
        "__reduce__": lambda _: (str, ("crowd_edge_v0",)),  # an experiment pickles its task
    }
    # A class of BenchMARL's cannot be written at the top of a module that must import without it.
    return type("CrowdEdgeTask", (TaskClass,), answers)(name="crowd_edge_v0", config={})

"""BenchMARL's recurrent MAPPO on the same environment: what the speed of training is compared with.

BenchMARL is no dependency of the lab (`docs/learning.md` says how it is installed for this); it
takes one categorical action an agent and slot, so all tasks of a slot share one choice of target
and rate, and no mask is needed. Both make its work less than that of our learners.
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

from model.scenario import Scenario
from rl.environment.simulated import CrowdEdge, crowd_edge_v0

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


def environment(scenario: Scenario) -> CrowdEdge:
    """The environment as BenchMARL takes it: a vector, and one number an agent and slot."""
    return crowd_edge_v0(
        scenario,
        max_tasks=1,
        reward="shared",
        observations="flat",
        actions="discrete",
        mask="none",
    )


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
        task=task(scenario), algorithm_config=MappoConfig.get_from_yaml(), model_config=model,
        critic_model_config=mlp, seed=0, config=config,
    )  # fmt: skip


def task(scenario: Scenario) -> Any:
    """The scenario as a task of BenchMARL's; ``examples/learn_benchmarl.py`` trains on it."""
    from benchmarl.environments.common import TaskClass  # type: ignore[import-not-found]
    from torchrl.data import Composite  # type: ignore[import-not-found]
    from torchrl.envs.libs.pettingzoo import PettingZooWrapper  # type: ignore[import-not-found]

    def make() -> Any:
        env = environment(scenario)
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

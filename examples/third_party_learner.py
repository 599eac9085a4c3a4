"""An unmodified learner of another library on ``crowd_edge_v0``: Stable-Baselines3's PPO.

The agents of the environment become the environments of a ``VecEnv``, so that one network learns
from all of them (shared parameters). The budget is a toy's: this shows how to connect a learner,
not how good it can get.

    ./lab python -m pip install --no-deps "stable-baselines3>=2.9" "cloudpickle"
    ./lab python examples/third_party_learner.py [SCENARIO] [AGENT STEPS]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model.load import load_scenario
from model.scenario import Scenario
from rl.env import CrowdEdge, Obs, crowd_edge_v0

REWARD_SCALE = 0.1


class SharedAgents(VecEnv):  # type: ignore[misc]
    """Every agent of ``crowd_edge_v0`` as one environment of Stable-Baselines3.

    Observations are flattened and their sizes tamed by a logarithm; a target index beyond an
    agent's own ones is taken modulo their number, for PPO knows no action masks. All tasks of a
    slot share one decision.
    """

    def __init__(self, scenario: Scenario, seed: int):
        self.env: CrowdEdge = crowd_edge_v0(scenario, max_tasks=1)
        self.agents = self.env.possible_agents
        self._seed = seed
        shown, _ = self.env.reset(seed=seed)
        profiles = self.env.batch.layout.profiles
        self._counts = np.array([len(profile.targets) for profile in profiles])
        space = spaces.Box(-np.inf, np.inf, self._flat(shown).shape[1:], np.float32)
        super().__init__(len(self.agents), space, self.env.action_space(self.agents[0]))

    def _flat(self, shown: dict[str, Obs]) -> NDArray[np.float32]:
        rows = [
            np.concatenate([o["own"], o["targets"].ravel(), o["tasks"].ravel()])
            for o in (shown[name] for name in self.agents)
        ]
        values = np.stack(rows)
        return np.asarray(np.sign(values) * np.log1p(np.abs(values)), dtype=np.float32)

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode on the next trace."""
        shown, _ = self.env.reset(seed=self._seed)
        self._seed += 1
        return self._flat(shown)

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Keep the actions for ``step_wait``."""
        self._actions = np.array(actions)
        self._actions[:, 0] %= self._counts

    def step_wait(self) -> tuple[Any, ...]:
        """A slot; at the end of an episode the next one begins."""
        chosen = dict(zip(self.agents, self._actions, strict=True))
        shown, rewards, _, truncated, _ = self.env.step(chosen)
        flat = self._flat(shown)
        reward = np.array([rewards[a] for a in self.agents], dtype=np.float32) * REWARD_SCALE
        over = np.array([truncated[a] for a in self.agents])
        infos: list[dict[str, Any]] = [{} for _ in self.agents]
        if over.all():
            infos = [{"terminal_observation": row, "TimeLimit.truncated": True} for row in flat]
            flat = self.reset()
        return flat, reward, over, infos

    def close(self) -> None:
        """There is nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The environment's attribute, once per agent asked for."""
        return [getattr(self.env, attr_name, None) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the environment."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kw: Any) -> list[Any]:
        """Call a method of the environment, once per agent asked for."""
        return [getattr(self.env, method_name)(*args, **kw) for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Nothing is wrapped."""
        return [False for _ in self._get_indices(indices)]


def unit_delay(model: PPO, scenario: Scenario, seeds: Sequence[int]) -> float:
    """Mean Σ E / Σ o of a model's sampled decisions, s per MB; pending tasks are charged."""
    found = []
    for seed in seeds:
        world = SharedAgents(scenario, seed)
        shown = world.reset()
        # One slot is left out, for the end of the episode would begin the next.
        for _ in range(scenario.slots - 1):
            actions, _ = model.predict(shown, deterministic=False)
            shown, *_ = world.step(actions)
        found.append(float(world.env.batch.unit_delay(world.env.batch.now_s)[0]))
    return float(np.mean(found))


def main(scenario_name: str = "case3", agent_steps: int = 60_000) -> tuple[float, float]:
    """Train and return unit delays (before, after) on episodes that training never saw."""
    torch.set_num_threads(1)
    scenario = load_scenario(scenario_name, {"slots": 120})
    world = SharedAgents(scenario, seed=10_000)
    model = PPO(
        "MlpPolicy", world, n_steps=60, batch_size=900, n_epochs=6, gamma=0.9,
        learning_rate=1e-3, seed=1, device="cpu",
    )  # fmt: skip
    before = unit_delay(model, scenario, (0, 1))
    click.echo(f"{scenario.name}, {world.num_envs} agents, T = {scenario.duration_s:g} s")
    click.echo(f"before training: {before:.2f} s/MB")
    model.learn(agent_steps)
    after = unit_delay(model, scenario, (0, 1))
    click.echo(f"after {agent_steps} agent steps: {after:.2f} s/MB")
    return before, after


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(n) for n in sys.argv[2:3]))

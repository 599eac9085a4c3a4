"""Stable-Baselines3's PPO on ``crowd_edge_v0`` through SuperSuit, without a wrapper of our own.

One network learns from all agents. The budget is a toy's: this shows how to connect a learner.

    ./lab python -m pip install --no-deps "stable-baselines3>=2.9" supersuit tinyscaler
    ./lab python examples/learn_sb3.py [SCENARIO] [AGENT STEPS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import supersuit
from stable_baselines3 import PPO
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecNormalize

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model.load import load_scenario
from model.scenario import Scenario
from rl.env import CrowdEdge, crowd_edge_v0


def environment(scenario: Scenario) -> CrowdEdge:
    """The environment as this library takes it: a vector, and every action of the space legal."""
    return crowd_edge_v0(scenario, max_tasks=1, observations="flat", mask="none")


def unit_delay(model: PPO, world: VecNormalize, scenario: Scenario, seed: int) -> float:
    """Σ E / Σ o of the model's sampled decisions, s per MB; pending tasks are charged."""
    env = environment(scenario)
    seen, _ = env.reset(seed=seed)
    while env.agents:
        rows = world.normalize_obs(np.stack([*seen.values()]))
        chosen, _ = model.predict(rows, deterministic=False)
        seen, *_ = env.step(dict(zip(env.agents, chosen, strict=True)))
    return float(env.batch.unit_delay(env.batch.now_s)[0])


def main(scenario_name: str = "case3", agent_steps: int = 60_000) -> tuple[float, float]:
    """Train and return unit delays (before, after) of an episode that training never saw."""
    # PPO's own ``seed=`` would ask SuperSuit's environment for a method that it lacks.
    set_random_seed(1)
    scenario = load_scenario(scenario_name, {"slots": 120})
    vector = supersuit.pettingzoo_env_to_vec_env_v1(environment(scenario))
    vector = supersuit.concat_vec_envs_v1(vector, 1, base_class="stable_baselines3")
    world = VecNormalize(vector, gamma=0.9)
    model = PPO(
        "MlpPolicy", world, n_steps=60, batch_size=900, n_epochs=6, gamma=0.9,
        learning_rate=1e-3, device="cpu",
    )  # fmt: skip
    before = unit_delay(model, world, scenario, seed=0)
    model.learn(agent_steps)
    after = unit_delay(model, world, scenario, seed=0)
    click.echo(f"{scenario.name}: {before:.2f} s/MB before training, {after:.2f} s/MB after")
    return before, after


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(n) for n in sys.argv[2:3]))

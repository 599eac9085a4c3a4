"""RLlib's PPO on ``crowd_edge_v0``: one policy that all agents share.

``ParallelPettingZooEnv`` takes the environment as it is. The budget is a toy's.

    ./lab python -m pip install --no-deps dm-tree lz4 wrapt ormsgpack pandas pytz
    ./lab python examples/learn_rllib.py [SCENARIO] [ITERATIONS]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model.load import load_scenario
from rl.env import crowd_edge_v0


def environment(config: dict[str, Any]) -> Any:
    """The environment in RLlib's form: a vector, and every action of the space legal."""
    scenario = load_scenario(config["scenario"], {"slots": 60})
    return ParallelPettingZooEnv(
        crowd_edge_v0(scenario, max_tasks=1, observations="flat", mask="none")
    )


def main(scenario_name: str = "mini", iterations: int = 5) -> list[float]:
    """Train and return the sum of all agents' rewards in the episodes of each iteration."""
    ray.init(num_cpus=1, include_dashboard=False, ignore_reinit_error=True, log_to_driver=False)
    register_env("crowd_edge_v0", environment)
    config = (
        PPOConfig()
        .environment("crowd_edge_v0", env_config={"scenario": scenario_name})
        .multi_agent(policies={"devices"}, policy_mapping_fn=lambda *_, **__: "devices")
        .env_runners(num_env_runners=0)
        .training(train_batch_size=240, minibatch_size=60, num_epochs=2)
    )
    algorithm = config.build_algo()
    returns = [
        float(algorithm.train()["env_runners"]["episode_return_mean"]) for _ in range(iterations)
    ]
    algorithm.stop()
    ray.shutdown()
    click.echo(f"{scenario_name}: return {returns[0]:.1f} at first, {returns[-1]:.1f} at the end")
    return returns


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(n) for n in sys.argv[2:3]))

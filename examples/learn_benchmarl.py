"""BenchMARL's MAPPO on ``crowd_edge_v0``: agents share an actor, and a critic sees the state.

``benchmarks/benchmarl_bench.py`` tells BenchMARL what the task is; the environment itself goes to
TorchRL as it is. The budget is a toy's. docs/learning.md says what to install.

    ./lab python examples/learn_benchmarl.py [SCENARIO] [ITERATIONS]
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from benchmarl.algorithms import MappoConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models import MlpConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.benchmarl_bench import task
from model.load import load_scenario


def main(scenario_name: str = "mini", iterations: int = 3) -> int:
    """Train and return how many slots were played."""
    scenario = load_scenario(scenario_name, {"slots": 60})
    config = ExperimentConfig.get_from_yaml()
    config.on_policy_collected_frames_per_batch = 120
    config.on_policy_n_envs_per_worker = 2
    config.on_policy_n_minibatch_iters, config.on_policy_minibatch_size = 2, 60
    config.max_n_iters, config.max_n_frames = iterations, None
    config.evaluation, config.render, config.create_json, config.loggers = False, False, False, []
    mlp = MlpConfig.get_from_yaml()
    mlp.num_cells = [64, 64]
    with TemporaryDirectory() as folder:
        config.save_folder = folder
        experiment = Experiment(
            task=task(scenario), algorithm_config=MappoConfig.get_from_yaml(), model_config=mlp,
            critic_model_config=mlp, seed=0, config=config,
        )  # fmt: skip
        experiment.run()
    click.echo(f"{scenario.name}: {experiment.total_frames} slots in {iterations} iterations")
    return int(experiment.total_frames)


if __name__ == "__main__":
    main(*sys.argv[1:2], *(int(n) for n in sys.argv[2:3]))

"""How fast learners train: environment slots per CPU-second, and where the time goes."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from cli.train import ALGO_HELP, offer_algorithms
from model.scenario.load import load_scenario, parse_assignments
from records.console import Screen
from rl.learning.config import load_config
from rl.learning.options import PpoOptions

if TYPE_CHECKING:
    from benchmarks.benchmarl_bench import Speed
    from model.scenario import Scenario
    from rl.learning.options import TrainingConfig

REFERENCE = "mappo"
"""Whose settings BenchMARL's MAPPO is given."""
_THEIRS = "BenchMARL mappo"


@click.command()
@click.argument("scenario", default="case3")
@click.option("--algo", "names", multiple=True, metavar="ALGO", shell_complete=offer_algorithms,
              default=("m2ppo", REFERENCE, "maa3c", "madqn"), show_default=True,
              help=f"{ALGO_HELP} May be repeated.")  # fmt: skip
@click.option("--chunks", type=click.IntRange(1), default=4, show_default=True,
              help="Chunks that are timed, after one that is not.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="Override a hyper-parameter, e.g. hidden=128 or device=cpu.")  # fmt: skip
def training(scenario: str, names: tuple[str, ...], chunks: int, settings: tuple[str, ...]) -> None:
    """Environment slots per CPU-second of whole training loops in SCENARIO, one thread.

    Beside them BenchMARL's recurrent MAPPO, where it is installed.
    """
    overrides = parse_assignments(settings, "--set", "options.clip=0.2")
    resolved = load_scenario(scenario)
    configs = {name: load_config(name, overrides, resolved) for name in names}
    # torch and numba take seconds to load, which a wrong option need not wait for.
    from benchmarks import benchmarl_bench

    console = Screen()
    speeds = {}
    for name, config in configs.items():
        with console.status(name):
            speeds[name] = _ours(resolved, config, chunks)
    if benchmarl_bench.available():
        with console.status("BenchMARL"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            speeds[_THEIRS] = _theirs(resolved, chunks)
    console.print(_table(speeds))
    if _THEIRS not in speeds:
        console.print("BenchMARL is not installed: docs/learning.md, 'Speed', says how.")


def _table(speeds: dict[str, Speed]) -> Table:
    """A row a learner; with BenchMARL's, how many times faster the others are."""
    rates = {name: speed.env_slots / speed.cpu_s for name, speed in speeds.items()}
    base = rates.get(_THEIRS)
    heads = ["algorithm", "env slots", "slots / CPU-s", "playing", "updating"]
    table = Table(*heads, *(["x BenchMARL"] if base else []), box=None, padding=(0, 2))
    for name, speed in speeds.items():
        playing = speed.playing_cpu_s / speed.cpu_s
        shares = [f"{playing:.0%}", f"{1.0 - playing:.0%}"]
        ratio = [f"{rates[name] / base:.1f}"] if base else []
        table.add_row(name, str(speed.env_slots), f"{rates[name]:.0f}", *shares, *ratio)
    return table


def _ours(scenario: Scenario, config: TrainingConfig, chunks: int) -> Speed:
    from benchmarks.benchmarl_bench import Speed
    from rl.learning.training import Training

    run = Training(config, scenario, 1, Path())
    learner, collectors = run.learner, run.collectors
    playing, total, slots = 0.0, 0.0, 0
    for k in range(-len(collectors), chunks * len(collectors)):
        turn = k % len(collectors)
        begin = time.process_time()
        chunk = collectors[turn].collect(
            learner.behaviour_actor(turn), config.chunk_slots, learner.behaviour_choice()
        )
        middle = time.process_time()
        learner.update(chunk.to(learner.actor.device), turn)
        if k >= 0:  # the first chunk of each also draws traces, compiles and warms up
            playing += middle - begin
            total += time.process_time() - begin
            slots += chunk.env_slots
    return Speed(slots, playing, total)


def _theirs(scenario: Scenario, chunks: int) -> Speed:
    from benchmarks.benchmarl_bench import Workload, measure

    config = load_config(REFERENCE, {}, scenario)
    options = config.options
    assert isinstance(options, PpoOptions)  # noqa: S101 - for the type checker
    work = Workload(config.envs, config.chunk_slots, options.epochs, options.minibatches)
    return measure(scenario, work, chunks)

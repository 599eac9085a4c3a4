"""How fast learners train: environment slots per CPU-second, and where the time goes."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from model.load import load_scenario
from rl.learning.config import algorithms, load_config


@click.command()
@click.argument("scenario", default="case3")
@click.option("--algo", "names", multiple=True, type=click.Choice(algorithms()),
              default=("m2ppo", "mappo", "maa3c", "madqn"), show_default=True)  # fmt: skip
@click.option("--chunks", type=click.IntRange(1), default=4, show_default=True,
              help="Chunks that are timed, after one that is not.")  # fmt: skip
def training(scenario: str, names: tuple[str, ...], chunks: int) -> None:
    """Environment slots per CPU-second of whole training loops in SCENARIO, one thread."""
    # torch and numba take seconds to load, which a wrong option need not wait for.
    import torch

    from rl.learning.collector import sample
    from rl.learning.training import Training

    torch.set_num_threads(1)
    resolved = load_scenario(scenario)
    table = Table("algorithm", "env slots", "slots / CPU-s", "decisions / CPU-s",
                  "playing", "updating", box=None, padding=(0, 2))  # fmt: skip
    for name in names:
        run = Training(load_config(name, {}), resolved, 1, Path())
        learner, collectors = run.learner, run.collectors
        spent, slots, decisions = [0.0, 0.0], 0, 0
        for k in range(-len(collectors), chunks * len(collectors)):
            turn = k % len(collectors)
            begin = time.process_time()
            choose = getattr(learner, "choose", sample)
            chunk = collectors[turn].collect(learner.player(turn), run.config.chunk_slots, choose)
            middle = time.process_time()
            learner.update(chunk, turn)
            end = time.process_time()
            if k >= 0:  # the first chunk of each also draws traces, compiles and warms up
                spent[0] += middle - begin
                spent[1] += end - middle
                slots += chunk.env_slots
                decisions += len(chunk.slot)
        total = sum(spent)
        table.add_row(
            name, str(slots), f"{slots / total:.0f}", f"{decisions / total:.0f}",
            *(f"{100 * part / total:.0f} %" for part in spent),
        )  # fmt: skip
    Console().print(table)

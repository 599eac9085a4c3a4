"""Tune a rule's parameters for a scenario, in the simulator, on seeds of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from experiments.tuned import GRIDS, tune_rule, tuned_file
from experiments.tuning import TUNING_SEEDS
from model.scenario.load import load_scenario
from records.console import Screen
from records.provenance import as_typed
from records.streams import one_line, say
from rl.simulator import announce_compiling


@click.command()
@click.argument("rule", type=click.Choice(sorted(GRIDS)))
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO…")
@click.option("--budget", type=click.IntRange(1), default=32, show_default=True,
              help="How many points of the rule's grid to try.")  # fmt: skip
@click.option("--episodes", type=click.IntRange(12, 1000), default=12, show_default=True,
              help=f"Seeds {TUNING_SEEDS[0]} …, which contests do not use.")  # fmt: skip
@click.option("--slots", type=click.IntRange(1), default=300, show_default=True)
@click.option("--out", type=click.Path(path_type=Path),
              help="Where <scenario>/<rule>.yaml is written.  "
              "[default: ~/.local/share/crowd-edge-lab/tuned]")  # fmt: skip
def tune(
    rule: str, scenarios: tuple[str, ...], budget: int, episodes: int, slots: int, out: Path | None
) -> None:
    """Tune RULE for each SCENARIO and keep the result in the user's own folder.

    Candidates are tried on a third of the episodes, the better half of them on two thirds, and the
    better half of these on all. `./lab contest --tuned` uses what is found, before what the lab
    brings in scenarios/tuned. Ctrl-C keeps what is done; the same command goes on from there.
    """
    seeds = range(TUNING_SEEDS[0], TUNING_SEEDS[0] + episodes)
    command = as_typed(sys.argv)
    for name in scenarios:
        scenario = load_scenario(name, {"slots": slots})
        path = tuned_file(scenario.name, rule, out)
        announce_compiling()
        with Screen(stderr=True).status(f"{rule} in {scenario.name}: {budget} candidates …"):
            trials = tune_rule(scenario, rule, budget, command=command, seeds=seeds, folder=out)
        best = trials[0]
        shown = ", ".join(f"{key}={value}" for key, value in best.params.items())
        say(f"{scenario.name}: {rule} {best.unit_delay:.3f} s/MB with {shown}")
        say(f"written: {one_line(path)}")

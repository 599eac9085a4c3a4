"""Measure: bring-up of the network against stock Mininet's, CPU of the operator's view."""

from __future__ import annotations

import statistics

import click
from rich.table import Table

from benchmarks.bringup import Bringup, compare
from cli import bench_simulator, bench_training
from cli.bench_sampling import measure
from emulation.options import RunOptions
from emulation.run import require_machine
from model.scenario.load import load_scenario
from records.console import Screen
from records.streams import say


@click.group()
def bench() -> None:
    """Measure how fast things are on this machine; ratios are of one run."""


for _command in (
    bench_simulator.simulator,
    bench_simulator.accuracy,
    bench_simulator.environment,
    bench_training.training,
):
    bench.add_command(_command)


def _row(name: str, runs: list[Bringup]) -> tuple[str, ...]:
    up, down = sorted(r.up_s for r in runs), sorted(r.down_s for r in runs)
    return (
        name,
        f"{statistics.median(up):.2f} ({up[0]:.2f} – {up[-1]:.2f})",
        f"{statistics.median(down):.2f} ({down[0]:.2f} – {down[-1]:.2f})",
    )


@bench.command()
@click.argument("scenario", default="case3")
@click.option("--pairs", type=click.IntRange(1, 50), default=5, show_default=True)
@click.option("--openflow", type=click.Choice(["ryu", "os-ken"]), default="ryu", show_default=True)
def bringup(scenario: str, pairs: int, openflow: str) -> None:
    """Bring-up and tear-down against stock Mininet's, in turn, on the same graph.

    Ours: built, shaped, read back, switches connected, flows installed. Stock Mininet with TCLink:
    build and start, without a controller.
    """
    resolved = load_scenario(scenario)
    options = RunOptions(scenario=resolved, openflow=openflow)  # type: ignore[arg-type]
    options = require_machine(options)
    with click.progressbar(length=pairs, label="pairs") as bar:
        result = compare(options, pairs, lambda _: bar.update(1))
    table = Table("", "bring-up, s: median (range)", "tear-down, s", box=None, padding=(0, 2))
    table.add_row(*_row("this project", result.ours))
    table.add_row(*_row("stock Mininet", result.stock))
    table.add_row("ratio, median", f"{result.up_ratio:.2f}", f"{result.down_ratio:.2f}")
    Screen().print(table)


@bench.command()
@click.argument("scenario", default="case3")
@click.option("--slots", type=click.IntRange(5, 600), default=30, show_default=True)
@click.option("--openflow", type=click.Choice(["ryu", "os-ken"]), default="ryu", show_default=True)
def sampling(scenario: str, slots: int, openflow: str) -> None:
    """CPU that the operator's view costs: all links and units, every slot of one second.

    The network is real and idle; SLOTS slots without a client of the API, as many with one that
    reads its stream of slots.
    """
    options = RunOptions(scenario=load_scenario(scenario), openflow=openflow)  # type: ignore[arg-type]
    result = measure(require_machine(options), slots)
    table = Table("share of one core, %", "controller", "API", "sum", box=None, padding=(0, 2))
    for name, shares in (("no client", result.idle), ("one stream", result.streaming)):
        parts = (shares["controller"], shares["api"], sum(shares.values()))
        table.add_row(name, *(f"{100 * part:.2f}" for part in parts))
    Screen().print(table)
    say(
        f"{result.links} links and {result.units} units a slot of 1 s; "
        f"{result.stream_bytes / 1e3:.1f} kB a slot to the client"
    )

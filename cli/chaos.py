"""Hurt real runs at random, and check what must be true afterwards."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator

import click

from cli.interrupting import interruptible
from emulation.options import RunOptions
from emulation.run import require_machine
from emulation.session import BROKEN
from experiments.chaos.fault import Fault, all_faults, short_scenario
from experiments.chaos.loop import Outcome, draw, run_fault
from model.errors import UserError


@click.command()
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="No fault begins after so long.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Draws which fault comes when, and all of its moments.",
)
@click.option(
    "--index",
    type=click.IntRange(0),
    default=None,
    help="Only this fault of the seed: what replays a failure.",
)
@click.option(
    "--fault",
    "only",
    multiple=True,
    metavar="NAME",
    help="Draw among these only; may be repeated. --list names all.",
)
@click.option(
    "--bring-ups",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Instead: bring a network up and down N times and watch for growth.",
)
@click.option("--list", "listing", is_flag=True, help="Name the faults and what each does.")
def chaos(
    minutes: float,
    seed: int,
    index: int | None,
    only: tuple[str, ...],
    bring_ups: int | None,
    listing: bool,
) -> int:
    """Hurt real runs at random, and check what must be true afterwards.

    Runs of mini, a few seconds each, lose their controller, their switches, links, devices, their
    disk or themselves. After each: the user was told, in a line; every task is in exactly one
    state; records can be read and say what happened; and 'clean' leaves the machine as it was
    found. The exit status is 1 where one of these does not hold, and the seed and index that
    replay it are printed. docs/reliability.md tells what is promised.
    """
    faults = _chosen(only)
    if listing:
        width = max(map(len, faults))
        for fault in faults.values():
            click.echo(f"{fault.name:{width}}  {fault.about}")
        return 0
    require_machine(RunOptions(short_scenario()))
    if bring_ups is not None:
        return _bring_up_often(bring_ups)
    indices = itertools.count() if index is None else (index,)
    return _run_faults(faults, minutes, seed, iter(indices))


def _chosen(only: tuple[str, ...]) -> dict[str, Fault]:
    faults = all_faults()
    for name in only:
        if name not in faults:
            raise UserError(f"there is no fault '{name}' (there are: {', '.join(faults)})")
    return {name: faults[name] for name in only or faults}


def _run_faults(faults: dict[str, Fault], minutes: float, seed: int, indices: Iterator[int]) -> int:
    end = time.monotonic() + 60 * minutes
    done: Counter[str] = Counter()
    failed = []
    with interruptible(click.echo, "stopping after this fault; Ctrl-C again stops at once") as stop:
        for index in indices:
            if stop() or time.monotonic() > end:
                break
            name, rng = draw(seed, index, list(faults))
            outcome = run_fault(faults[name], rng)
            done[name] += 1
            _show(seed, index, outcome)
            if outcome.broken:
                failed.append(index)
    click.echo(f"{done.total()} faults of {len(done)} kinds, {len(failed)} with something broken")
    some = len(faults) < len(all_faults())
    chosen = "".join(f" --fault {name}" for name in faults) if some else ""
    for index in failed:
        click.echo(f"replay: ./lab chaos --seed {seed} --index {index}{chosen}")
    return BROKEN if failed else 0


def _show(seed: int, index: int, outcome: Outcome) -> None:
    status = "hung" if outcome.status is None else f"status {outcome.status}"
    ok = "BROKEN" if outcome.broken else "ok"
    said = " ".join(outcome.said.split())[:160]
    click.echo(f"{seed}:{index} {outcome.fault}: {ok}, {outcome.seconds:.1f} s, {status}; {said}")
    for line in outcome.broken:
        click.echo(f"    {line}")
    if outcome.kept is not None:
        click.echo(f"    kept: {outcome.kept}")


def _bring_up_often(count: int) -> int:
    """Print time, descriptors and memory after each; growth in descriptors is an error."""
    from experiments.chaos import snapshot
    from experiments.chaos.loop import bring_ups

    before, first, last = snapshot.take(), 0, 0
    for number, (seconds, descriptors, memory_mb) in enumerate(bring_ups(count), 1):
        click.echo(f"{number}: {seconds:.2f} s, {descriptors} descriptors, {memory_mb:.1f} MB")
        first, last = first or descriptors, descriptors
    left = before.changes(snapshot.take())
    click.echo(f"left on the machine: {', '.join(left) or 'nothing'}")
    return BROKEN if left or last > first else 0

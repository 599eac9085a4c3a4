"""Hurt real runs at random, and check what must be true afterwards."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator

import click

from cli.ignored import refuse
from cli.interrupts import interruptible
from emulation.options import FiniteRange, RunOptions
from emulation.orchestrator.session import BROKEN
from emulation.run import require_machine
from experiments.chaos.fault import Fault, all_faults, short_scenario
from experiments.chaos.loop import Outcome, draw, new_folder, result_in, run_fault
from experiments.chaos.running import Running
from model.errors import UserError, nearest
from model.scenario import Scenario
from model.scenario.load import load_scenario
from records.streams import say

_JUDGED_IN_S = 600.0


@click.command()
@click.option(
    "--minutes",
    type=FiniteRange(min=0, min_open=True),
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
@click.option(
    "--soak",
    metavar="SCENARIO",
    default=None,
    help="Instead: one whole run of SCENARIO, at speed-up 1, watched for growth.",
)
@click.option(
    "--slots", type=click.IntRange(1), default=None, help="With --soak: its slots, if not all."
)
@click.option("--list", "listing", is_flag=True, help="Name the faults and what each does.")
def chaos(  # noqa: PLR0913 - the options, by name
    minutes: float,
    seed: int,
    index: int | None,
    only: tuple[str, ...],
    bring_ups: int | None,
    soak: str | None,
    slots: int | None,
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
            say(f"{fault.name:{width}}  {fault.about}")
        return 0
    if slots is not None and soak is None:
        raise UserError("--slots is for --soak; faults are done to runs of 12 slots")
    if soak is not None:
        refuse(("minutes", "seed", "index", "only", "bring_ups"), "with --soak: no fault is done.")
        return _soak(load_scenario(soak, {"slots": slots} if slots else {}))
    require_machine(RunOptions(short_scenario()))
    if bring_ups is not None:
        return _bring_up_often(bring_ups)
    indices = itertools.count() if index is None else (index,)
    return _run_faults(_possible_here(faults), minutes, seed, iter(indices))


def _chosen(only: tuple[str, ...]) -> dict[str, Fault]:
    faults = all_faults()
    for name in only:
        if name not in faults:
            guess = nearest(name, faults)
            raise UserError(f"there is no fault '{name}'{guess} (there are: {', '.join(faults)})")
    return {name: faults[name] for name in only or faults}


def _possible_here(faults: dict[str, Fault]) -> dict[str, Fault]:
    lacking = {name: fault.lacking() for name, fault in faults.items()}
    for name, what in lacking.items():
        if what:
            say(f"left out: {name} ({what})")
    if all(lacking.values()):
        raise UserError("this machine can do none of these faults to a run")
    return {name: fault for name, fault in faults.items() if not lacking[name]}


def _run_faults(faults: dict[str, Fault], minutes: float, seed: int, indices: Iterator[int]) -> int:
    end = time.monotonic() + 60 * minutes
    done: Counter[str] = Counter()
    failed = []
    with interruptible(say, "stopping after this fault; Ctrl-C again stops at once") as stop:
        for index in indices:
            if stop() or time.monotonic() > end:
                break
            name, rng = draw(seed, index, list(faults))
            outcome = run_fault(faults[name], rng)
            done[name] += 1
            _show(seed, index, outcome)
            if outcome.broken:
                failed.append(index)
    say(f"{done.total()} faults of {len(done)} kinds, {len(failed)} with something broken")
    some = len(faults) < len(all_faults())
    chosen = "".join(f" --fault {name}" for name in faults) if some else ""
    for index in failed:
        say(f"replay: ./lab chaos --seed {seed} --index {index}{chosen}")
    return BROKEN if failed else 0


def _show(seed: int, index: int, outcome: Outcome) -> None:
    status = "hung" if outcome.status is None else f"status {outcome.status}"
    ok = "BROKEN" if outcome.broken else "ok"
    said = " ".join(outcome.said.split())[:160]
    say(f"{seed}:{index} {outcome.fault}: {ok}, {outcome.seconds:.1f} s, {status}; {said}")
    for line in outcome.broken:
        say(f"    {line}")
    if outcome.kept is not None:
        say(f"    kept: {outcome.kept}")


def _soak(scenario: Scenario) -> int:
    """Print what the run holds, and its slot, 60 times; growth and an invalid verdict are errors.

    The records are kept.
    """
    from experiments.chaos.soak import ORCHESTRATOR, Footprint, growth, watch

    require_machine(RunOptions(scenario))
    running = Running(scenario, new_folder("soak-") / "results")
    looks = []
    with interruptible(say, "ending the run; Ctrl-C again stops at once") as stop:
        try:
            for look in watch(running, scenario.slots * scenario.slot_s / 60, stop):
                looks.append(look)
                held, own = look.total, look.parts.get(ORCHESTRATOR, Footprint())
                say(
                    f"{look.at_s:.0f} s: {held.memory_mb:.1f} MB, {held.descriptors} descriptors; "
                    f"orchestrator {own.memory_mb:.1f} MB, {own.descriptors}"
                )
            if stop():
                running.interrupt()
            ended = running.finish(_JUDGED_IN_S)
        finally:
            running.kill()
    say(ended.output[ended.output.rfind("\n\n") + 2 :].rstrip())
    if stop():
        return ended.status
    grown = growth(looks)
    say(f"grown: {'; '.join(grown) or 'nothing'}")
    result = result_in(running.out)
    sound = ended.status == 0 and result is not None and result.verdict == "valid"
    return BROKEN if grown or not sound else 0


def _bring_up_often(count: int) -> int:
    """Print time, descriptors and memory after each; growth in descriptors is an error."""
    from experiments.chaos import snapshot
    from experiments.chaos.loop import bring_ups

    before, first, last = snapshot.take(), 0, 0
    for number, (seconds, descriptors, memory_mb) in enumerate(bring_ups(count), 1):
        say(f"{number}: {seconds:.2f} s, {descriptors} descriptors, {memory_mb:.1f} MB")
        first, last = first or descriptors, descriptors
    left = before.changes(snapshot.take())
    say(f"left on the machine: {', '.join(left) or 'nothing'}")
    return BROKEN if left or last > first else 0

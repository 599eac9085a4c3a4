"""Run a scenario: on the real network, or in the simulator."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.ignored import refuse
from cli.interrupts import interruptible
from cli.run_entry import json_option, run_entry
from emulation.options import common_options, emulation_only, emulation_options
from records.streams import say, say_json, stdout_for_json

if TYPE_CHECKING:
    from model.scenario import Scenario

# What simulates takes seconds to load, which neither the help nor an emulation need wait for.


def simulate_here(scenario: str, **asked: Any) -> Path:
    """Run the same scenario, trace and policy in the slotted simulator; needs no privileges."""
    from emulation.sandbox.policy_files import with_absolute_files
    from experiments.guest import completed
    from model.scenario.load import load_scenario, parse_assignments, parse_overrides
    from model.worlds import require_simulable, simulator_note
    from rl.policies import checkpoint_note, default_policy

    settings = parse_overrides(asked["settings"])
    if asked["slots"] is not None:
        settings["slots"] = asked["slots"]
    resolved = load_scenario(scenario, settings)
    require_simulable(resolved)
    if note := simulator_note(resolved):
        say(f"note: {note}", err=True)
    policy = asked["policy"] or default_policy(resolved)
    given = with_absolute_files(policy, parse_assignments(asked["params"], "--param"))
    params = completed(policy, given, resolved)
    if "checkpoint" not in given and (note := checkpoint_note(policy, params, resolved)):
        say(note, err=True)
    return simulate_resolved(
        resolved,
        policy,
        params,
        asked["seed"],
        Path(asked["out"]),
        show_all=asked.get("show_all", False),
    )


def simulate_resolved(
    scenario: Scenario,
    policy: str,
    params: Mapping[str, Any],
    seed: int,
    out: Path,
    origin: Mapping[str, object] | None = None,
    *,
    show_all: bool = False,
) -> Path:
    """Simulate with a bar, print the summary, and return the result's folder.

    Ctrl-C ends it between slots, with a ``KeyboardInterrupt``.
    """
    from metrics.display import print_summary
    from rl.simulator import announce_compiling

    announce_compiling()
    # Between slots, since an exception in the middle of numba's loading has nowhere to go.
    with (
        interruptible(partial(say, err=True), "stopping; Ctrl-C again stops at once") as stop,
        click.progressbar(length=scenario.slots, label="slots", file=sys.stderr) as bar,
    ):
        # numba takes a second to load, which an emulation need not wait for.
        from experiments.simulated import simulate_to_folder

        def after_slot(_: int) -> None:
            if stop():
                raise KeyboardInterrupt
            bar.update(1)

        folder = simulate_to_folder(
            scenario,
            policy,
            params,
            seed,
            out,
            command_line=sys.argv,
            origin=origin,
            on_slot=after_slot,
        )
    print_summary(folder, show_all=show_all)
    return folder


@click.command()
@common_options
@click.option(
    "--world",
    type=click.Choice(["emulation", "simulator"]),
    default="emulation",
    show_default=True,
    help="Real packets on this machine (root), or the slotted simulator (anybody, seconds).",
)
@emulation_options
@json_option
def run(world: str, *, as_json: bool, **asked: Any) -> None:
    """Run SCENARIO with a policy and write a result folder.

    SCENARIO is a name from scenarios/ (case1, case2, case3, mini, …) or a YAML file. In the
    emulation every device is a process of its own behind Open vSwitch and shaped queues; Ctrl-C
    once stops cleanly and keeps the partial result, twice stops at once. Exit status: 0 done, 1 the
    run broke, 2 bad input, 3 not valid (--strict), 130 interrupted.
    """
    if world == "simulator":
        refuse(emulation_only(), "with --world simulator: it has neither packets nor real time.")
        with stdout_for_json(as_json):
            folder = simulate_here(**asked)
        if as_json:
            say_json(run_entry(folder, 0), indent=1)
        return
    if not asked["pcap"]:
        refuse(("pcap_snaplen", "pcap_size_mb"), "without --pcap: no packet is captured.")
    from emulation.run import emulate, leave

    folders: list[Path] = []
    with stdout_for_json(as_json):
        status = emulate(**asked, on_folder=folders.append)
    if as_json:
        say_json(run_entry(folders[0], status), indent=1)
    leave(status)

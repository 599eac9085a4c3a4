"""Two policies on the same tasks and a page that shows the difference, in three minutes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.compare import read_columns
from cli.output import show_files
from emulation.options import RunOptions
from model.errors import UserError, as_user_error
from model.scenario.load import load_scenario
from records.console import Screen
from records.ownership import make_folder
from records.streams import say
from rl.policies import default_policy

if TYPE_CHECKING:
    from analysis.compare import Column

SCENARIO, NAIVE = "mini", "own-edge"


@click.command()
@click.option("--world", type=click.Choice(["emulation", "simulator"]), default=None,
              help="Where to run.  [default: the real network where it can be had]")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path),
              default=Path("results/demo"), show_default=True,
              help="Folder for both runs.")  # fmt: skip
def demo(world: str | None, out: Path) -> int:
    """Run the scenario mini twice and show what a policy changes.

    First everything goes to the edge server, then a policy decides by what each device observes.
    Both meet the very same tasks. On the real network where you are root and the machine can, else
    in the simulator. One HTML page, which needs nothing else, shows both.
    """
    from analysis.compare import differences
    from analysis.report import document, versus

    folder = out / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    with as_user_error(f"{folder}: cannot be made"):
        make_folder(folder)
    scenario = load_scenario(SCENARIO)
    policies = NAIVE, default_policy(scenario)
    plans = [RunOptions(scenario, policy, out=folder) for policy in policies]
    emulated = world != "simulator" and _can_emulate(plans[0], insist=world == "emulation")
    for options in plans:
        say(f"\n{SCENARIO} under {options.policy}: {_doing(options, emulated=emulated)}")
        status = _emulate(options) if emulated else _simulate(options)
        if status:
            return status
    listed, _ = read_columns([folder / SCENARIO / policy for policy in policies])
    paired, said = differences(listed)
    show_files(document.write(versus.report_of(listed, paired, said), folder / "demo"))
    _show_result([versus.in_words(listed[0], *one) for one in paired], listed)
    return 0


def _show_result(sentences: Sequence[str], listed: Sequence[Column]) -> None:
    """Print what the two runs have shown, last, and whether it can be believed."""
    console = Screen()
    doubtful = [one.label for one in listed if not all(run.valid for run in one.group.runs)]
    if doubtful:
        console.print(
            f"\nThe verdict on {' and '.join(doubtful)} is 'invalid' (see above): the numbers show "
            "a direction at best.", style="yellow"
        )  # fmt: skip
    console.print()
    for sentence in sentences:
        console.print(sentence, style="bold")


def _doing(options: RunOptions, *, emulated: bool) -> str:
    length = f"{options.scenario.duration_s:g} s"
    return f"real packets for {length}" if emulated else f"{length} simulated"


def _can_emulate(options: RunOptions, *, insist: bool) -> bool:
    from emulation.run import require_machine

    try:
        require_machine(options)
    except UserError as error:
        if insist:
            raise
        say(f"In the simulator, since {error}.")
        return False
    return True


def _emulate(options: RunOptions) -> int:
    from emulation.orchestrator.session import run_session
    from emulation.run import require_machine, require_policy

    return run_session(require_machine(require_policy(options)))


def _simulate(options: RunOptions) -> int:
    from cli.run import simulate_here

    asked = {"settings": (), "params": (), "slots": None}
    simulate_here(SCENARIO, policy=options.policy, seed=options.seed, out=options.out, **asked)
    return 0

"""Run a result's run again, from its manifest, and compare the two."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.output import FOLDER
from cli.run_entry import json_option, run_entry
from model.errors import UserError
from records.reader import Result, open_result
from records.streams import one_line, say, say_json, stdout_for_json

if TYPE_CHECKING:
    from experiments.repeat import Repetition

DIFFERS = 1
"""Exit status where a simulation gave other tasks than it gave before."""


@click.command()
@click.argument("result", type=FOLDER, metavar="RESULT")
@click.option("--anyway", is_flag=True, help="Run even where code, checkpoint or packages differ.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"),
              show_default=True, help="Folder for result folders.")  # fmt: skip
@json_option
def rerun(result: Path, anyway: bool, out: Path, as_json: bool) -> int:
    """Run again what made RESULT: its scenario as resolved then, seed, policy, parameters, world.

    RESULT is a folder, or the id of a run below results/. Refused where code, policy, checkpoint or
    packages are not as they were, unless --anyway. A simulation must give the same tasks bit for
    bit; an emulation, on real packets, gives similar ones. Exit status: as of `run`, and 1 where a
    simulation differs though nothing that decides it does.
    """
    from experiments.repeat import differences, repetition_of

    before = open_result(result)
    wanted = repetition_of(before)
    changed = differences(wanted)
    if changed and not anyway:
        raise UserError(
            f"{result}: {'; '.join(changed)}: the run would not be the same; --anyway runs it"
        )
    for line in changed:
        say(f"note: {line}", err=True)
    if before.manifest.get("judged"):
        say("note: that run was judged; its seed is known by now, so this one is not", err=True)
    with stdout_for_json(as_json):
        status, folder = _simulate(wanted, out) if wanted.world == "simulation" else _emulate(
            wanted, out
        )  # fmt: skip
        same = _same_tasks(before, folder) if status == 0 else None
        _say_same(before, folder, same)
    if same is False and not changed:
        status = DIFFERS
    if as_json:
        entry = run_entry(folder, status)
        say_json({**entry, "repeats": str(result), "same_tasks": same, "changed": changed}, 1)
    if wanted.world == "emulation":
        from emulation.run import leave

        leave(status)
    return status


def _simulate(wanted: Repetition, out: Path) -> tuple[int, Path]:
    from cli.run import simulate_resolved

    folder = simulate_resolved(
        wanted.scenario, wanted.policy, wanted.params, wanted.seed, out, wanted.origin
    )
    return 0, folder


def _emulate(wanted: Repetition, out: Path) -> tuple[int, Path]:
    from emulation.options import RunOptions
    from emulation.orchestrator.session import run_session
    from emulation.run import require_machine, require_policy

    options = RunOptions(
        scenario=wanted.scenario,
        policy=wanted.policy,
        policy_params=wanted.params,
        seed=wanted.seed,
        speedup=wanted.speedup,
        out=out,
        command_line=tuple(sys.argv),
        origin=wanted.origin,
        **wanted.options,
    )
    folders: list[Path] = []
    status = run_session(require_machine(require_policy(options)), on_folder=folders.append)
    return status, folders[0]


def _same_tasks(before: Result, folder: Path) -> bool | None:
    """Return whether two simulations have the same task table, bit for bit; else None."""
    if before.manifest["world"] != "simulation" or not before.manifest.get("complete"):
        return None
    return bool(before.table("tasks").equals(open_result(folder).table("tasks")))


def _say_same(before: Result, folder: Path, same: bool | None) -> None:
    if same is not None:
        words = "the same, bit for bit, as" if same else "not the same as"
        say(f"tasks: {words} in {one_line(before.folder)}")
        return
    from metrics.summary import digits, unit_delay

    found: list[Any] = [before, open_result(folder)]
    if all(one.manifest.get("ran_s") for one in found):
        then, now = (digits(unit_delay(one)) for one in found)
        say(f"unit delay: {then} s/MB in {one_line(before.folder)}, {now} s/MB now")

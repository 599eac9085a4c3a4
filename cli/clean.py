"""Remove what dead runs left on the machine, and nothing else."""

from __future__ import annotations

import os

import click

from emulation.host.ledger import RUNS_DIR, living_runs
from emulation.host.ledger import clean as clean_dead_runs
from model.errors import UserError
from records.streams import say


@click.command()
def clean() -> None:
    """Remove what dead runs left on the machine: their processes and namespaces, by their ledgers.

    Living runs are not touched, and neither is anything that no run's ledger names.
    """
    if not RUNS_DIR.exists():
        say("nothing to clean: no run has left anything")
        return
    if os.geteuid() != 0:
        raise UserError("cleaning removes namespaces and processes of root: use 'sudo ./lab clean'")
    for run in clean_dead_runs():
        what = f"{run.processes} processes, {run.namespaces} namespaces"
        say(f"run {run.run_id}: removed {what}")
    for run_id in living_runs():
        say(f"run {run_id} is alive: left alone")

"""Policies against each other in the simulator, on the same episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.interrupts import interruptible
from emulation.completions import offer_scenarios, offer_settings
from model.errors import INTERRUPTED
from model.random_streams import MAX_SEED_IN_TABLES
from records.streams import one_line, say, say_json, stdout_for_json

if TYPE_CHECKING:
    from analysis.standings import Standings
    from experiments.contest import Contest, ContestPlan
    from records.console import Screen

_STOPPING = "stopping: what has begun is finished; Ctrl-C again ends at once"


@click.command()
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO…",
                shell_complete=offer_scenarios)  # fmt: skip
@click.option("--policies", "names", metavar="A,B,…",
              help="Who takes part; NAME@default keeps its defaults under --tuned. Learners come "
              "with all their shipped checkpoints.  [default: all rules]")  # fmt: skip
@click.option("--episodes", type=click.IntRange(1), default=16, show_default=True)
@click.option("--slots", type=click.IntRange(1), default=300, show_default=True)
@click.option("--seed0", type=click.IntRange(0, MAX_SEED_IN_TABLES), default=0, show_default=True,
              help="The first episode's seed; the others follow.")  # fmt: skip
@click.option("--tuned", is_flag=True, help="With the parameters under scenarios/tuned/.")
@click.option("--jobs", type=click.IntRange(1), help="Processes. Default: one per core.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/contest"),
              show_default=True, help="Folder of cells and tables; what is there is not run again.")  # fmt: skip  # noqa: E501
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              shell_complete=offer_settings,
              help="Override a value of all scenarios.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the tables for programs, as JSON.")
def contest(  # noqa: PLR0913 - the options, by name
    scenarios: tuple[str, ...],
    names: str | None,
    episodes: int,
    slots: int,
    seed0: int,
    tuned: bool,
    jobs: int | None,
    out: Path,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Let policies meet in each SCENARIO, all of them in the same episodes.

    Unit delay UD = ΣE/Σo in s per MB, tasks still pending at T charged with their elapsed time:
    interquartile mean and mean over episodes, and the paired difference to the best rule that
    decides from what its device observes, with bootstrap 95 % intervals. Ctrl-C keeps what is done;
    the same command goes on from there.
    """
    # All of this takes seconds to load, which the help need not wait for.
    from analysis.standings import plain, standings, write
    from experiments.contest import borrowed_checkpoints, plan_contest, rules
    from experiments.sweep.worker_pool import usable_cores
    from model.scenario.load import load_scenario, parse_overrides
    from records.ownership import give_tree_to_user

    overrides = {**parse_overrides(settings), "slots": slots}
    plan = plan_contest(
        [load_scenario(name, overrides) for name in scenarios],
        [w for word in names.split(",") if (w := word.strip())] if names else rules(),
        range(seed0, seed0 + episodes),
        tuned=tuned,
    )
    for line in borrowed_checkpoints(plan):
        say(line, err=True)
    with stdout_for_json(as_json):
        result = _run(plan, out, jobs or usable_cores())
    tables = standings(result.played)
    paths = write(tables, out)
    give_tree_to_user(out)
    if as_json:
        say_json(plain(tables), indent=1)
    else:
        _show_all(result, tables, paths)
    return 0 if result.complete else INTERRUPTED


def _show_all(result: Contest, tables: Sequence[Standings], paths: Sequence[Path]) -> None:
    from records.console import screen_of_tables

    console = screen_of_tables()
    for table in tables:
        _show(console, table)
    console.print(
        f"\n{result.computed} cells simulated, {result.kept} were there; {one_line(paths[0])}, "
        ".csv, .json",
        soft_wrap=True,
    )
    if result.complete:
        for name in {p.scenario for p in result.played} - {t.scenario for t in tables}:
            console.print(f"{name}: no task in any episode; longer ones have some: --slots")
    else:
        console.print("Interrupted: these are the episodes in which all have played.")


def _run(plan: ContestPlan, out: Path, jobs: int) -> Contest:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from experiments.contest import run_contest
    from records.console import Screen, words

    columns = words("contest"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Screen(stderr=True)) as progress:
        task = progress.add_task("", total=None)
        with interruptible(progress.console.print, _STOPPING) as asked:
            return run_contest(
                plan,
                out,
                jobs=jobs,
                on_cell=lambda done, total: progress.update(task, completed=done, total=total),
                should_stop=asked,
            )


def _show(console: Screen, standing: Standings) -> None:
    from rich.table import Table

    from analysis.standings import cells, heading, title
    from records.console import print_table, styled

    classes = list(standing.rows[0].link_load)
    console.print()
    console.print(styled(title(standing), "bold"))
    table = Table(box=None, padding=(0, 1))
    # The mean and what a policy sees are in the files, and here where there is room for them.
    shown = [k for k, name in enumerate(heading(classes)) if k not in (1, 3) or console.width > 120]
    for k in shown:
        table.add_column(heading(classes)[k], no_wrap=k == 0, overflow="fold")
    for row in standing.rows:
        style = "dim" if row.sees == "truth" else "bold" if row.difference is None else None
        table.add_row(*(cells(row, classes)[k] for k in shown), style=style)
    print_table(console, table)
    if any(row.sees == "truth" for row in standing.rows):
        console.print(" oracle: a reference that sees everything, no competitor", style="dim")

"""Many runs and trainings from one file: planned, resumed, on one machine or on many."""

from __future__ import annotations

import csv
import re
import sys
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
from rich.progress import BarColumn, Progress
from rich.table import Table

from cli.ignored import refuse
from cli.interrupts import interruptible
from experiments.sweep.book import Book, ask, counts, locked
from experiments.sweep.cell import Cell
from experiments.sweep.cluster import LOCAL, Cluster, connected, emulating_nodes
from experiments.sweep.execute import Job, Outcome
from experiments.sweep.lanes import Executor, Lanes
from experiments.sweep.machine import why_no_emulation
from experiments.sweep.pace import Pace
from experiments.sweep.plan import Plan, make_plan
from experiments.sweep.schedule import Tally, carry_out
from experiments.sweep.spec import SweepFile, find_sweep
from experiments.sweep.worker_pool import usable_cores
from model.errors import INTERRUPTED
from records.console import Screen, styled, words
from records.streams import say_json, stdout_for_json

FAILED = 1
_PLAIN = (bool, int, float, str, list, dict, type(None))
"""What JSON has; a moment or a decimal of an answer becomes text."""
_OF_WORK = ("dry_run", "jobs", "retry_failed", "prune", "ray", "shard")
_STOPPING = "stopping: runs are finished, trainings saved; Ctrl-C again ends at once"


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--dry-run", is_flag=True, help="Show the plan and how long it will take; do nothing."
)
@click.option("--jobs", type=click.IntRange(1), help="Processes. Default: one per core.")
@click.option("--out", type=click.Path(path_type=Path),
              help="Folder of the sweep. Default: results/sweeps/NAME.")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Begin cells again that have failed.")
@click.option("--prune", is_flag=True,
              help="Remove cells of an earlier version of the file or the code.")  # fmt: skip
@click.option("--ray", metavar="local|ADDRESS",
              help="Spread over a Ray cluster: auto, HOST:6379; or local.")  # fmt: skip
@click.option("--shard", metavar="I/N", help="Only part I of N, as for an array of batch jobs.")
@click.option("--query", metavar="SQL",
              help="Ask the index, as table cells; in a pipe, CSV comes out.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Print how it ended, the plan, or what --query asks, for programs, as JSON.")  # fmt: skip  # noqa: E501
def sweep(  # noqa: PLR0913 - the options, by name
    file: str,
    *,
    dry_run: bool,
    jobs: int | None,
    out: Path | None,
    retry_failed: bool,
    prune: bool,
    ray: str | None,
    shard: str | None,
    query: str | None,
    as_json: bool,
) -> int:
    """Carry out the sweep FILE, a path or a name from sweeps/ (ci, paper, ablation, …).

    Every cell, a training or a run, is done once and kept; the same command goes on where it
    stopped. Emulations need root and run one after the other. Ctrl-C ends in order, twice at once.
    Exit status: 0 done, 1 cells have failed, 2 bad input, 130 interrupted.
    """
    read = SweepFile(find_sweep(file))
    whole = make_plan(read)
    plan = whole.shard(*_parts(shard)) if shard else whole
    book = Book(out or Path("results/sweeps") / plan.name)
    console = Screen()
    if query:
        refuse(_OF_WORK, "with --query, which asks and does nothing.")
        _answer(console, book, whole, query, as_json=as_json)
        return 0
    jobs = jobs or usable_cores()
    pace = _measured(plan, book)
    if dry_run:
        if as_json:
            say_json(_entry(plan, book), indent=1)
        else:
            _show_plan(console, plan, book, pace, jobs)
        return 0
    with stdout_for_json(as_json), locked(book.folder, shard or ""):
        book.begin(plan.name, read.text)
        if prune:
            console.print(f"{book.prune(whole)} cells of an earlier version removed")
        _look_over(console, whole, book)
        if retry_failed:
            _open_failed(plan, book)
        _show_plan(console, plan, book, pace, jobs)
        try:
            tally = _run(plan, book, pace, jobs, ray)
        finally:
            book.write_index(whole)
        status = _report(console, plan, book, tally)
    if as_json:
        say_json({**_entry(plan, book), "skipped": dict(tally.left), "exit_status": status}, 1)
    return status


def _entry(plan: Plan, book: Book) -> dict[str, object]:
    """Return what became of each cell so far, for programs."""
    status = counts(plan, book)
    outcomes = {key: book.outcome(key) for key in plan.cells}
    return {
        "sweep": plan.name,
        "folder": str(book.folder.absolute()),
        "counts": {name: list(status.values()).count(name) for name in ("done", "failed", "open")},
        "cells": [
            {"key": key, "label": cell.label, "kind": cell.kind, "status": status[key],
             "reason": found.reason if (found := outcomes[key]) else None}
            for key, cell in plan.cells.items()
        ],
    }  # fmt: skip


def _look_over(console: Screen, plan: Plan, book: Book) -> None:
    if strangers := book.strangers(plan):
        console.print(
            f"note: {len(strangers)} cells in {book.folder} are of an earlier version of the "
            "file or the code; --prune removes them",
            soft_wrap=True,
        )


def _open_failed(plan: Plan, book: Book) -> None:
    for key, status in counts(plan, book).items():
        if status == "failed":
            book.forget(key)


def _parts(shard: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", shard)
    if match is None or int(match[1]) > int(match[2]):
        raise click.UsageError(f"--shard {shard}: must be I/N with I from 1 to N, as 3/8.")
    return int(match[1]), int(match[2])


def _measured(plan: Plan, book: Book) -> Pace:
    pace = Pace()
    for key, cell in plan.cells.items():
        outcome = book.outcome(key)
        if outcome and outcome.status == "done":
            pace.learn(cell, outcome.seconds)
    return pace


def _answer(console: Screen, book: Book, plan: Plan, query: str, *, as_json: bool) -> None:
    names, rows = ask(book.write_index(plan), query)
    if as_json:
        plain = ([v if isinstance(v, _PLAIN) else str(v) for v in row] for row in rows)
        say_json([dict(zip(names, row, strict=True)) for row in plain], indent=1)
        return
    if not sys.stdout.isatty():
        sheet = csv.writer(sys.stdout, lineterminator="\n")
        sheet.writerow(names)
        sheet.writerows(rows)
        return
    table = Table(box=None, padding=(0, 1))
    for name in names:
        table.add_column(name)
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
    console.print(table)


def _show_plan(console: Screen, plan: Plan, book: Book, pace: Pace, jobs: int) -> None:
    status = counts(plan, book)
    open_cells = [c for key, c in plan.cells.items() if status[key] == "open"]
    table = Table(box=None, padding=(0, 1))
    for name in ("block", "cells", "done", "failed", "open", "expected"):
        table.add_column(name, justify="left" if name == "block" else "right")
    blocks = dict.fromkeys(name for key in plan.cells for name in plan.blocks[key])
    for block in blocks:
        mine = [key for key in plan.cells if block in plan.blocks[key]]
        found = Counter(status[key] for key in mine)
        expected = sum(pace.expect(plan.cells[k]) for k in mine if status[k] == "open")
        numbers = (len(mine), found["done"], found["failed"], found["open"])
        table.add_row(block, *map(str, numbers), _duration(expected))
    console.print(styled(f"{plan.name}: {len(plan.cells)} cells, {len(open_cells)} to do", "bold"))
    console.print(table)
    if open_cells:
        spread, alone = _expected(open_cells, pace)
        sources = Counter("stated rate" if pace.source(c) == "stated rate" else "measured cells"
                          for c in open_cells)  # fmt: skip
        console.print(
            f"about {_duration(spread / jobs + alone)}, with {jobs} processes"
            f" ({', '.join(f'{n} cells by {name}' for name, n in sources.items())})"
        )


def _expected(cells: list[Cell], pace: Pace) -> tuple[float, float]:
    """Seconds of what is spread over processes, and of what has the machine for itself."""
    alone = sum(pace.expect(c) for c in cells if c.kind == "emulation")
    return sum(map(pace.expect, cells)) - alone, alone


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


class _Progress:
    """What one sees of a sweep: a bar in expected seconds, what runs, failures as they come."""

    def __init__(self, plan: Plan, book: Book, pace: Pace, jobs: int):
        console = Screen(stderr=True)
        self._bars = Progress(
            BarColumn(30), words("{task.description}"), console=console, transient=True
        )
        status = counts(plan, book)
        self._open = {k: c for k, c in plan.cells.items() if status[k] == "open"}
        self._pace, self._jobs, self._all = pace, jobs, len(self._open)
        self._running: dict[str, tuple[Cell, float]] = {}
        self._failed = 0
        self._total = sum(map(pace.expect, self._open.values()))
        self._bar = self._bars.add_task("", total=max(self._total, 1e-9))

    def __enter__(self) -> _Progress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begun(self, cell: Cell) -> None:
        self._running[cell.key] = cell, time.monotonic()

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        self._running.pop(cell.key, None)
        self._open.pop(cell.key, None)
        if outcome.status == "done":
            self._pace.learn(cell, outcome.seconds)
        else:
            self._failed += outcome.status == "failed"
            self.say(f"{outcome.status}: {cell.label}: {outcome.reason}")

    def lost(self, cell: Cell, attempt: int) -> None:
        self._running.pop(cell.key, None)
        self.say(
            f"killed: {cell.label}: its process was killed (attempt {attempt}); it comes again"
        )

    def say(self, words: str) -> None:
        self._bars.console.print(words, soft_wrap=True)

    def passed(self) -> None:
        spread, alone = _expected(list(self._open.values()), self._pace)
        for cell, begun in self._running.values():
            gone = min(time.monotonic() - begun, self._pace.expect(cell))
            spread, alone = (
                (spread, alone - gone) if cell.kind == "emulation" else (spread - gone, alone)
            )
        left = _duration(spread / self._jobs + alone)
        names = ", ".join(cell.label for cell, _ in list(self._running.values())[:2])
        more = f" and {len(self._running) - 2} more" if len(self._running) > 2 else ""
        done = self._all - len(self._open)
        failed = f", {self._failed} failed" if self._failed else ""
        self._bars.update(
            self._bar,
            total=max(self._total, spread + alone, 1e-9),
            completed=max(0.0, self._total - spread - alone),
            description=f"{done}/{self._all}{failed}, {left} left: {names}{more}",
        )


def _run(plan: Plan, book: Book, pace: Pace, jobs: int, ray: str | None) -> Tally:
    reason = why_no_emulation(plan) if ray in (None, LOCAL) else ""
    with ExitStack() as stack:
        executor: Executor
        if ray:
            variables = stack.enter_context(connected(ray, jobs, can_emulate=not reason))
            executor = Cluster(book.cell_folder, variables)
            if not reason and not emulating_nodes():
                reason = "no node of the cluster offers to emulate (docs/sweeps.md)"
        else:
            executor = Lanes(book.cell_folder, jobs)
        shown = stack.enter_context(_Progress(plan, book, pace, jobs))
        asked = stack.enter_context(interruptible(shown.say, _STOPPING))
        whole = False
        try:
            tally = carry_out(
                plan,
                book,
                executor,
                shown,
                partial(Job, sweep=plan.name, command=tuple(sys.argv)),
                cannot=lambda cell: reason if cell.kind == "emulation" else "",
                should_stop=asked,
            )
            whole = True
        finally:
            executor.close(kill=not whole)
    return tally


def _report(console: Screen, plan: Plan, book: Book, tally: Tally) -> int:
    status = Counter(counts(plan, book).values())
    for reason, many in Counter(tally.left.values()).items():
        console.print(f"skipped: {many} cells: {reason}", soft_wrap=True)
    console.print(
        f"{status['done']} cells done, {status['failed']} failed, {status['open']} open; "
        f"{book.folder}/index.parquet",
        markup=False,
        soft_wrap=True,
    )
    if status["failed"]:
        console.print("--retry-failed begins failed cells again; --query tells why they failed")
    if tally.stopped:
        return INTERRUPTED
    return FAILED if status["failed"] else 0

"""What the verbs that read result folders have in common: reading with progress, showing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.table import Table as RichTable

from cli.result_id import ResultFolder
from records.console import Screen, print_table, screen_of_tables, styled, words
from records.streams import one_line, say

if TYPE_CHECKING:
    from analysis.collection import Collection, OnRun
    from analysis.tables import Table

FOLDER = ResultFolder(exists=True, file_okay=False, path_type=Path)
folders_argument = click.argument(
    "folders", nargs=-1, required=True, type=FOLDER, metavar="FOLDER…"
)
keep_invalid_option = click.option(
    "--keep-invalid", is_flag=True, help="Take emulations whose verdict is 'invalid' too, marked †."
)


def out_option(default: str) -> Callable[[Any], Any]:
    """``--out``, a path without suffix."""
    return click.option(
        "--out", type=click.Path(path_type=Path), default=Path(default), show_default=True,
        help="Where files go: a path without suffix.",
    )  # fmt: skip


@contextmanager
def reading() -> Iterator[OnRun]:
    """A bar on a terminal while results are read; to be told of (read, to be read)."""
    columns = words("reading results"), BarColumn(), MofNCompleteColumn()
    console = Screen(stderr=True)
    off = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def read(
    folders: Iterable[Path], *, keep_invalid: bool = False, partial: bool = False
) -> Collection:
    """All results below some folders that can be used. Raises ``UserError`` for none."""
    from analysis.collection import collect, some

    with reading() as on_run:
        return some(collect(folders, keep_invalid=keep_invalid, partial=partial, on_run=on_run))


def show_tables(tables: Sequence[Table]) -> None:
    """Print tables; into a file or a pipe as wide as they need to be."""
    console = screen_of_tables()
    for table in tables:
        console.print()
        console.print(styled(table.title, "bold"))
        shown = RichTable(box=None, padding=(0, 2, 0, 0))
        for k, name in enumerate(table.heading):
            shown.add_column(name, justify="left" if k < table.left else "right", no_wrap=k == 0)
        for row in table.rows:
            shown.add_row(*row)
        print_table(console, shown)


def show_sentences(said: Sequence[str]) -> None:
    """Print sentences, a line each."""
    if said:
        say()
    for sentence in said:
        say(sentence)


def show_files(paths: Sequence[Path]) -> None:
    """Say what was written."""
    say(f"files: {' '.join(map(one_line, paths))}")

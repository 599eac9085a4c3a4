"""The one room in which rich is set up: strings are text, never its markup.

A name, a path or a reason may hold ``[bold]`` or ``[/]``, which rich would take for its own. Here
markup and emoji codes are off, and what is to be seen in a style is made by `styled`.
"""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import TextColumn
from rich.status import Status
from rich.table import Table
from rich.text import Text

from records.streams import printable

WIDE = 160
"""Columns of a table that goes into a file or a pipe."""


class Screen(Console):
    """Standard output or standard error, on which every string is shown as it is.

    Args:
        stderr: whether it is standard error.
        width: columns; None for the terminal's.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None):
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make text of a string, control characters escaped."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})

    def status(self, status: Any, **options: Any) -> Status:
        """Show a spinner beside words."""
        return super().status(styled(str(status)), **options)


def styled(text: object, style: str = "") -> Text:
    """Return text in a style of rich's, as ``bold red``."""
    return Text(printable(str(text)), style=style)


def words(form: str, style: str = "none") -> TextColumn:
    """Return a column of a progress display, as ``"{task.description}"``, without markup."""
    return TextColumn(form, style=style, markup=False)


def print_table(console: Screen, table: Table) -> None:
    """Print a table; where that would break words and numbers, a list of each row's cells."""
    drawn = ("".join(part.text for part in line) for line in console.render_lines(table))
    whole = {word for line in drawn for word in line.split()}
    if whole >= {word for c in table.columns for cell in c.cells for word in str(cell).split()}:
        console.print(table)
        return
    headings = [str(column.header) for column in table.columns]
    rows = zip(*(list(column.cells) for column in table.columns), strict=True)
    for first, *others in rows:
        console.print(styled(first, "bold"))
        for heading, cell in zip(headings[1:], others, strict=True):
            console.print(f"  {heading}: {cell}".replace("\n", " "))


def screen_of_tables(width: int = WIDE) -> Screen:
    """Return the terminal as it is; a file or a pipe is as wide as tables need it to be."""
    return Screen(width=None if sys.stdout.isatty() else width)

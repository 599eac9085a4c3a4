"""Draw figures from result folders."""

from __future__ import annotations

from pathlib import Path

import click

from records.ownership import give_to_user
from records.reader import open_result


@click.group()
def figure() -> None:
    """Draw a figure from result folders: SVG, PNG and its data as CSV."""


@figure.command()
@click.argument("result", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Path without suffix.  [default: eq14 in the result folder]",
)
def eq14(result: Path, out: Path | None) -> None:
    """Pings against the queues they met, eq. (14), from the RESULT of an emulation."""
    from analysis.eq14 import draw_eq14

    for path in draw_eq14(open_result(result), out or result / "figures" / "eq14"):
        give_to_user(path)
        click.echo(str(path))

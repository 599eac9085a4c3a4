"""Draw a figure from result folders or training runs: SVG, PNG and its data as CSV."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from analysis.figures import FIGURES, Source, draw
from cli.showing import FOLDER, keep_invalid_option, show_files, show_sentences

_HELP = "\n".join(f"  {name:<8} {what}" for name, (_, what) in FIGURES.items())


@click.command(epilog=f"\b\nFigures:\n{_HELP}")
@click.argument("name", type=click.Choice(list(FIGURES)), metavar="NAME")
@click.argument("folders", nargs=-1, required=True, type=FOLDER, metavar="FOLDER…")
@keep_invalid_option
@click.option("--out", type=click.Path(path_type=Path), default=None, metavar="PATH",
              help="Path without suffix.  [default: results/analysis/fig-NAME]")  # fmt: skip
def figure(name: str, folders: tuple[Path, ...], keep_invalid: bool, out: Path | None) -> None:
    """Draw figure NAME from what lies below each FOLDER: results, or training runs.

    Written are SVG, PNG, and the figure's data as CSV beside them; what the numbers say is printed.
    Emulations that their own verdict calls invalid are left out unless they are asked for.
    """
    from analysis.style import save

    columns = TextColumn("reading results"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        source = Source(
            folders,
            keep_invalid,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
        drawing = draw(name, source)
    show_sentences(drawing.said)
    show_files(save(drawing, out or Path("results/analysis") / f"fig-{name}"))

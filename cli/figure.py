"""Draw a figure from result folders or training runs: SVG, PNG and its data as CSV."""

from __future__ import annotations

from pathlib import Path

import click

from analysis.figures import FIGURES, Source, draw
from cli.output import FOLDER, keep_invalid_option, reading, show_files, show_sentences

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

    with reading() as on_run:
        drawing = draw(name, Source(folders, keep_invalid, on_run))
    show_sentences(drawing.said)
    show_files(save(drawing, out or Path("results/analysis") / f"fig-{name}"))

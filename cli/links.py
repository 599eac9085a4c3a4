"""Loads of E2E links against E2D and ACCESS links, by policy and case."""

from __future__ import annotations

import re
from pathlib import Path

import click

from cli.output import (
    folders_argument,
    keep_invalid_option,
    read,
    show_files,
    show_sentences,
    show_tables,
)


@click.command()
@folders_argument
@keep_invalid_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path),
              default=Path("results/analysis/links"), show_default=True,
              help="Folder for figures, tables and data.")  # fmt: skip
def links(folders: tuple[Path, ...], keep_invalid: bool, out: Path) -> None:
    """How loaded the links of each class are, in all results below each FOLDER.

    E2E joins base stations, E2D a device and its base station, ACCESS an edge server and its base
    station. Load is V/c: the time that what waits on a link takes to leave it. A table, and a
    figure per scenario: mean load over time, and the share of links and slots above a load.
    """
    from analysis import links as content
    from analysis.style import save
    from analysis.tables import write

    found = read(folders, keep_invalid=keep_invalid)
    tables, said, paths = [], [], []
    for panel in found.panels:
        loads = [content.class_loads(group) for group in panel]
        tables.append(content.table(panel, loads))
        said += list(content.sentences(panel, loads))
        name = re.sub(r"[^A-Za-z0-9._=-]+", "-", f"{panel[0].scenario}-{panel[0].world}")
        paths += save(content.draw(panel, loads), out / f"{name}-{panel[0].duration_s:g}s")
    said += found.said
    show_tables(tables)
    show_sentences(said)
    rows: list[dict[str, object]] = [
        dict(zip(t.heading, row, strict=True)) for t in tables for row in t.rows
    ]
    show_files(paths + write(tables, said, rows, out / "links"))

"""Table III of the paper from result folders, ours beside the paper's numbers."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import (
    folders_argument,
    keep_invalid_option,
    out_option,
    read,
    show_files,
    show_sentences,
    show_tables,
)


@click.command()
@folders_argument
@keep_invalid_option
@out_option("results/analysis/table3")
def table3(folders: tuple[Path, ...], keep_invalid: bool, out: Path) -> None:
    """Unit delay, node load and link loads of all results below each FOLDER, as Table III.

    Interquartile means over episodes (and training seeds) with bootstrap 95 % intervals; in
    parentheses what the paper prints. Below: where the order of the learners agrees with it. The
    two worlds, lengths and variants of a scenario have tables of their own.
    """
    from analysis import table3 as content
    from analysis.tables import write

    found = read(folders, keep_invalid=keep_invalid)
    tables, said = content.tables(found), [*content.sentences(found), *found.said]
    show_tables(tables)
    show_sentences(said)
    show_files(write(tables, said, list(content.records(found)), out))

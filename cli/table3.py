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
from records.streams import say_json


@click.command()
@folders_argument
@keep_invalid_option
@out_option("results/analysis/table3")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers for programs, as JSON.")
def table3(folders: tuple[Path, ...], keep_invalid: bool, out: Path, as_json: bool) -> None:
    """Unit delay, node load and link loads of all results below each FOLDER, as Table III.

    Interquartile means over episodes (and training seeds) with bootstrap 95 % intervals; in
    parentheses what the paper prints. Below: where the order of the learners agrees with it. The
    two worlds, lengths and variants of a scenario have tables of their own.
    """
    from analysis import table3 as content
    from analysis.tables import write

    found = read(folders, keep_invalid=keep_invalid)
    tables, said = content.tables(found), [*content.sentences(found), *found.said]
    rows = list(content.records(found))
    paths = write(tables, said, rows, out)
    if as_json:
        say_json({"rows": rows, "sentences": said, "files": list(map(str, paths))}, indent=1)
        return
    show_tables(tables)
    show_sentences(said)
    show_files(paths)

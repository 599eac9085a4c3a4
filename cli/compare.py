"""Results side by side, with paired differences where the tasks are the same."""

from __future__ import annotations

from pathlib import Path

import click

from cli.showing import FOLDER, out_option, read, show_files, show_sentences, show_tables
from model.errors import UserError


@click.command()
@click.argument("results", nargs=-1, required=True, type=FOLDER, metavar="RESULT…")
@out_option("results/analysis/compare")
def compare(results: tuple[Path, ...], out: Path) -> None:
    """Show the metrics of each RESULT beside those of the first, and how the runs differ.

    A RESULT may be a folder of results: those of a policy, scenario and world stand together, as
    means. Runs of the very same tasks are compared task by task; intervals (bootstrap 95 %) are
    over episodes, of a single pair over 20 stretches of its time. Invalid emulations are marked †.
    """
    from analysis import compare as content
    from analysis.tables import write

    found = [(folder, read((folder,), keep_invalid=True, partial=True)) for folder in results]
    listed = content.columns(found)
    if len(listed) < 2:
        raise UserError(f"{results[0]}: one result is nothing to compare: name two, or a folder")
    tables = [content.side_by_side(listed)]
    paired, said = content.differences(listed)
    if paired:
        tables.append(content.difference_table(listed[0], paired))
    said += [sentence for _, collection in found for sentence in collection.said]
    show_tables(tables)
    show_sentences(said)
    show_files(write(tables, said, content.records(listed), out))

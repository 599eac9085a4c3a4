"""Results side by side, with paired differences where the tasks are the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import FOLDER, out_option, read, show_files, show_sentences, show_tables
from model.errors import UserError
from records.streams import say_json, stdout_for_json

if TYPE_CHECKING:
    from analysis.compare import Column


@click.command()
@click.argument("results", nargs=-1, required=True, type=FOLDER, metavar="RESULT…")
@out_option("results/analysis/compare")
@click.option("--page", is_flag=True, help="Write it as a page with pictures too: HTML and PDF.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the differences for programs, as JSON."
)
def compare(results: tuple[Path, ...], out: Path, page: bool, as_json: bool) -> None:
    """Show the metrics of each RESULT beside those of the first, and how the runs differ.

    A RESULT may be a folder of results: those of a policy, scenario and world stand together, as
    means. Runs of the very same tasks are compared task by task; intervals (bootstrap 95 %) are
    over episodes, of a single pair over 20 stretches of its time. Invalid emulations are marked †.
    """
    from analysis import compare as content
    from analysis.report import document, versus
    from analysis.tables import write

    with stdout_for_json(as_json):
        listed, notes = read_columns(results)
    paired, said = content.differences(listed)
    tables = [content.side_by_side(listed)]
    if paired:
        tables.append(content.difference_table(listed[0], paired))
    paths = write(tables, [*said, *notes], content.records(listed), out)
    if page:
        paths += document.write(versus.report_of(listed, paired, said), out)
    if as_json:
        say_json(content.plain(listed, paired), indent=1)
        return
    show_tables(tables)
    show_sentences([*said, *notes])
    show_files(paths)


def read_columns(results: Sequence[Path]) -> tuple[list[Column], list[str]]:
    """What stands side by side, and what a reader must be told. Raises ``UserError`` for one."""
    from analysis.compare import columns

    found = [(folder, read((folder,), keep_invalid=True, partial=True)) for folder in results]
    listed = columns(found)
    if len(listed) < 2:
        raise UserError(f"{results[0]}: one result is nothing to compare: name two, or a folder")
    return listed, [sentence for _, collection in found for sentence in collection.said]

"""A result, or a folder of results, as one HTML page and a PDF."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import FOLDER, keep_invalid_option, read, show_files, show_sentences


@click.command()
@click.argument("folder", type=FOLDER, metavar="RESULT|FOLDER")
@keep_invalid_option
@click.option("--out", type=click.Path(path_type=Path), default=None, metavar="PATH",
              help="Path without suffix.  [default: report in the folder itself]")  # fmt: skip
def report(folder: Path, keep_invalid: bool, out: Path | None) -> None:
    """Everything about a RESULT on one page: HTML that needs nothing else, and PDF.

    Scenario, provenance, verdict, metrics, a map with loads, time series, delays, where tasks went,
    decisions, overhead, captures. Of a run that was killed, what it left; an invalid one is marked
    so. A FOLDER with several results becomes an overview of all of them.
    """
    from analysis.report import overview, run
    from analysis.report.document import write

    single = (folder / "manifest.json").is_file()
    found = read((folder,), keep_invalid=keep_invalid or single, partial=single)
    if len(found.runs) == 1:
        document = run.report_of(found.runs[0])
    else:
        document = overview.report_of(found, folder)
    show_sentences(found.said)
    show_files(write(document, out or folder / "report"))

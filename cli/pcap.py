"""Read packet captures: rates, round trips, retransmissions, time in queues, tasks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import polars as pl
from rich.console import Console
from rich.table import Table

from analysis.pcap.points import capture_files
from analysis.pcap.reader import read_capture
from analysis.pcap.show import show as show_packet
from analysis.pcap.summary import Summary, summarise
from model.errors import UserError

_FLOWS_SHOWN = 15

_LINK_COLUMNS = {
    "entered": ("entered", 1.0, "{:.0f}"),
    "packets": ("packets", 1.0, "{:.0f}"),
    "bytes": ("MB", 1e-6, "{:.3f}"),
    "mean_mbps": ("Mbps", 1.0, "{:.2f}"),
    "peak_mbps": ("peak", 1.0, "{:.2f}"),
    "retransmitted": ("retr.", 1.0, "{:.0f}"),
    "rtt_p50_s": ("rtt, ms", 1e3, "{:.2f}"),
    "rtt_p95_s": ("95 %", 1e3, "{:.2f}"),
    "ping_p50_s": ("ping, ms", 1e3, "{:.2f}"),
    "wait_p50_s": ("queue, ms", 1e3, "{:.2f}"),
    "wait_p95_s": ("95 %", 1e3, "{:.2f}"),
    "wait_max_s": ("max", 1e3, "{:.2f}"),
}
_FLOW_COLUMNS = {
    "packets": ("packets", 1.0, "{:.0f}"),
    "bytes": ("MB", 1e-6, "{:.3f}"),
    "first_s": ("first, s", 1.0, "{:.3f}"),
    "last_s": ("last, s", 1.0, "{:.3f}"),
    "retransmitted": ("retr.", 1.0, "{:.0f}"),
    "wait_mean_s": ("queue, ms", 1e3, "{:.2f}"),
}


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--show", type=click.IntRange(1), metavar="N", help="Decode packet N of one file.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the tables (Parquet) and a picture (PNG, SVG).",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the tables of links and flows as JSON."
)
def pcap(files: tuple[Path, ...], show: int | None, out: Path | None, as_json: bool) -> None:
    """Say what packet captures tell of links and tasks.

    FILES are captures or folders: a result folder, or its pcap/. Given together, the captures of a
    run tell how long packets waited in queues. Times are real time.
    """
    found = capture_files(list(files))
    if show is not None:
        if len(found) != 1:
            raise UserError(f"--show {show}: of one file, please; these are {len(found)}")
        click.echo(show_packet(read_capture(found[0]), show))
        return
    summary = summarise(found)
    for note in summary.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        click.echo(_as_json(summary))
    else:
        _print(summary)
    if out is not None:
        # matplotlib takes a second to import.
        from analysis.pcap.output import write

        written = write(summary, out)
        click.echo(f"written: {', '.join(p.name for p in written)} in {out}", err=as_json)


def _as_json(summary: Summary) -> str:
    tables = {name: summary.tables()[name].to_dicts() for name in ("links", "flows")}
    entries = {"speedup": summary.speedup, "notes": summary.notes, **tables}
    return json.dumps(entries, indent=1, allow_nan=False)


def _print(summary: Summary) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("link")
    _fill(table, _LINK_COLUMNS, summary.links, ["link"])
    console.print(table)
    tasks = summary.flows.filter(pl.col("kind") == "TASK")
    if len(tasks):
        console.print()
        console.print(_of_tasks(tasks))
        more = len(tasks) - _FLOWS_SHOWN
        if more > 0:
            console.print(f"… and {more} more with the other flows: --out FOLDER, or --json")
    if summary.speedup != 1:
        console.print(f"Real time; a second of it is {summary.speedup:g} s of the scenario.")


def _of_tasks(tasks: pl.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("task", "of", "to", "link"):
        table.add_column(heading)
    shown = tasks.sort("task", "attempt", "first_s").head(_FLOWS_SHOWN)
    _fill(table, _FLOW_COLUMNS, shown, ["task", "device", "target", "link"])
    return table


def _fill(
    table: Table, columns: dict[str, tuple[str, float, str]], rows: pl.DataFrame, keys: list[str]
) -> None:
    for heading, _, _ in columns.values():
        table.add_column(heading, justify="right")
    for row in rows.iter_rows(named=True):
        cells = [
            "–" if row[name] is None else form.format(row[name] * factor)
            for name, (_, factor, form) in columns.items()
        ]
        table.add_row(*(str(row[key]) for key in keys), *cells)

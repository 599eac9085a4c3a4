"""Read packet captures: rates, round trips, retransmissions, time in queues, tasks."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import click
import polars as pl
from rich.table import Table

import analysis.pcap
from analysis.pcap.files import find_captures
from analysis.pcap.reader import read_capture
from analysis.pcap.show import show as show_packet
from analysis.pcap.summary import KEY, Summary, summarise
from cli.ignored import refuse
from model.errors import UserError
from records.console import Screen, screen_of_tables
from records.streams import one_line, say

_FLOWS_SHOWN = 15
_NAMES_SHOWN = 3

_LINK_COLUMNS = {
    "entered": ("entered", 1.0, 0),
    "packets": ("packets", 1.0, 0),
    "bytes": ("MB", 1e-6, 3),
    "mean_mbps": ("Mbps", 1.0, 2),
    "peak_mbps": ("peak", 1.0, 2),
    "retransmitted": ("retr.", 1.0, 0),
    "rtt_p50_s": ("rtt, ms", 1e3, 2),
    "rtt_p95_s": ("95 %", 1e3, 2),
    "ping_p50_s": ("ping, ms", 1e3, 2),
    "wait_p50_s": ("queue, ms", 1e3, 2),
    "wait_p95_s": ("95 %", 1e3, 2),
    "wait_max_s": ("max", 1e3, 2),
}
"""Column of a table → heading, factor, decimals; see ``_number``."""
_FLOW_COLUMNS = {
    "packets": ("packets", 1.0, 0),
    "bytes": ("MB", 1e-6, 3),
    "first_s": ("first, s", 1.0, 3),
    "last_s": ("last, s", 1.0, 3),
    "retransmitted": ("retr.", 1.0, 0),
    "wait_mean_s": ("queue, ms", 1e3, 2),
}


DISSECTOR = Path(analysis.pcap.__file__).parent / "task_header.lua"


def _tell_dissector(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print where the dissector lies and how to load it, and end."""
    if not asked or ctx.resilient_parsing:
        return
    path = shlex.quote(str(DISSECTOR))
    say(DISSECTOR)
    say(f"once:     wireshark -X lua_script:{path} FILE    (tshark takes the same)", err=True)
    say(f"for good: mkdir -p ~/.local/lib/wireshark/plugins && cp {path} $_", err=True)
    say("Filters: celt.type == 2, celt.task == 17, celt.device == 3, celt.work_ghz_s > 5", err=True)
    ctx.exit()


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
)
@click.option("--show", type=click.IntRange(1), metavar="N", help="Decode packet N of one file.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the tables (Parquet) and a picture (PNG, SVG).",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the tables of links and flows as JSON."
)
@click.option(
    "--dissector",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_tell_dissector,
    help="Print the path of the Wireshark dissector of task headers, and how to load it.",
)
def pcap(files: tuple[Path, ...], show: int | None, out: Path | None, as_json: bool) -> None:
    """Print what packet captures hold on links and tasks.

    FILES are captures (pcap or pcapng, also compressed), folders of them, a result folder, or - for
    standard input. Files that a writer rotated are one capture. Given together, the captures of a
    run show how long packets waited in queues. Times are real time.
    """
    if show is not None:
        found, _ = find_captures(list(files))
        if len(found) != 1 or len(found[0].files) != 1:
            count = sum(len(c.files) for c in found)
            raise UserError(f"--show {show}: needs one file, and these are {count}")
        refuse(("out", "as_json"), "with --show, which decodes one packet.")
        say(show_packet(read_capture(found[0].files[0]), show))
        return
    summary = summarise(files)
    for note in summary.notes:
        say(f"note: {note}", err=True)
    if as_json:
        say(_as_json(summary))
    else:
        _print(summary)
    if out is not None:
        # matplotlib takes a second to import.
        from analysis.pcap.output import write

        written = write(summary, out)
        say(f"written: {', '.join(p.name for p in written)} in {one_line(out)}", err=as_json)


def _as_json(summary: Summary) -> str:
    names = ("links", "flows", "missing")
    tables = {name: summary.tables()[name].to_dicts() for name in names}
    runs = [asdict(run) for run in summary.runs]
    entries = {"speedup": summary.speedup, "runs": runs, "notes": summary.notes, **tables}
    return json.dumps(entries, indent=1, allow_nan=False)


def _print(summary: Summary) -> None:
    console = screen_of_tables(140)
    names = summary.link_names()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("link")
    _fill(table, _LINK_COLUMNS, summary.links, [], names)
    console.print(table)
    for line in _reasons(summary.missing, names):
        console.print(line, style="dim", soft_wrap=True)
    tasks = summary.flows.filter(pl.col("kind") == "TASK")
    if len(tasks):
        console.print()
        console.print(_of_tasks(tasks, names))
        more = len(tasks) - _FLOWS_SHOWN
        if more > 0:
            console.print(f"… and {more} more with the other flows: --out FOLDER, or --json")
    _print_speedups(console, summary)


def _print_speedups(console: Screen, summary: Summary) -> None:
    if summary.speedup is None:
        for run in summary.runs:
            line = f"Real time; a second of {run.name} is {run.speedup:g} s of its scenario."
            console.print(line, soft_wrap=True)
    elif summary.speedup != 1:
        console.print(f"Real time; a second of it is {summary.speedup:g} s of the scenario.")


def _reasons(missing: pl.DataFrame, names: Mapping[tuple[object, ...], str]) -> list[str]:
    """Why there is a "–", a line for each reason and the columns that it explains."""
    explained: dict[tuple[str, str], list[str]] = {}
    for row in missing.iter_rows(named=True):
        heading = _LINK_COLUMNS[row["column"]][0].split(",")[0]
        name = names[tuple(row[k] for k in KEY)]
        explained.setdefault((heading, row["reason"]), []).append(name)
    lines: dict[tuple[str, str], list[str]] = {}
    for (heading, reason), links in explained.items():
        lines.setdefault((reason, _listed(links, len(names))), []).append(heading)
    return [f"– {', '.join(h)}: {reason}{where}" for (reason, where), h in lines.items()]


def _listed(links: list[str], of: int) -> str:
    if len(links) == of:
        return ""
    more = len(links) - _NAMES_SHOWN
    return f" ({', '.join(links[:_NAMES_SHOWN])}{f' and {more} more' if more > 0 else ''})"


def _of_tasks(tasks: pl.DataFrame, names: Mapping[tuple[object, ...], str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("task", "of", "to", "link"):
        table.add_column(heading)
    shown = tasks.sort("run", "task", "attempt", "first_s").head(_FLOWS_SHOWN)
    _fill(table, _FLOW_COLUMNS, shown, ["task", "device", "target"], names)
    return table


def _fill(
    table: Table,
    columns: dict[str, tuple[str, float, int]],
    rows: pl.DataFrame,
    keys: list[str],
    names: Mapping[tuple[object, ...], str],
) -> None:
    for heading, _, _ in columns.values():
        table.add_column(heading, justify="right")
    for row in rows.iter_rows(named=True):
        cells = [
            _number(row[name], factor, decimals) for name, (_, factor, decimals) in columns.items()
        ]
        link = names[tuple(row[k] for k in KEY)]
        table.add_row(*(str(row[key]) for key in keys), link, *cells)


def _number(value: float | None, factor: float, decimals: int) -> str:
    """A number with its decimals, and where it is small with three digits; "–" for none."""
    if value is None:
        return "–"
    scaled = value * factor
    if decimals and 0 < abs(scaled) < 1:
        decimals = max(decimals, 2 - math.floor(math.log10(abs(scaled))))
        return f"{scaled:.{decimals}f}".rstrip("0") if decimals > 3 else f"{scaled:.{decimals}f}"
    return f"{scaled:.{decimals}f}"

"""Watch the links and units of a running experiment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import click
import httpx
from rich.console import Group
from rich.live import Live
from rich.table import Table

from cli.api_client import find_run
from model.errors import UserError
from records.console import Screen
from records.streams import reader_is_gone


def events(lines: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The server-sent events in some lines: kind and data."""
    kind = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


_LOOK: dict[str, Any] = {"box": None, "padding": (0, 2, 0, 0), "pad_edge": False}


def _heaviest(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["load_s"] or 0.0, reverse=True)[:count]


def links_table(links: dict[str, Any], count: int) -> Table:
    """The links with the most seconds of backlog."""
    table = Table("link", "V_l, kB", "V_l / c_l, s", "used", "drops", "", **_LOOK)
    for row in _heaviest(links["links"], count):
        table.add_row(
            row["link"],
            f"{row['backlog_bytes'] / 1e3:.1f}",
            f"{row['load_s']:.3f}",
            f"{row['utilisation']:.0%}",
            str(row["drops"]),
            "" if row["up"] else "down",
        )
    return table


def units_table(units: dict[str, Any], count: int) -> Table:
    """The units with the most seconds of work."""
    table = Table("unit", "Q_u, GHz s", "Q_u / F_u, s", "busy", **_LOOK)
    for row in _heaviest(units["units"], count):
        load = "–" if row["load_s"] is None else f"{row['load_s']:.3f}"
        table.add_row(row["unit"], f"{row['queue_ghz_s']:.1f}", load, f"{row['busy_share']:.0%}")
    return table


@click.command()
@click.argument("run", required=False)
@click.option("--rows", type=click.IntRange(1, 200),
              help="Of each table.  [default: as many as the terminal has room for]")  # fmt: skip
def watch(run: str | None, rows: int | None) -> None:
    """Watch the links and units of a running experiment, the heaviest first, until it ends.

    RUN is the id of the run; it may be left out while there is only one.
    """
    found = find_run(run)
    # Nothing comes between slots but a sign of life every 15 s.
    with found.client() as client, Live(console=Screen(), refresh_per_second=4) as live:
        latest = {"links": client.get("/links").json(), "units": client.get("/units").json()}
        try:
            with client.stream("GET", "/stream") as stream:
                for kind, data in events(stream.iter_lines()):
                    if reader_is_gone():
                        return
                    latest[kind] = data
                    title = f"run {found.run_id}, slot {latest['links']['slot']}"
                    # A title, two headings, and a line for the cursor.
                    most = rows or max(1, (live.console.height - 4) // 2)
                    tables = (
                        links_table(latest["links"], most),
                        units_table(latest["units"], most),
                    )
                    live.update(Group(title, *tables))
        except httpx.RemoteProtocolError:
            return  # the run has ended
        except httpx.HTTPError as error:
            raise UserError(f"run {found.run_id} does not answer: {error}") from error

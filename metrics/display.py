"""The table that a person sees at the end of a run; the same for both worlds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from metrics.summary import Summary, digits, summarise
from model.text import safe_line
from records.console import Screen, styled
from records.reader import open_result
from records.streams import one_line

UNIT_DELAY = "unit delay UD = ΣE/Σo"
"""Name of the row of ``Summary.rows`` that a run is judged by."""
_SHORT = (
    "tasks generated", "tasks failed", "tasks unfinished", "tasks sent to", "delay E, mean",
    "delay E, 95", "node load ANLR", "link load", "packets dropped",
)  # fmt: skip
"""How the rows begin that are shown on a screen of 24 lines."""
_WORLDS = {"emulation": "emulation", "simulation": "simulator"}
_ENDED = {0: "", 130: " (interrupted: partial)", None: " (did not end: partial)"}


def print_summary(folder: Path, *, show_all: bool = False) -> None:
    """Print a result's metrics, its path, and last its verdict and unit delay.

    ``show_all``: every metric, not those alone that fit a screen of 24 lines. Raises ``UserError``
    if the folder is no result.
    """
    result = open_result(folder)
    summary, manifest = summarise(result), result.manifest
    ended = _ENDED.get(manifest.get("exit_status"), " (broke: partial)")
    console = Screen()
    console.print(
        f"\n{manifest['scenario']['name']}, policy {manifest['policy']}, seed {manifest['seed']}, "
        f"{_WORLDS[manifest['world']]}, T = {summary.end_s:g} s{ended}",
        style="bold",
        highlight=False,
    )
    rows = [row for row in summary.rows() if row[0] != UNIT_DELAY]
    shown = rows if show_all else [row for row in rows if row[0].startswith(_SHORT)]
    console.print(_table(shown))
    if len(shown) < len(rows):
        console.print(f"{len(rows) - len(shown)} more: --all, or ./lab report", style="dim")
    console.print(f"result: {one_line(folder)}", soft_wrap=True)
    fidelity = manifest.get("fidelity")
    if fidelity is not None:
        console.print(fidelity_line(fidelity))
    console.print(_headline(summary, fidelity, ended))


def _table(rows: Sequence[tuple[str, str, str]]) -> Table:
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for name, value, unit in rows:
        table.add_row(name, styled(value, "bold"), unit)
    return table


def _headline(summary: Summary, fidelity: Mapping[str, Any] | None, ended: str) -> Text:
    """Return what a run comes to, short enough for one line."""
    value = summary.unit_delay
    words = "–" if math.isnan(value) else f"{digits(value)} s/MB"
    verdict = "simulated" if fidelity is None else "valid" if fidelity["valid"] else "invalid"
    style = "bold red" if verdict == "invalid" else "bold"
    return styled(f"{UNIT_DELAY}: {words} ({verdict}){ended}", style)


def fidelity_line(fidelity: Mapping[str, Any]) -> Text:
    """Return the verdict in colour; it cites text of nodes, which loses its control characters."""
    style = "green" if fidelity["valid"] else "bold red"
    return Text.assemble("fidelity: ", styled(safe_line(str(fidelity["verdict"])), style))

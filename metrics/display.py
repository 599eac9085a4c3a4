"""The table that a person sees at the end of a run; the same for both worlds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from metrics.summary import summarise
from model.text import safe_line
from records.console import Screen, styled
from records.reader import open_result
from records.streams import one_line

_ENDED = {0: "", 130: " (interrupted: partial)", None: " (did not end: partial)"}


def print_summary(folder: Path) -> None:
    """Print a result's metrics and its path. Raises ``UserError`` if the folder is no result."""
    result = open_result(folder)
    summary, manifest = summarise(result), result.manifest
    ended = _ENDED.get(manifest.get("exit_status"), " (broke: partial)")
    console = Screen()
    console.print(
        f"\n{manifest['scenario']['name']}, policy {manifest['policy']}, seed {manifest['seed']}, "
        f"{manifest['world']}, T = {summary.end_s:g} s{ended}",
        style="bold",
        highlight=False,
    )
    table = Table(box=None, padding=(0, 2), show_header=False)
    for name, value, unit in summary.rows():
        table.add_row(name, styled(value, "bold"), unit)
    console.print(table)
    if (fidelity := manifest.get("fidelity")) is not None:
        console.print(fidelity_line(fidelity))
    console.print(f"result: {one_line(folder)}", soft_wrap=True)


def fidelity_line(fidelity: Mapping[str, Any]) -> Text:
    """Return the verdict in colour; it cites text of nodes, which loses its control characters."""
    style = "green" if fidelity["valid"] else "bold red"
    return Text.assemble("fidelity: ", styled(safe_line(str(fidelity["verdict"])), style))

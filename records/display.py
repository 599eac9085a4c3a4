"""The table that a person sees at the end of a run; the same for both worlds."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from records.console import Screen, styled
from records.metrics import summarise
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
        # It cites processes that run a user's policy: no control characters of theirs.
        style = "green" if fidelity["valid"] else "bold red"
        console.print("fidelity:", styled(one_line(fidelity["verdict"]), style))
    console.print(f"result: {one_line(folder)}", soft_wrap=True)

"""What `--json` prints of a run: its folder, verdict, reasons and all summary numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True,
    help="Print one JSON object for programs; all else goes to standard error.",
)  # fmt: skip


def run_entry(folder: Path, exit_status: int) -> dict[str, Any]:
    """Return a run as plain data; ``summary`` is None where it has recorded nothing.

    Raises ``UserError`` if the folder is no result.
    """
    from metrics.listing import row_of
    from metrics.summary import summarise
    from records.reader import open_result

    result = open_result(folder)
    row = row_of(result).as_dict()
    recorded = result.manifest.get("ran_s") or any(folder.glob("tasks.parquet*"))
    summary = summarise(result).to_dict() if recorded else None
    return {
        **row,
        "folder": str(folder.absolute()),
        "exit_status": exit_status,
        "error": result.manifest.get("error"),
        "unit_delay": summary and summary["unit_delay"],
        "summary": summary,
    }

"""Look at this machine: what can be emulated here."""

from __future__ import annotations

from typing import Any

import click

from emulation.calibration.card import machine_card
from emulation.host.capabilities import REQUIRED_TO_RUN, Capabilities, probe
from records.console import screen_of_tables, styled
from records.streams import say, say_json

CANNOT_RUN = 1
"""Exit status where no network can be emulated here at all."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print it for programs, as JSON.")
def check(as_json: bool) -> int:
    """Look at this machine: what can be emulated here, and what follows where not.

    Kernel features are tried in a throw-away network namespace, which leaves nothing behind. The
    exit status is 1 where `run` could not work at all, and 0 otherwise.
    """
    found = probe()
    card = machine_card("system" if found.datapath == "kernel" else "netdev")
    if as_json:
        say_json({**found.as_dict(), "machine_card": card})
    else:
        print_table(found)
        if found.can_run:
            say(_of_card(card))
    return 0 if found.can_run else CANNOT_RUN


def _of_card(card: dict[str, Any] | None) -> str:
    if card is None:
        return "How true it is here has not been measured: sudo ./lab calibrate."
    missed = f"{len(card['missed'])} aims missed" if card["missed"] else "every aim met"
    return f"Measured on {card['date'][:10]}: {missed} (./lab calibrate; docs/fidelity.md)."


def print_table(found: Capabilities) -> None:
    """Print one line a finding, and the verdict."""
    from rich.table import Table

    # rich honours NO_COLOR and drops colours where the output is no terminal.
    console = screen_of_tables()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "what", "found", "what follows"):
        table.add_column(heading, overflow="fold")
    for one in found.findings:
        style = "green" if one.ok else "red" if one.name in REQUIRED_TO_RUN else "yellow"
        word = "ok" if one.ok else "missing"
        table.add_row(styled(word, style), one.name, one.detail, one.follows)
    console.print(table)
    console.print()
    lacking = ", ".join(one.name for one in found.missing(REQUIRED_TO_RUN))
    if lacking:
        console.print(f"Networks cannot be emulated here: {lacking}. The simulator works.")
    else:
        console.print(f"Networks can be emulated here, with the {found.datapath} datapath.")

"""List a scenario's nodes and links: names, rates, delays, buffers, addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from emulation.completions import offer_scenarios, offer_settings
from model.inventory import KINDS, LinkRow, NodeRow, link_rows, node_rows
from model.network import build_network
from model.scenario.load import load_scenario, parse_overrides
from records.console import Screen, screen_of_tables, styled
from records.streams import say_json


@click.command()
@click.argument("scenario", metavar="SCENARIO", shell_complete=offer_scenarios)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              shell_complete=offer_settings,
              help="Override a value of the scenario, e.g. cloud.mode=target.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print it for programs, as JSON.")
def nodes(scenario: str, settings: tuple[str, ...], as_json: bool) -> None:
    """List the nodes and links of SCENARIO, by the names that events and results use.

    A cable is two links, one a direction: bs1-e1 is bs1>e1 and e1>bs1, and has its rate in each.
    Addresses are those inside an emulation. Rates are those at the start; the last column names
    what events change.
    """
    resolved = load_scenario(scenario, parse_overrides(settings))
    network = build_network(resolved)
    units, links = node_rows(resolved, network), link_rows(resolved, network)
    if as_json:
        say_json(
            {
                "scenario": resolved.name,
                "nodes": [asdict(row) for row in units],
                "links": [asdict(row) for row in links],
            },
            indent=1,
        )
        return
    console = screen_of_tables()
    cables = {row.cable: row for row in reversed(links)}
    console.print(
        styled(f"{resolved.name}: {len(units)} nodes, {len(cables)} cables of two links", "bold")
    )
    console.print()
    _show_nodes(console, units)
    console.print()
    _show_cables(console, links)


def _show_nodes(console: Screen, rows: Sequence[NodeRow]) -> None:
    _print(
        console,
        ("node", "kind", "cell", "cluster", "address", "F_max, GHz"),
        [
            (
                row.name,
                KINDS[row.kind],
                row.cell or "–",
                row.cluster or "–",
                row.ip or f"datapath {row.datapath_id}",
                "–" if row.max_ghz is None else f"{row.max_ghz:.4g}",
            )
            for row in rows
        ],
        right=(5,),
    )


def _show_cables(console: Screen, links: Sequence[LinkRow]) -> None:
    """Print a line a cable; its two directions differ in what events change, if at all."""
    changes: dict[str, dict[str, None]] = {}
    for row in links:
        changes.setdefault(row.cable, {}).update(dict.fromkeys(row.changes))
    rows = []
    for row in links:
        if row.cable in changes:
            what = ", ".join(changes.pop(row.cable))
            name = row.link_class.upper() if row.link_class else "not shaped"
            values = (row.rate_mbps, row.delay_ms, row.loss_percent, row.buffer_mb)
            shown = ("–" if value is None else f"{value:g}" for value in values)
            rows.append((row.cable, name, *shown, what))
    _print(
        console,
        ("cable", "class", "rate, Mbps", "delay, ms", "loss, %", "buffer, MB", "changes"),
        rows,
        right=(2, 3, 4, 5),
    )


def _print(
    console: Screen, heading: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]
) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for k, name in enumerate(heading):
        table.add_column(name, justify="right" if k in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)

"""Measure how true this machine's emulation is, or what FFmpeg's work costs on it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from emulation.calibration.card import Card, store
from emulation.calibration.run import calibrate as measure
from emulation.calibration.run import steps
from emulation.host.ledger import living_runs
from records.console import screen_of_tables, styled
from records.streams import one_line, say, say_json

MISSED = 3
"""Exit status where a line misses its aim."""


@click.command()
@click.argument("scenario", required=False)
@click.option("--quick", is_flag=True, help="A coarse look of half a minute; it is not stored.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs, as JSON.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=None,
              help="With SCENARIO: the file to write.  [default: SCENARIO-here.yaml]")  # fmt: skip
def calibrate(scenario: str | None, quick: bool, as_json: bool, out: Path | None) -> int:
    """Measure how true this machine's emulation is, and keep the result as its fidelity card.

    A small network of its own is built, loaded and removed; that takes a minute and a half. The
    card says what rates, queues, pings and paced transfers are here against what they should be;
    docs/fidelity.md explains it. The exit status is 3 where a line misses its aim.

    With SCENARIO, one whose work is FFmpeg's (livecast), it is measured instead what transcoding
    costs here, and a scenario file is written whose works are those; that needs no root.
    """
    if scenario is not None:
        if quick or as_json:
            raise click.UsageError("--quick and --json are of the fidelity card, without SCENARIO")
        from cli.calibrate_clips import calibrate_clips

        return calibrate_clips(scenario, out)
    if out is not None:
        raise click.UsageError("--out goes with SCENARIO")
    others = living_runs()
    if others:
        say(f"note: run {', '.join(others)} is under way: the CPU is shared", err=True)
    card = _with_bar(quick)
    if as_json:
        say_json(card.to_dict())
    else:
        print_card(card)
    if not quick:
        say(f"stored: {one_line(store(card))}", err=as_json)
    return MISSED if card.missed else 0


def _with_bar(quick: bool) -> Card:
    with click.progressbar(
        length=steps(), label="calibrating", item_show_func=lambda what: what, file=sys.stderr
    ) as bar:
        return measure(quick=quick, progress=lambda what: bar.update(1, what))


def print_card(card: Card) -> None:
    """Print one line a figure, the machine and the verdict."""
    from rich.table import Table
    from rich.text import Text

    console = screen_of_tables()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "probe", "what", "found", "aim"):
        table.add_column(heading, overflow="fold")
    words: dict[bool | None, str | Text] = {
        True: styled("ok", "green"),
        False: styled("missed", "red"),
        None: "",
    }
    before = ""
    for line in card.lines:
        probe = line.probe if line.probe != before else ""
        before = line.probe
        table.add_row(words[line.ok], probe, line.name, line.text, _aim(line.to_dict()))
    console.print(table)
    console.print()
    console.print(_where(card.machine, card.date))
    judged = [line for line in card.lines if line.ok is not None]
    console.print(f"{len(judged) - len(card.missed)} of {len(judged)} aims are met.")


def _aim(line: Mapping[str, Any]) -> str:
    aim = line["aim"]
    if aim is None:
        return ""
    sign = "≥" if line["at_least"] else "≤"
    if line["unit"] == "s":
        return f"{sign} {aim * 1e3:g} ms"
    if line["unit"]:
        return f"{sign} {aim:g}"
    return f"{sign} {aim:g}" if line["name"] == "correlation" else f"{sign} {aim * 100:g} %"


def _where(machine: Mapping[str, Any], date: str) -> str:
    others = f", beside run {', '.join(machine['other_runs'])}" if machine["other_runs"] else ""
    return (
        f"{date[:16]}Z, {machine['hostname']}: Linux {machine['kernel']}, "
        f"{machine['cpu_count']} × {machine['cpu']}, clock {machine['clock_source']}, "
        f"Open vSwitch {machine['open_vswitch']} ({machine['datapath']} datapath), "
        f"load average {machine['load_average']:.1f} at the beginning{others}"
    )

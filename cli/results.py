"""List what has been run: when, with which policy, its verdict and its unit delay."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emulation.completions import offer_policies, offer_scenarios
from records.console import Screen, screen_of_tables, styled
from records.streams import one_line, say, say_json

if TYPE_CHECKING:
    from metrics.listing import Listing, ResultRow, Unreadable

_SHOWN = 30
_UNREADABLE_SHOWN = 10
_WIDE = 130
"""Columns from which a row has its folder."""
_AGE = re.compile(r"([0-9]{1,6})(min|h|d|w)")
_UNITS = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_VERDICTS = ("valid", "invalid", "none")
_SORTS = ("when", "delay", "scenario", "policy", "seed", "verdict")


@click.command()
@click.argument("folder", required=False, metavar="[FOLDER]",
                type=click.Path(exists=True, file_okay=False, path_type=Path))  # fmt: skip
@click.option("--scenario", "scenarios", multiple=True, metavar="NAME",
              shell_complete=offer_scenarios,
              help="Of this scenario; * and ? stand for letters. Repeatable.")  # fmt: skip
@click.option("--policy", "policies", multiple=True, metavar="NAME",
              shell_complete=offer_policies,
              help="Of this policy; * and ? stand for letters. Repeatable.")  # fmt: skip
@click.option("--world", type=click.Choice(["emulation", "simulator"]), help="Of one world.")
@click.option("--verdict", type=click.Choice(_VERDICTS),
              help="With this verdict; none: nothing judged the run, as in the simulator.")  # fmt: skip  # noqa: E501
@click.option("--since", metavar="WHEN",
              help="Begun since then: 30min, 2h, 3d, 1w, 2026-11-28 or 2026-11-28T10:00 (UTC).")  # fmt: skip  # noqa: E501
@click.option("--sort", type=click.Choice(_SORTS), default="when", show_default=True,
              help="when: the newest first; the others: the least first.")  # fmt: skip
@click.option("-n", "--count", type=click.IntRange(1), metavar="N",
              help=f"Show at most N.  [default: {_SHOWN}; with --json or --paths all]")  # fmt: skip
@click.option("--paths", is_flag=True, help="Print folders alone, a line each, for other verbs.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs, as JSON.")
def results(
    folder: Path | None, count: int | None, sort: str, *, paths: bool, as_json: bool, **asked: Any
) -> None:
    """List the results at or below FOLDER (default: results), newest first.

    A row has the run's id, its start in UTC, what ran, the unit delay UD = ΣE/Σo in s per MB and
    the verdict of an emulation on itself. A run that did not end says so. Folders that cannot be
    read as results take a line each.
    """
    from metrics.listing import Listing

    if paths and as_json:
        raise click.UsageError("--paths and --json: give one of them.")
    listing = Listing(folder or Path("results"))
    found = [row for row in listing.rows if _matches(row, _since(asked["since"]), asked)]
    if sort == "delay":
        found = listing.measure(found)
    found = _sorted(found, sort)
    most = count or (len(found) if paths or as_json else _SHOWN)
    rows = found[:most]
    if paths:
        for row in rows:
            say(one_line(row.folder))
        return
    rows = rows if sort == "delay" else listing.measure(rows)
    if as_json:
        broken = [{"folder": one.folder, "problem": one.problem} for one in listing.unreadable]
        say_json({"results": [row.as_dict() for row in rows], "unreadable": broken}, indent=1)
        return
    _show(rows, listing, len(found))


def _since(text: str | None) -> str:
    """Return the start of time as ``started_utc`` has it. Raises ``UsageError`` for other text."""
    if text is None:
        return ""
    if match := _AGE.fullmatch(text):
        moment = datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise click.UsageError(
                f"--since {text}: must be an age (30min, 2h, 3d, 1w) or a time (2026-11-28)."
            ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _matches(row: ResultRow, since: str, asked: dict[str, Any]) -> bool:
    return (
        _named(row.scenario, asked["scenarios"])
        and _named(row.policy, asked["policies"])
        and asked["world"] in (None, row.world)
        and asked["verdict"] in (None, row.verdict or "none")
        and row.started_utc >= since
    )


def _named(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _sorted(rows: list[ResultRow], sort: str) -> list[ResultRow]:
    """Return rows in another order; equal ones stay newest first, unknown values come last."""
    keys: dict[str, Callable[[ResultRow], Any]] = {
        "delay": lambda row: (row.unit_delay is None, row.unit_delay or 0.0),
        "scenario": lambda row: row.scenario,
        "policy": lambda row: row.policy,
        "seed": lambda row: row.seed or 0,
        "verdict": lambda row: (row.verdict is None, row.verdict != "valid"),
    }
    return sorted(rows, key=keys[sort]) if sort in keys else rows


def _show(rows: Sequence[ResultRow], listing: Listing, matching: int) -> None:
    console = screen_of_tables()
    if rows:
        console.print(_table(rows, console))
    _show_unreadable(console, listing.unreadable)
    if not listing.rows:
        console.print("No results here. ./lab run SCENARIO makes one.")
    elif not rows:
        console.print(f"None of {_many(len(listing.rows))} matches.")
    elif len(rows) < matching:
        console.print(f"The first {len(rows)} of {_many(matching)}; -n {matching} shows all.")
    else:
        console.print(f"{_many(len(rows))}; --paths prints their folders.")


def _many(count: int) -> str:
    return f"{count} result{'s' * (count != 1)}"


def _show_unreadable(console: Screen, unreadable: Sequence[Unreadable]) -> None:
    for one in unreadable[:_UNREADABLE_SHOWN]:
        line = f"{one_line(one.folder)}: {one_line(one.problem)}"
        console.print(line, style="yellow", soft_wrap=True)
    if (more := len(unreadable) - _UNREADABLE_SHOWN) > 0:
        console.print(f"… and {more} more that cannot be read (--json lists all)", style="yellow")


def _table(rows: Sequence[ResultRow], console: Screen) -> Any:
    from rich.table import Table

    wide = console.width >= _WIDE
    table = Table(
        box=None, pad_edge=False, header_style="bold", padding=(0, 2 if wide else 1, 0, 0)
    )
    for heading in ("id", "started"):
        table.add_column(heading, no_wrap=True)
    for heading in ("scenario", "policy"):
        table.add_column(heading, overflow="fold")
    table.add_column("seed", justify="right", overflow="fold")
    table.add_column("world", no_wrap=True)
    for heading in ("slots", "UD, s/MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    if wide:
        table.add_column("folder", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row, wide=wide))
    return table


def _cells(row: ResultRow, *, wide: bool) -> list[Any]:
    from metrics.summary import digits

    when = row.started_utc[:16].replace("T", " ") if wide else row.started_utc[5:16]
    style = {"valid": "green", "invalid": "red"}.get(row.verdict or "", "")
    return [
        row.id[:8],
        when.replace("T", " ") or "–",
        row.scenario,
        row.policy,
        str(row.seed),
        row.world,
        str(row.slots or "–"),
        "–" if row.unit_delay is None else digits(row.unit_delay),
        styled(_verdict(row), style if row.status == "done" else "yellow"),
        *([one_line(row.folder)] if wide else []),
    ]


def _verdict(row: ResultRow) -> str:
    """Return the verdict in a few words; of a run that did not end well, how it ended."""
    words = row.verdict or ("–" if row.status == "done" else "")
    if row.failed_checks:
        words += f": {', '.join(row.failed_checks)}"
    return ", ".join(filter(None, [row.status if row.status != "done" else "", words]))

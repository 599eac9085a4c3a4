"""What one sees while a run goes: a live table on a terminal, else a line now and then."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress
from rich.table import Table

from emulation.orchestrator.task_table import Counts
from records.console import Screen, styled, words
from records.streams import say

_LINE_EVERY_S = 5.0
_TOP = 6


@dataclass(frozen=True, slots=True)
class Status:
    """A moment of a run; times in scenario seconds, ``left_real_s`` in real seconds."""

    slot: int
    slots: int
    left_real_s: float
    counts: Counts
    unit_delay_s_per_mb: float
    idle_cpu_share: float
    lateness_s: float
    link_load_s: dict[str, float] = field(default_factory=dict)
    unit_load_s: dict[str, float] = field(default_factory=dict)


class View(Protocol):
    """Shows the phases of bring-up and the moments of a run."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None: ...

    def phase(self, text: str) -> None:
        """A step outside the slots, e.g. bring-up."""

    def show(self, status: Status) -> None:
        """The moment at the end of a slot."""

    def note(self, text: str) -> None:
        """Something that a person should know at once."""


def _unit_delay(status: Status) -> str:
    """In words: before the first bytes there is none."""
    value = status.unit_delay_s_per_mb
    return "–" if math.isnan(value) else f"{value:.2f} s/MB"


def _top(loads: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(loads.items(), key=lambda item: -item[1])[:_TOP]


class LineView:
    """One line every few seconds, for logs and pipes."""

    def __init__(self, title: str):
        self._title = title
        self._last = -_LINE_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        return None

    def phase(self, text: str) -> None:
        """Print a step at once."""
        say(f"{self._title}: {text}")

    def show(self, status: Status) -> None:
        """Print a moment, unless the last line is younger than a few seconds."""
        if time.monotonic() - self._last < _LINE_EVERY_S and status.slot < status.slots:
            return
        self._last = time.monotonic()
        c = status.counts
        worst = "".join(f", {name} {load:.2f} s" for name, load in _top(status.link_load_s)[:1])
        say(
            f"slot {status.slot}/{status.slots} ({status.left_real_s:.0f} s left): "
            f"{c.born} tasks born, {c.done} done, {c.failed} failed, {c.in_flight} in flight; "
            f"unit delay {_unit_delay(status)}{worst}; "
            f"{status.idle_cpu_share:.0%} of the CPU idle"
        )

    def note(self, text: str) -> None:
        """Print it at once."""
        say(text, err=True)


class TerminalView:
    """A table that is redrawn once per slot, and a progress bar with the time left."""

    def __init__(self, title: str):
        self._title = title
        self._console = Screen()
        self._progress = Progress(
            words("{task.description}", "bold"),
            BarColumn(bar_width=40),
            words("slot {task.completed:.0f}/{task.total:.0f}, {task.fields[left]}"),
            console=self._console,
        )
        self._bar = self._progress.add_task(title, total=1, left="")
        # Redrawn when there is news only: a refreshing thread would take CPU from the network.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, value, tb)

    def phase(self, text: str) -> None:
        """Show a step in place of the table."""
        self._live.update(f"{self._title}: {text}", refresh=True)

    def show(self, status: Status) -> None:
        """Redraw."""
        left = f"{status.left_real_s:.0f} s left"
        self._progress.update(self._bar, completed=status.slot, total=status.slots, left=left)
        self._live.update(Group(self._progress, _counts(status), _loads(status)), refresh=True)

    def note(self, text: str) -> None:
        """Print it above the table, where it stays."""
        self._console.print(text, style="yellow")


def _counts(status: Status) -> Table:
    table = Table.grid(padding=(0, 3))
    c = status.counts
    table.add_row(
        f"born {c.born}",
        styled(f"done {c.done}", "green"),
        styled(f"failed {c.failed}", "red" if c.failed else ""),
        f"in flight {c.in_flight}",
        styled(f"unit delay {_unit_delay(status)}", "bold"),
        f"CPU idle {status.idle_cpu_share:.0%}",
        f"slot late by {status.lateness_s * 1e3:.0f} ms",
    )
    return table


def _loads(status: Status) -> Table:
    table = Table(box=None, padding=(0, 2))
    for heading in ("most loaded links", "V/c (s)", "most loaded units", "Q/F (s)"):
        table.add_column(heading, justify="right" if "(s)" in heading else "left")
    links, units = _top(status.link_load_s), _top(status.unit_load_s)
    for k in range(max(len(links), len(units))):
        left = (links[k][0], f"{links[k][1]:.2f}") if k < len(links) else ("", "")
        right = (units[k][0], f"{units[k][1]:.2f}") if k < len(units) else ("", "")
        table.add_row(*left, *right)
    return table


def choose_view(title: str) -> View:
    """The table on a terminal, lines elsewhere."""
    return TerminalView(title) if sys.stdout.isatty() else LineView(title)

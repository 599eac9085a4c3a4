"""What one sees while a run goes: a live picture on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from emulation.orchestrator.terminal_view import Status, TerminalView, fullest
from records.streams import say

_LINE_EVERY_S = 5.0


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
        worst = "".join(f", {name} {load:.2f} s" for name, load in fullest(status.link_load_s, 1))
        say(
            f"slot {status.slot}/{status.slots} ({status.left_real_s:.0f} s left): "
            f"{c.born} tasks born, {c.done} done, {c.failed} failed, {c.in_flight} in flight; "
            f"unit delay {status.unit_delay}{worst}; "
            f"{status.idle_cpu_share:.0%} of the CPU idle"
        )

    def note(self, text: str) -> None:
        """Print it at once."""
        say(text, err=True)


def choose_view(title: str) -> View:
    """The picture on a terminal, lines elsewhere."""
    return TerminalView(title) if sys.stdout.isatty() else LineView(title)

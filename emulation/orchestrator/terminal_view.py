"""The live view of a run on a terminal: drawn once a slot, into the room that there is.

At 80 columns and 24 lines it shows how far the run is, where its tasks are and the fullest links
and units. A larger terminal shows more of them, each with its recent past as a sparkline.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from types import TracebackType
from typing import Self

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from emulation.orchestrator.task_table import Counts
from records.console import Screen, styled
from records.streams import takes_unicode

_REMEMBERED = 200
"""Slots of a sparkline, at most."""
_WIDE, _LEAST_SPARK = 110, 10
"""Columns of a terminal from which rows have sparklines; and those of a sparkline."""
_EVENTS = (2, 8)
"""Events shown on a low and on a high terminal."""
_HIGH = 36
_LEAST_ROWS = 3
_LEAST_S = 0.4
"""Real time between two pictures."""
_FULL_S = 10.0
"""Load that fills a sparkline's cell, s; the scale is logarithmic down to a millisecond."""
_EMPTY_S = 1e-3
_LEVELS = "▁▂▃▄▅▆▇█"
_LEVELS_ASCII = "_.-:=+*#"


@dataclass(frozen=True, slots=True)
class Status:
    """A moment of a run; times in scenario seconds, ``left_real_s`` in real seconds.

    Attributes:
        sent: tasks decided so far by kind of target: self, device, edge, cloud.
        events: the latest changes of the network, a line each, the latest last.
    """

    slot: int
    slots: int
    left_real_s: float
    counts: Counts
    unit_delay_s_per_mb: float
    idle_cpu_share: float
    lateness_s: float
    link_load_s: dict[str, float] = field(default_factory=dict)
    unit_load_s: dict[str, float] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    @property
    def unit_delay(self) -> str:
        """The unit delay in words: before the first bytes there is none."""
        value = self.unit_delay_s_per_mb
        return "–" if math.isnan(value) else f"{value:.2f} s/MB"


def fullest(loads: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    """Return the names with the largest loads, the largest first."""
    return sorted(loads.items(), key=lambda item: -item[1])[:count]


class History:
    """Loads of the last slots by name; for sparklines."""

    def __init__(self) -> None:
        self._loads: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self._levels = _LEVELS if takes_unicode() else _LEVELS_ASCII

    def add(self, loads: Mapping[str, float]) -> None:
        """Add a slot's loads, s."""
        for name, load in loads.items():
            self._loads[name].append(load)

    def spark(self, name: str, columns: int) -> str:
        """Return the last loads as a line of so many characters, on a logarithmic scale."""
        return "".join(map(self._level, list(self._loads[name])[-columns:])).rjust(columns)

    def _level(self, load: float) -> str:
        if not load > _EMPTY_S:  # nothing waits, or it was not measured
            return self._levels[0]
        share = math.log(load / _EMPTY_S) / math.log(_FULL_S / _EMPTY_S)
        return self._levels[min(len(self._levels) - 1, int(min(1.0, share) * len(self._levels)))]


class TerminalView:
    """A picture of the run that is redrawn once per slot."""

    def __init__(self, title: str, console: Screen | None = None):
        self._title = title
        self._console = console or Screen()
        self._links, self._units = History(), History()
        self._drawn = -math.inf
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
        """Show a step in place of the picture."""
        self._live.update(f"{self._title}: {text}", refresh=True)

    def show(self, status: Status) -> None:
        """Redraw, unless the picture is but a moment old: slots may be short."""
        self._links.add(status.link_load_s)
        self._units.add(status.unit_load_s)
        now = time.monotonic()
        if now - self._drawn >= _LEAST_S or status.slot >= status.slots:
            self._drawn = now
            self._live.update(self.draw(status), refresh=True)

    def note(self, text: str) -> None:
        """Print it above the picture, where it stays."""
        self._console.print(text, style="yellow")

    def draw(self, status: Status) -> Group:
        """Return the picture of a moment, no higher and no wider than the terminal."""
        width, height = self._console.size
        head = [self._progress(status, width), _counts(status), _sent(status, width)]
        events = _events(status.events, _EVENTS[height >= _HIGH])
        used = sum(self._lines_of(part) for part in [*head, *events])
        # A line for the heading of the table, and one for the cursor.
        rows = max(_LEAST_ROWS, height - used - 2)
        return Group(*head, self._loads(status, rows, width), *events)

    def _lines_of(self, part: RenderableType) -> int:
        return len(self._console.render_lines(part, pad=False))

    def _progress(self, status: Status, width: int) -> RenderableType:
        """Return a line; its bar has what the words leave, or goes."""
        words = f"slot {status.slot}/{status.slots}, {status.left_real_s:.0f} s left"
        room = width - len(self._title) - len(words) - 3
        if room < _LEAST_SPARK:
            line = styled(f"{self._title}: {words}", "bold")
            line.overflow = "fold"
            return line
        bar = ProgressBar(total=status.slots, completed=status.slot, width=min(room, 60))
        grid = Table.grid(padding=(0, 1))
        grid.add_row(styled(self._title, "bold"), bar, words)
        return grid

    def _loads(self, status: Status, rows: int, width: int) -> Text:
        """Return the fullest links beside the fullest units; one below the other on a narrow one.

        Plain lines, which cost a tenth of the CPU time of a table of rich's.
        """
        spark = min(_REMEMBERED, (width - 60) // 2) if width >= _WIDE else 0
        given = (
            ("fullest links", "V/c (s)", status.link_load_s, self._links),
            ("fullest units", "Q/F (s)", status.unit_load_s, self._units),
        )
        columns = [_column(*one, rows, spark) for one in given]
        if sum(len(column[0]) for column in columns) + 3 > width:
            half = max(1, rows // 2)
            lines = [line for column in columns for line in column[: half + 1]]
        else:
            blank = " " * len(columns[0][0])
            pairs = zip_longest(*columns, fillvalue=blank)
            lines = [f"{left}   {right}".rstrip() for left, right in pairs]
        text = styled("\n".join(lines))
        text.no_wrap = True
        text.stylize("bold", 0, len(lines[0]))
        return text


def _column(
    heading: str, unit: str, loads: Mapping[str, float], history: History, rows: int, spark: int
) -> list[str]:
    """Return lines of equal length: a heading, then names, loads and their pasts."""
    found = [(name, f"{load:.2f}") for name, load in fullest(loads, rows)]
    wide = max([len(heading), *(len(name) for name, _ in found)])
    right = max([len(unit), *(len(load) for _, load in found)])
    past = f"  {f'last {spark} slots':<{spark}}" if spark else ""
    lines = [f"{heading:<{wide}}  {unit:>{right}}{past}"]
    for name, load in found:
        past = f"  {history.spark(name, spark)}" if spark else ""
        lines.append(f"{name:<{wide}}  {load:>{right}}{past}")
    return lines


def _counts(status: Status) -> Columns:
    """Return the counters; where a line is too short for all of them they take two."""
    c = status.counts
    parts = [
        styled(f"unit delay {status.unit_delay}", "bold"),
        styled(f"born {c.born}"),
        styled(f"done {c.done}", "green"),
        styled(f"failed {c.failed}", "red" if c.failed else ""),
        styled(f"in flight {c.in_flight}"),
        styled(f"CPU idle {status.idle_cpu_share:.0%}"),
        styled(f"slot late by {status.lateness_s * 1e3:.0f} ms"),
    ]
    for part in parts:
        part.no_wrap = True
    return Columns(parts, padding=(0, 3))


def _sent(status: Status, width: int) -> Text:
    """Return where the tasks went, in counts and shares; with bars where there is room."""
    total = sum(status.sent.values())
    if not total:
        return styled("tasks go to: none decided yet")
    parts = [f"{kind} {n} ({n / total:.0%})" for kind, n in status.sent.items() if n]
    text = styled(f"tasks go to: {', '.join(parts)}")
    if width < _WIDE:
        return text
    mark = "█" if takes_unicode() else "#"
    colours = {"self": "cyan", "device": "yellow", "edge": "blue", "cloud": "green"}
    room = min(60, width - text.cell_len - 4)
    text.append("   ")
    for kind, n in status.sent.items():
        text.append(mark * round(room * n / total), style=colours.get(kind, ""))
    return text


def _events(events: Sequence[str], most: int) -> list[Text]:
    if not events:
        return []
    shown = [styled("events", "bold"), *(styled(f"  {line}") for line in events[-most:])]
    for line in shown:
        line.no_wrap = True
    return shown

"""The report of results side by side: what differs, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from analysis.collection import Run
from analysis.compare import Column, Difference, difference_table, side_by_side
from analysis.frames import tasks_until
from analysis.report import figures
from analysis.report.document import Picture, Report, Section
from analysis.report.topology import draw_map
from analysis.style import WORLDS, Drawing, new_figure
from analysis.tables import digits

_POINTS = 400
_BINS = 15


def report_of(
    listed: Sequence[Column], found: Sequence[tuple[Column, Difference]], said: Sequence[str]
) -> Report:
    """Columns on one page, the first as the reference. Raises ``UserError`` for unreadable tables.

    Of a column with several runs, tables have means and pictures the first run. ``found`` and
    ``said`` are what ``analysis.compare.differences`` makes of the columns.
    """
    runs = [(column.label, column.group.runs[0]) for column in listed]
    sections = [
        Section(
            "What differs",
            (*(in_words(listed[0], column, d) for column, d in found), *said),
            (difference_table(listed[0], found),) if found else (),
            (
                Picture(
                    _delays(runs).figure,
                    "All tasks; unfinished ones, as most late ones are, with their time so far.",
                ),
            ),
        ),
        *(section for label, run in runs for section in _of_run(label, run)),
        Section("Every metric", tables=(side_by_side(listed),)),
    ]
    return Report(
        title=" and ".join(column.label for column in listed),
        subtitle=", ".join(str(run.result.folder) for _, run in runs),
        sections=tuple(sections),
        notes=tuple(f"{label}: {run.result.verdict} †" for label, run in runs if not run.valid),
        made="Intervals are bootstrap 95 %.",
    )


def in_words(reference: Column, column: Column, found: Difference) -> str:
    """Return what a paired difference of two columns is, in two sentences."""
    first, other = (_unit_delay(c) for c in (reference, column))
    delay = found.delay.value
    return (
        f"A MB of task data took {digits(first)} s under {reference.label} and {digits(other)} s "
        f"under {column.label}, for the very same tasks. Under {column.label}, "
        f"{100 * found.faster:.0f} % of the tasks were faster and {100 * found.slower:.0f} % "
        f"slower; the mean task was {digits(abs(delay))} s {'slower' if delay > 0 else 'faster'}."
    )


def _unit_delay(column: Column) -> float:
    return float(np.mean([run.summary.unit_delay for run in column.group.runs]))


def _delays(runs: Sequence[tuple[str, Run]]) -> Drawing:
    """Mean delay by time of birth, and the distribution of delays, a line a column."""
    figure, (left, right) = new_figure(2, 4.6, 3.1)
    rows = []
    for label, run in runs:
        tasks = tasks_until(run.result, run.duration_s)
        if not len(tasks):
            continue
        delay, born = tasks["delay_s"].to_numpy(), tasks["born_s"].to_numpy()
        edges = np.linspace(0.0, run.duration_s, _BINS + 1)
        sums, counts = np.histogram(born, edges, weights=delay)[0], np.histogram(born, edges)[0]
        mean = np.divide(sums, counts, out=np.full(_BINS, np.nan), where=counts > 0)
        # Two variants of one policy have one look; the default cycle always tells lines apart.
        left.plot((edges[1:] + edges[:-1]) / 2, mean, marker=".", lw=1.4, label=label)
        shares = np.linspace(0.0, 1.0, _POINTS)
        right.plot(np.quantile(delay, shares), shares, lw=1.4, label=label)
        rows += [{"column": label, "delay_s": float(d)} for d in np.quantile(delay, shares)]
    left.set(xlabel="time of birth (s)", ylabel="mean delay E (s)", ylim=(0, None))
    right.set(xlabel="delay E (s)", ylabel="share of tasks", xlim=(0, None), ylim=(0, 1.01))
    left.legend()
    return Drawing(figure, pl.DataFrame(rows))


def _of_run(label: str, run: Run) -> list[Section]:
    result, end_s = run.result, run.duration_s
    tasks = tasks_until(result, end_s)
    links, units = (figures.read_loads(result, name) for name in ("links", "units"))
    if not (len(links) and len(units) and len(tasks)):
        return []
    slot_s = result.scenario.slot_s
    pictures = (
        Picture(draw_map(result, links, units).figure, "Mean loads of links and units."),
        Picture(figures.over_time(tasks, links, units, end_s, slot_s).figure, "Over time."),
    )
    return [Section(f"{label} ({WORLDS[run.world]}, seed {run.seed})", pictures=pictures)]

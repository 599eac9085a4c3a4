"""Writes what captures tell: tables as Parquet, a picture as PNG and SVG."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.pcap.summary import KEY, Summary
from model.errors import as_user_error
from records.ownership import give_to_user, make_folder

_LINKS_DRAWN = 8
_POINTS_DRAWN = 2000
"""Of a curve: more make the SVG large and look the same."""


def write(summary: Summary, folder: Path) -> list[Path]:
    """Write every table and the picture into a folder; returns the files.

    Raises ``UserError`` if the folder cannot be written.
    """
    written = []
    with as_user_error(f"{folder}: cannot be written"):
        make_folder(folder)
        for name, table in summary.tables().items():
            written.append(folder / f"{name}.parquet")
            table.write_parquet(written[-1])
        figure = picture(summary)
        for suffix in ("png", "svg"):
            written.append(folder / f"pcap.{suffix}")
            figure.savefig(written[-1], dpi=120, metadata={"Date": None} if suffix == "svg" else {})
        for path in written:
            give_to_user(path)
    return written


def picture(summary: Summary) -> Figure:
    """Rate and time in queue over time, and the distribution of round trips, by link."""
    keys = summary.links.select(KEY).head(_LINKS_DRAWN).rows()
    names = summary.link_names()
    figure = Figure(figsize=(9, 9), layout="constrained")
    FigureCanvasAgg(figure)
    over_time, queue, trips = figure.subplots(3, 1)
    queue.sharex(over_time)
    for number, key in enumerate(keys):
        colour = f"C{number}"
        mine = pl.all_horizontal(pl.col(c) == v for c, v in zip(KEY, key, strict=True))
        label = _plain(names[key])
        _draw_rate(over_time, summary, summary.rates.filter(mine), key[0], colour, label)
        waited = _thinned(summary.waits.filter(mine).sort("time_s"))
        queue.plot(waited["time_s"], waited["wait_s"] * 1e3, ".", ms=2, color=colour)
        _draw_distribution(trips, summary.rtts.filter(mine)["rtt_s"], colour)
    time = "time, s" if len(summary.runs) == 1 else "time since the first packet of each run, s"
    over_time.set(ylabel="on the wire, Mbps", xlabel=time, title=_title(summary, len(keys)))
    queue.set(ylabel="time in queue, ms", xlabel=time)
    trips.set(xlabel="round trip from the link on and back, ms", ylabel="share", ylim=(0, 1))
    if len(summary.rtts):
        trips.set_xscale("log")
    figure.legend(*over_time.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _plain(text: str) -> str:
    """Text of others as matplotlib prints it: no formula, and no hidden label."""
    text = textwrap.shorten(text, 60) if " " in text else text[-60:]
    return text.replace("$", r"\$").removeprefix("_")


def _title(summary: Summary, drawn: int) -> str:
    parts = [f"the {drawn} busiest of {len(summary.links)} links"] * (len(summary.links) > drawn)
    for run in summary.runs:
        if run.verdict:
            whose = f" of {run.name}" if len(summary.runs) > 1 else ""
            parts.append(f"fidelity{whose}: {textwrap.shorten(run.verdict, 80)}")
    return _plain_lines(parts)


def _plain_lines(parts: list[str]) -> str:
    return "\n".join(part.replace("$", r"\$") for part in parts[:4])


def _draw_rate(
    axes: Axes, summary: Summary, table: pl.DataFrame, run: int, colour: str, label: str
) -> None:
    """A curve that is 0 in the intervals without a packet; none where no time passed."""
    times = summary.runs[run]
    if times.duration_s is None:
        axes.plot([], [], lw=1, color=colour, label=label)
        return
    count = round(times.duration_s / times.interval_s) + 2
    mbps = np.zeros(count)
    mbps[np.rint(table["time_s"].to_numpy() / times.interval_s).astype(int)] = table["mbps"]
    axes.plot(np.arange(count) * times.interval_s, mbps, lw=1, color=colour, label=label)


def _draw_distribution(axes: Axes, seconds: pl.Series, colour: str) -> None:
    if len(seconds):
        shares = np.linspace(0, 1, min(len(seconds), _POINTS_DRAWN))
        axes.plot(np.quantile(seconds.to_numpy(), shares) * 1e3, shares, lw=1, color=colour)


def _thinned(table: pl.DataFrame) -> pl.DataFrame:
    return table.gather_every(-(-len(table) // _POINTS_DRAWN) or 1)

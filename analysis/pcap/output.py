"""Writes what captures tell: tables as Parquet, a picture as PNG and SVG."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.pcap.summary import Summary
from model.errors import UserError
from records.ownership import give_to_user, make_folder

_LINKS_DRAWN = 8
_POINTS_DRAWN = 2000
"""Of a curve: more make the SVG large and look the same."""


def write(summary: Summary, folder: Path) -> list[Path]:
    """Write every table and the picture into a folder; returns the files.

    Raises ``UserError`` if the folder cannot be written.
    """
    written = []
    try:
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
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return written


def picture(summary: Summary) -> Figure:
    """Rate and time in queue over time, and the distribution of round trips, by link."""
    links = summary.links["link"].head(_LINKS_DRAWN).to_list()
    figure = Figure(figsize=(9, 9), layout="constrained")
    FigureCanvasAgg(figure)
    over_time, queue, trips = figure.subplots(3, 1)
    queue.sharex(over_time)
    for number, link in enumerate(links):
        colour = f"C{number}"
        mine = pl.col("link") == link
        _draw_rate(over_time, summary, link, colour)
        waited = _thinned(summary.waits.filter(mine).sort("time_s"))
        queue.plot(waited["time_s"], waited["wait_s"] * 1e3, ".", ms=2, color=colour)
        _draw_distribution(trips, summary.rtts.filter(mine)["rtt_s"], colour)
    more = len(summary.links) - len(links)
    title = f"the {len(links)} busiest of {more + len(links)} links" if more else ""
    if summary.verdict:
        title += f"{', ' if title else ''}fidelity: {textwrap.shorten(summary.verdict, 80)}"
    over_time.set(ylabel="on the wire, Mbps", xlabel="time, s", title=title)
    queue.set(ylabel="time in queue, ms", xlabel="time, s")
    trips.set(xlabel="round trip from the link on and back, ms", ylabel="share", ylim=(0, 1))
    if len(summary.rtts):
        trips.set_xscale("log")
    figure.legend(*over_time.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _draw_rate(axes: Axes, summary: Summary, link: str, colour: str) -> None:
    """A curve that is 0 in the intervals without a packet."""
    table = summary.rates.filter(pl.col("link") == link)
    last = summary.rates["time_s"].max()
    count = round((float(last) if isinstance(last, float) else 0.0) / summary.interval_s) + 1
    mbps = np.zeros(count)
    mbps[np.rint(table["time_s"].to_numpy() / summary.interval_s).astype(int)] = table["mbps"]
    axes.plot(np.arange(count) * summary.interval_s, mbps, lw=1, color=colour, label=link)


def _draw_distribution(axes: Axes, seconds: pl.Series, colour: str) -> None:
    if len(seconds):
        shares = np.linspace(0, 1, min(len(seconds), _POINTS_DRAWN))
        axes.plot(np.quantile(seconds.to_numpy(), shares) * 1e3, shares, lw=1, color=colour)


def _thinned(table: pl.DataFrame) -> pl.DataFrame:
    return table.gather_every(-(-len(table) // _POINTS_DRAWN) or 1)

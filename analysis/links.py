"""Loads of links: E2E against E2D and ACCESS, over time and as distributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from analysis.collection import Group, Run
from analysis.figures.panels import titled
from analysis.frames import frame
from analysis.style import LINK_LOOKS, Drawing, legend_below, new_figure
from analysis.tables import Table, digits
from metrics.statistics import band
from model.aliases import FloatArray
from model.scenario import LINK_CLASSES, LinkSpec

_TIMES = 50
"""Points of a curve over time at most."""
_LEVELS = np.concatenate([np.linspace(0.0, 0.99, 100), 1.0 - np.logspace(-2, -4, 41)[1:], [1.0]])
_WAITING_S = 1e-6
"""A load above this counts as a queue: a thousandth of a full frame at 10 Mbps."""
_FULL = 0.98
"""Of a buffer: a packet that does not fit any more leaves a little room."""


@dataclass(frozen=True)
class ClassLoads:
    """Loads V/c of the links of a class in the runs of a group, s.

    Attributes:
        time_s: ends of the bins that ``over_time`` is a mean over, (bins,).
        over_time: mean over links, (runs, bins).
        quantiles: of all links, slots and runs, at ``_LEVELS``.
        mean, waiting, utilisation: mean load; share of links and slots with a queue; mean use.
        heaviest: link with the largest mean load, and that load.
        full: share of links and slots at the limit of the link's buffer, where V/c stops growing.
    """

    time_s: FloatArray
    over_time: FloatArray
    quantiles: FloatArray
    mean: float
    waiting: float
    utilisation: float
    heaviest: tuple[str, float]
    full: float

    def quantile(self, level: float) -> float:
        """Interpolated between ``_LEVELS``."""
        return float(np.interp(level, _LEVELS, self.quantiles))


def class_loads(group: Group) -> dict[str, ClassLoads]:
    """The loads by class of link. Raises ``UserError`` if a table cannot be read."""
    tables = [_read(run) for run in group.runs]
    classes = {name for table in tables for name in table["link_class"].unique()}
    spec = group.runs[0].result.scenario.network
    return {
        c: _of_class(tables, c, group.duration_s, _limit_s(spec.link(c)))
        for c in LINK_CLASSES
        if c in classes
    }


def _limit_s(spec: LinkSpec) -> float:
    """V/c of a full buffer, s."""
    return 8.0 * spec.buffer_mb / spec.rate_mbps


def _read(run: Run) -> pl.DataFrame:
    columns = ("time_s", "link", "link_class", "load_s", "utilisation")
    # Slots in which nobody looked at the links have rows, too, but no loads.
    return frame(run.result, "links", columns).drop_nulls("load_s")


def _of_class(
    tables: Sequence[pl.DataFrame], name: str, duration_s: float, limit_s: float
) -> ClassLoads:
    mine = [t.filter(pl.col("link_class") == name) for t in tables]
    together = pl.concat(mine)
    slots = together["time_s"].n_unique()
    edges = np.linspace(0.0, duration_s, min(_TIMES, slots) + 1)
    over_time = np.array([_binned(t, edges) for t in mine])
    by_link = together.group_by("link").agg(pl.col("load_s").mean()).sort("load_s")
    load = together["load_s"].to_numpy()
    return ClassLoads(
        time_s=edges[1:],
        over_time=over_time,
        quantiles=np.quantile(load, _LEVELS),
        mean=float(load.mean()),
        waiting=float((load > _WAITING_S).mean()),
        utilisation=float(together["utilisation"].to_numpy().mean()),
        full=float((load > _FULL * limit_s).mean()),
        heaviest=(str(by_link["link"][-1]), float(by_link["load_s"][-1])),
    )


def _binned(table: pl.DataFrame, edges: FloatArray) -> FloatArray:
    """Mean load in every bin; NaN where a run has no sample."""
    at = np.clip(np.searchsorted(edges, table["time_s"].to_numpy() - 1e-9) - 1, 0, len(edges) - 2)
    sums = np.bincount(at, table["load_s"].to_numpy(), minlength=len(edges) - 1)
    counts = np.bincount(at, minlength=len(edges) - 1)
    found: FloatArray = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return found


def draw(panel: Sequence[Group], loads: Sequence[dict[str, ClassLoads]]) -> Drawing:
    """One scenario: above the mean load of each class over time, below its distribution."""
    classes = [c for c in LINK_CLASSES if any(c in one for one in loads)]
    figure, axes = new_figure(len(classes), 3.6, 2.7, rows=2, squeeze=False, sharey="row")
    for column, name in enumerate(classes):
        over_time, tail = axes[0][column], axes[1][column]
        for group, found in zip(panel, loads, strict=True):
            if name in found:
                _draw_class(over_time, tail, group, found[name])
        over_time.set(title=f"{LINK_LOOKS[name].label}: mean over its links", xlabel="time (s)")
        tail.set(xlabel="load V/c (s)", title=f"{LINK_LOOKS[name].label}: all links and slots")
        _scale_tail(tail)
    _scale_time(axes[0][0], loads)
    axes[0][0].set_ylabel("load V/c (s)")
    axes[1][0].set_ylabel("share above")
    figure.suptitle(titled(panel), fontsize=10)
    legend_below(figure, list(axes.flat))
    return Drawing(figure, _data(panel, loads))


def _draw_class(over_time: Any, tail: Any, group: Group, found: ClassLoads) -> None:
    style = group.look
    mean = found.over_time.mean(axis=0)
    label = style.label + group.mark
    over_time.plot(found.time_s, mean, color=style.colour, ls=style.dashes, lw=1.2, label=label)
    over_time.fill_between(
        found.time_s, *band(found.over_time), color=style.colour, alpha=0.12, lw=0
    )
    above = found.quantiles > _WAITING_S
    tail.plot(found.quantiles[above], (1.0 - _LEVELS)[above], color=style.colour, ls=style.dashes,
              lw=1.4, label=label)  # fmt: skip


def _scale_time(axes: Any, loads: Sequence[dict[str, ClassLoads]]) -> None:
    """Of the upper row, which shares its axis."""
    highest = max(
        float(one.over_time.mean(axis=0).max()) for found in loads for one in found.values()
    )
    axes.set_yscale("symlog", linthresh=0.01)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, max(0.01, 1.4 * highest))


def _scale_tail(axes: Any) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlim=(1e-3, None), ylim=(1e-4, 1.0))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")


def _data(panel: Sequence[Group], loads: Sequence[dict[str, ClassLoads]]) -> pl.DataFrame:
    parts = []
    for group, found in zip(panel, loads, strict=True):
        for name, one in found.items():
            mean = one.over_time.mean(axis=0)
            for what, x, y in (
                ("mean load over time: x s, y s", one.time_s, mean),
                ("share of links and slots above: x s, y share", one.quantiles, 1.0 - _LEVELS),
            ):
                frame = pl.DataFrame({"x": x, "y": y})
                constants = {"policy": group.policy, "link_class": name, "curve": what}
                parts.append(
                    frame.select(*(pl.lit(v).alias(k) for k, v in constants.items()), pl.all())
                )
    return pl.concat(parts)


def table(panel: Sequence[Group], loads: Sequence[dict[str, ClassLoads]]) -> Table:
    """A row a policy and class of links."""
    rows = []
    for group, found in zip(panel, loads, strict=True):
        for k, (name, one) in enumerate(found.items()):
            link, load = one.heaviest
            rows.append(
                (
                    "" if k else group.look.label + group.mark,
                    LINK_LOOKS[name].label,
                    digits(one.mean),
                    digits(one.quantile(0.95)),
                    digits(one.quantile(0.99)),
                    digits(float(one.quantiles[-1])),
                    f"{100 * one.waiting:.1f}",
                    f"{100 * one.full:.1f}",
                    f"{100 * one.utilisation:.1f}",
                    f"{link} {digits(load)}",
                )
            )
    heading = ("policy", "links", "V/c mean, s", "95 %", "99 %", "max", "with a queue, %",
               "full, %", "used, %", "heaviest link, mean s")  # fmt: skip
    return Table(titled(panel), heading, tuple(rows), left=2)


def sentences(panel: Sequence[Group], loads: Sequence[dict[str, ClassLoads]]) -> Iterator[str]:
    """Which class carries the waiting, for every policy."""
    for group, found in zip(panel, loads, strict=True):
        means = {name: one.mean for name, one in found.items()}
        if len(means) > 1:
            order = " < ".join(
                f"{LINK_LOOKS[c].label} {digits(means[c])} s"
                for c in sorted(means, key=means.get)  # type: ignore[arg-type]
            )
            full = [LINK_LOOKS[c].label for c, one in found.items() if one.full > 0.01]
            beside = f"; full more than 1 % of the time: {', '.join(full)}" if full else ""
            yield f"{titled(panel)}: {group.look.label}: {order}{beside}."

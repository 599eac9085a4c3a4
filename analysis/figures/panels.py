"""Axes for several scenarios, and values with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from analysis.collection import Group
from analysis.paper import CASES
from analysis.style import WORLDS, new_figure
from metrics.statistics import Estimate

_ACROSS = 3


def grid(count: int, width_in: float = 3.6, height_in: float = 3.2) -> tuple[Figure, list[Any]]:
    """A figure with so many axes, up to three in a row."""
    columns = min(count, _ACROSS)
    rows = -(-count // columns)
    figure, axes = new_figure(columns, width_in, height_in, rows=rows, squeeze=False)
    flat = list(axes.flat)
    for spare in flat[count:]:
        spare.set_axis_off()
    return figure, flat[:count]


def titled(panel: Sequence[Group]) -> str:
    """Title of a panel of results."""
    first = panel[0]
    name = first.scenario if len(first.scenario) < 40 else first.scenario[:38] + "…"
    return f"{name}, {WORLDS[first.world]}, T = {first.duration_s:g} s"


def case_title(case: str) -> str:
    """``case1 (case I)``."""
    return f"{case} ({CASES[case]})" if case in CASES else case


def reach(figure: Estimate) -> tuple[float, float]:
    """Lengths of an error bar below and above a value; 0 where there is no interval."""
    if np.isnan(figure.low):
        return 0.0, 0.0
    return max(0.0, figure.value - figure.low), max(0.0, figure.high - figure.value)


def log_if_wide(axes: Any, values: Sequence[float], ratio: float = 20.0) -> None:
    """A logarithmic axis where the values are of different orders."""
    positive = [v for v in values if np.isfinite(v) and v > 0]
    if positive and max(positive) > ratio * min(positive):
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    else:
        axes.set_ylim(0, 1.08 * max(positive) if positive else None)


def symlog_if_wide(axes: Any, values: Sequence[float], ratio: float = 20.0) -> None:
    """The same for values of which some are 0: logarithmic above a hundredth of the largest."""
    positive = [v for v in values if np.isfinite(v) and v > 0]
    if positive and max(positive) > ratio * float(np.median(positive)):
        axes.set_yscale("symlog", linthresh=10 ** np.floor(np.log10(max(positive) / 100)))
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)


def plain_numbers(axis: Any) -> None:
    """1, 2, 5, 10 … on a logarithmic axis instead of powers of ten."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())

"""Fig. 3: unit delay during training."""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.figures import Source
from analysis.figures.panels import case_title, grid, log_if_wide
from analysis.paper import printed
from analysis.style import Drawing, legend_below, look, rank
from analysis.training import Curve, Training, curve, labels

SETTLED = 0.05
"""A curve has converged when it stays within so much of the mean of its last tenth."""


def draw(source: Source) -> Drawing:
    """Means over training seeds with 95 % intervals; markers: held-out episodes."""
    found = source.trainings
    cases = found.cases()
    figure, axes = grid(len(cases))
    rows: list[pl.DataFrame] = []
    said: list[str] = []
    for axis, case in zip(axes, cases, strict=True):
        values: list[float] = []
        for algorithm, runs in _by_algorithm(found.runs, case).items():
            line = curve(runs, "unit_delay")
            style = look(algorithm)
            axis.plot(line.slots, line.value, color=style.colour, ls=style.dashes, lw=1.4,
                      label=style.label)  # fmt: skip
            axis.fill_between(line.slots, line.low, line.high, color=style.colour, alpha=0.2, lw=0)
            for run in runs:
                axis.plot(*run.held_out, style.marker, color=style.colour, ms=3.5, alpha=0.6)
            values += line.value.tolist()
            rows.append(_data(case, algorithm, len(runs), line))
            said += _converged(case, algorithm, line)
        log_if_wide(axis, values)
        axis.set(xlabel="environment time (slots of 1 s)", title=case_title(case))
    axes[0].set_ylabel("unit delay UD (s/MB)")
    axes[0].plot([], [], "o", color="grey", ms=3.5, label="held-out episodes")
    legend_below(figure, axes)
    return Drawing(figure, pl.concat(rows), (*said, *found.left_out))


def _by_algorithm(runs: tuple[Training, ...], case: str) -> dict[str, list[Training]]:
    named = labels(runs)
    names = sorted({named[r.folder] for r in runs if r.case == case}, key=rank)
    return {n: [r for r in runs if r.case == case and named[r.folder] == n] for n in names}


def _data(case: str, algorithm: str, seeds: int, line: Curve) -> pl.DataFrame:
    constants = {"case": case, "algorithm": algorithm, "seeds": seeds}
    return pl.DataFrame(
        {"slots": line.slots, "unit_delay_s_per_mb": line.value, "low": line.low, "high": line.high}
    ).select(*(pl.lit(v).alias(k) for k, v in constants.items()), pl.all())


def _converged(case: str, algorithm: str, line: Curve) -> list[str]:
    if len(line.slots) < 10:
        return []
    away = np.flatnonzero(np.abs(line.value / line.last - 1.0) > SETTLED)
    at = line.slots[min(len(line.slots) - 1, away[-1] + 1 if len(away) else 0)]
    theirs = printed()["fig3_converged_s"].get(case, {}).get(algorithm)
    beside = f"; the paper: after {theirs} s" if theirs else ""
    return [
        f"{case}: {look(algorithm).label} stays within {SETTLED:.0%} of its last level, "
        f"{line.last:.3f} s/MB, from slot {at:.0f} of {line.slots[-1]:.0f} on{beside}."
    ]

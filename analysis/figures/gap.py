"""The two worlds side by side: distributions of delays, and loads of the classes of links."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from analysis.collection import Run
from analysis.figures import Source
from analysis.style import GREY, Drawing, Look, look, new_figure
from metrics.summary import delays_s, summarise
from model.aliases import FloatArray
from model.errors import UserError
from records.reader import Result

_LEVELS = np.concatenate([np.arange(0.02, 0.99, 0.02), [0.99]])
_MARKED = 0.95


def draw(source: Source) -> Drawing:
    """Of all runs below the folders that are there in both worlds; of one scenario and length."""
    found = source.results
    together: dict[tuple[str, ...], dict[str, Run]] = {}
    for run in found.runs:
        key = run.scenario_text, f"{run.duration_s:g}", run.policy, run.checkpoint, str(run.seed)
        together.setdefault(key, {})[run.world] = run
    both = {key: worlds for key, worlds in together.items() if len(worlds) == 2}
    if not both:
        raise UserError(
            "no run lies below in both worlds (same scenario, length, policy and seed): "
            "'./lab gap' makes them"
        )
    if len({key[:2] for key in both}) > 1:
        raise UserError("runs of several scenarios or lengths lie below: name the folder of one")
    pairs = [(w["emulation"].result, w["simulation"].result) for w in both.values()]
    alone = len(together) - len(both)
    said = (f"{alone} runs have no counterpart in the other world.",) if alone else ()
    drawing = draw_gap(pairs)
    return Drawing(drawing.figure, drawing.data, (*said, *found.said))


def draw_gap(pairs: Sequence[tuple[Result, Result]]) -> Drawing:
    """Q–Q of E and mean loads V/c per class of links, of (emulation, simulation) pairs.

    A colour is a policy; its seeds are pooled. The data are the quantiles.
    """
    by_policy: dict[str, list[tuple[Result, Result]]] = {}
    for pair in pairs:
        by_policy.setdefault(str(pair[0].manifest["policy"]), []).append(pair)
    figure, (left, right) = new_figure(2, height_in=3.8)
    data: dict[str, list[Any]] = {"policy": [], "level": [], "emulation_s": [], "simulation_s": []}
    for policy, runs in by_policy.items():
        emulated, simulated = (_quantiles([run[w] for run in runs]) for w in (0, 1))
        _draw_quantiles(left, look(policy), emulated, simulated)
        data["policy"] += [policy] * len(_LEVELS)
        data["level"] += [round(float(v), 4) for v in _LEVELS]
        data["emulation_s"] += emulated.tolist()
        data["simulation_s"] += simulated.tolist()
    _finish_quantiles(left, [*data["emulation_s"], *data["simulation_s"]])
    _draw_loads(right, by_policy)
    first = pairs[0][0]
    figure.suptitle(
        f"The same runs in both worlds: {first.scenario.name}, T = {first.scenario.duration_s:g} s"
        f" ({_verdicts(pairs)})",
        fontsize=10,
    )
    return Drawing(figure, pl.DataFrame(data))


def _verdicts(pairs: Sequence[tuple[Result, Result]]) -> str:
    """What the emulations say of themselves."""
    wrong = [e.verdict for e, _ in pairs if e.verdict != "valid"]
    if not wrong:
        return f"{len(pairs)} emulations, all valid"
    return f"{len(wrong)} of {len(pairs)} emulations not valid: {textwrap.shorten(wrong[0], 60)}"


def _quantiles(results: Sequence[Result]) -> FloatArray:
    delays = [delays_s(r.table("tasks"), r.scenario.duration_s) for r in results]
    found: FloatArray = np.quantile(np.concatenate(delays), _LEVELS)
    return found


def _draw_quantiles(axes: Any, style: Look, emulated: FloatArray, simulated: FloatArray) -> None:
    colour = style.colour
    axes.plot(
        simulated, emulated, style.dashes, marker=".", markersize=4, linewidth=0.8, color=colour,
        label=style.label,
    )  # fmt: skip
    mark = int(np.argmin(np.abs(_LEVELS - _MARKED)))
    axes.plot(simulated[mark], emulated[mark], marker="D", markersize=6, color=colour, zorder=4)


def _finish_quantiles(axes: Any, values: Sequence[float]) -> None:
    positive = [v for v in values if v > 0.0]
    low, high = max(0.01, min(positive, default=0.01)), max(positive, default=1.0)
    axes.plot([low, 1.2 * high], [low, 1.2 * high], color=GREY, linewidth=1, zorder=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(
        xlim=(low, 1.2 * high),
        ylim=(low, 1.2 * high),
        xlabel="quantile of E in the simulation (s)",
        ylabel="the same in the emulation (s)",
        title="delay of tasks, quantile against quantile",
    )
    axes.set_aspect("equal")
    axes.plot([], [], marker="D", linestyle="none", color=GREY, label="95 %")
    axes.legend(fontsize=7, frameon=False)


def _draw_loads(axes: Any, by_policy: dict[str, list[tuple[Result, Result]]]) -> None:
    loads = {
        policy: [_mean_loads([run[w] for run in runs]) for w in (0, 1)]
        for policy, runs in by_policy.items()
    }
    classes = sorted({name for both in loads.values() for one in both for name in one})
    width = 0.8 / (2 * len(loads))
    places = np.arange(len(classes))
    for k, (policy, both) in enumerate(loads.items()):
        for world, load in enumerate(both):
            axes.bar(
                places - 0.4 + (2 * k + world + 0.5) * width,
                [load.get(name, 0.0) for name in classes],
                0.92 * width,
                color=look(policy).colour,
                alpha=0.45 if world else 1.0,
                hatch="///" if world else None,
                edgecolor="white",
                linewidth=0.3,
            )
    axes.bar([0], [0], color=GREY, label="emulation")
    axes.bar([0], [0], color=GREY, alpha=0.45, hatch="///", edgecolor="white", label="simulation")
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_xticks(places, [name.upper() for name in classes])
    axes.set(ylabel="mean load V/c (s)", title="waiting on links, by class", ylim=(0, None))
    axes.legend(fontsize=7, frameon=False)


def _mean_loads(results: Sequence[Result]) -> dict[str, float]:
    found = [summarise(r).link_load for r in results]
    return {name: float(np.mean([f[name] for f in found])) for name in found[0]}

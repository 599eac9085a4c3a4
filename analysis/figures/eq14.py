"""Equation (14) from a real run: what pings measure against what the queues held."""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.figures import Source
from analysis.style import COLOURS, GREY, Drawing, new_figure
from metrics.queues import ping_comparison, queues_of
from model.errors import UserError
from model.network import build_network
from records.reader import Result, find_results, open_result


def draw(source: Source) -> Drawing:
    """Of the only result below the folders, whatever its verdict, which the title says."""
    paths = [p for folder in source.folders for p in find_results(folder)]
    if len(paths) != 1:
        raise UserError(f"eq14 shows one run; {len(paths)} results lie below: name one of them")
    result = open_result(paths[0])
    drawing = draw_eq14(result)
    return Drawing(drawing.figure, drawing.data, tuple(result.notes))


def draw_eq14(result: Result) -> Drawing:
    """Ping round trip minus the idle one against ΣV_l/c_l, and their difference's distribution.

    Times are scenario ms. Raises ``UserError`` for a result without pings or looks at the queues,
    as a simulation's is.
    """
    if result.manifest["world"] != "emulation" or not result.table("queues").num_rows:
        raise UserError(f"{result.folder}: no pings over real queues in it; eq. (14) needs a run")
    network = build_network(result.scenario)
    measured, expected = ping_comparison(
        result.table("probes"), queues_of(result, network), network
    )
    if not measured.size:
        raise UserError(f"{result.folder}: no ping in it met a look at the queues")
    measured_ms, expected_ms = measured * 1e3, expected * 1e3
    error_ms = measured_ms - expected_ms
    figure, (left, right) = new_figure(2)
    limit = max(1.0, float(expected_ms.max()), float(measured_ms.max()))
    left.plot([0, limit], [0, limit], color=GREY, linewidth=1, zorder=1)
    left.scatter(
        expected_ms, measured_ms, s=6, alpha=0.35, color=COLOURS[0], linewidths=0, zorder=2
    )
    correlation = np.corrcoef(measured, expected)[0, 1] if expected.std() > 0 else float("nan")
    left.set(
        xlabel="ΣV/c on the way there and back (ms)",
        ylabel="ping − idle round trip (ms)",
        title=f"r = {correlation:.3f}, {measured.size} pings",
    )
    ordered = np.sort(np.abs(error_ms))
    right.plot(ordered, np.arange(1, ordered.size + 1) / ordered.size, color=COLOURS[1])
    right.set_xscale("symlog", linthresh=1)
    right.set(
        xlabel="|difference| (ms)",
        ylabel="share of pings",
        ylim=(0, 1.02),
        title=f"mean {ordered.mean():.2f} ms, 95 % within {np.quantile(ordered, 0.95):.2f} ms",
    )
    scenario = result.manifest["scenario"]["name"]
    figure.suptitle(
        f"Eq. (14) on the real network: {scenario}, {result.manifest['policy']} ({result.verdict})",
        fontsize=9,
    )
    data = pl.DataFrame({"expected_ms": expected_ms, "measured_ms": measured_ms})
    return Drawing(figure, data)

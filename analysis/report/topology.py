"""The network on its ground, with what waited on links and at units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm

from analysis.style import Drawing, legend_below, new_figure
from model.network import Network, build_network
from records.reader import Result

_MARKERS = {"device": "o", "edge": "s", "cloud": "h", "bs": "^", "ap": ".", "core": "."}
_LEAST_S, _MOST_S = 1e-3, 10.0
"""Ends of the colour scale; what lies outside has the colour of the end."""


def draw_map(result: Result, links: pl.DataFrame, units: pl.DataFrame) -> Drawing:
    """Mean loads: V/c of both directions of a cable together, Q/F of a unit, in s."""
    network = build_network(result.scenario)
    of_link = _means(links, "link")
    of_unit = _means(units, "unit")
    figure, axes = new_figure(1, 9.0, 3.6)
    norm, colours = LogNorm(_LEAST_S, _MOST_S, clip=True), "cividis_r"
    cables = _cables(network, of_link)
    lines = LineCollection(
        [_ends(network, cable) for cable in cables],
        array=np.maximum(list(cables.values()), _LEAST_S), norm=norm, cmap=colours,
        linewidths=1.0 + 0.8 * np.log10(np.maximum(list(cables.values()), _LEAST_S) / _LEAST_S),
        zorder=1,
    )  # fmt: skip
    axes.add_collection(lines)
    for kind, marker in _MARKERS.items():
        nodes = network.of_kind(kind)  # type: ignore[arg-type]
        if not nodes:
            continue
        x, y = _place(network, [n.name for n in nodes])
        loads = [of_unit.get(n.name, 0.0) for n in nodes]
        paint = {"c": np.maximum(loads, _LEAST_S), "norm": norm, "cmap": colours}
        if not nodes[0].is_unit:
            paint = {"c": "white"}
        size = {"device": 36, "edge": 90, "cloud": 120, "bs": 90}.get(kind, 12)
        label = {"bs": "base station"}.get(kind, kind)
        axes.scatter(x, y, size, marker=marker, edgecolors="black", linewidths=0.6, zorder=2,
                     label=label, **paint)  # fmt: skip
        if kind in ("edge", "bs", "cloud"):
            for name, at_x, at_y in zip([n.name for n in nodes], x, y, strict=True):
                axes.annotate(name, (at_x, at_y), (5, 5), textcoords="offset points", fontsize=7)
    figure.colorbar(lines, ax=axes, format="{x:g}", location="bottom", shrink=0.5, aspect=40,
                    label="mean load: V/c of links, Q/F of units (s)")  # fmt: skip
    axes.autoscale_view()
    axes.set(xlabel="m", ylabel="m", aspect="equal")
    legend_below(figure, [axes])  # above, the PDF has its headings
    rows = [{"what": k, "load_s": v} for k, v in (of_link | of_unit).items()]
    return Drawing(figure, pl.DataFrame(rows))


def _means(table: pl.DataFrame, key: str) -> dict[str, float]:
    means = table.group_by(key).agg(pl.col("load_s").mean())
    return dict(means.iter_rows())


def _cables(network: Network, loads: Mapping[str, float]) -> dict[tuple[str, str], float]:
    """Ends of a cable → load of its fuller direction; 0 for those that are not shaped."""
    found: dict[tuple[str, str], float] = {}
    for link in network.links.values():
        key = (min(link.source, link.target), max(link.source, link.target))
        found[key] = max(found.get(key, 0.0), loads.get(link.name, 0.0))
    return found


def _ends(network: Network, cable: tuple[str, str]) -> list[tuple[float, float]]:
    x, y = _place(network, list(cable))
    return list(zip(x, y, strict=True))


def _place(network: Network, names: list[str]) -> tuple[list[float], list[float]]:
    """Lying down: the longer side of the ground along the page. Edge servers stand apart."""
    places = []
    for name in names:
        node = network.nodes[name]
        x, y = node.position_m
        away = -45.0 if node.kind == "edge" else 0.0
        places.append((y, x + away))
    return [p[0] for p in places], [p[1] for p in places]

"""A scenario's network as a picture, before there is a run: base stations, what is around them.

Any process may call it; it reads the scenario alone. The picture shows who is joined to whom and
at which rate, not distances: where devices stand on the ground, and how loaded links were, is in
the map of a report (``analysis.report.topology``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from analysis.network_text import link_label
from analysis.style import GREY, LINK_LOOKS, NODE_KINDS, new_figure
from model.errors import UserError
from model.inventory import KINDS, LinkRow, link_rows
from model.network import Network, Node, build_network
from model.scenario import Scenario
from records.ownership import give_to_user, make_folder

Place = tuple[float, float]

_SPACING = 0.95
"""Between two devices on an arc; units of the picture."""
_CLEAR = 0.3
"""Between a device and the line to the next one."""
_FIRST, _STEP = 1.7, 0.8
"""Least radius of the arc nearest to a base station, and from one arc to the next."""
_FAN, _NARROW_FAN = math.radians(150), math.radians(120)
"""Angle that the devices of a base station take, seen from it; narrow: on a circle of many."""
_INNER_GAP = math.radians(50)
"""Room that an edge server needs between two links at the inner side of its base station."""
_INCHES = 0.62
"""Of a unit of the picture."""
_MOST_INCHES = 60.0
"""Of a picture's longer side."""
_MARKERS = {"device": "o", "edge": "s", "cloud": "h", "bs": "^", "ap": "d", "core": "D"}
_SIZES = {"device": 380, "edge": 420, "cloud": 560, "bs": 620, "ap": 330, "core": 420}
_FILLS = {"device": "#FCE9C6", "edge": "#CFE6F5", "cloud": "#CDEBDF", "bs": "white"}


@dataclass(frozen=True, slots=True)
class _Cell:
    """A base station's surroundings: where it is, where it looks to, and how wide, radians."""

    at: Place
    direction: float
    fan: float

    def place(self, radius: float, angle: float) -> Place:
        turned = self.direction + angle
        return self.at[0] + radius * math.cos(turned), self.at[1] + radius * math.sin(turned)


def draw_network(scenario: Scenario) -> Figure:
    """Draw a scenario's network: every node with its name, every class of links with its rate."""
    network = build_network(scenario)
    places = layout(scenario, network)
    wide, high = _extent(list(places.values()))
    inches = min(_INCHES, _MOST_INCHES / max(wide, high))
    figure, axes = new_figure(1, max(5.0, wide * inches), max(3.6, high * inches + 0.8))
    axes.set_axis_off()
    axes.set(aspect="equal", title=_title(scenario, network))
    _draw_links(axes, link_rows(scenario, network), places)
    for kind, marker in _MARKERS.items():
        nodes = [n for n in network.nodes.values() if n.kind == kind]
        if not nodes:
            continue
        look = NODE_KINDS.get(kind)
        xs, ys = zip(*(places[n.name] for n in nodes), strict=True)
        axes.scatter(xs, ys, _SIZES[kind], marker=marker, c=_FILLS.get(kind, "#EEEEEE"), zorder=2,
                     edgecolors=look.colour if look else "black", linewidths=1.0,
                     label=KINDS[kind])  # fmt: skip
        for node in nodes:
            axes.annotate(node.name, places[node.name], ha="center", zorder=3,
                          fontsize=7 if len(node.name) < 5 else 6,
                          va="center", xytext=(0, -2 if kind == "bs" else 0),
                          textcoords="offset points")  # fmt: skip
    axes.margins(0.06)
    legend = figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_sizes"):
            handle.set_sizes([60])
    return figure


def _title(scenario: Scenario, network: Network) -> str:
    counts = (len(network.devices), "device"), (len(network.of_kind("edge")), "edge server")
    words = ", ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in counts)
    return f"{scenario.name}: {words}{', a cloud' if 'cloud' in network.nodes else ''}"


def _draw_links(axes: Any, links: Sequence[LinkRow], places: dict[str, Place]) -> None:
    """Draw cables, a colour a class with its rate in the legend; dashed where events change it."""
    cables = {row.cable: row for row in links}
    changing = {row.cable for row in links if row.changes}

    def of(row: LinkRow) -> tuple[str, bool]:
        return row.link_class or "", row.cable in changing

    for (name, changes), group in groupby(sorted(cables.values(), key=of), key=of):
        rows = list(group)
        look = LINK_LOOKS.get(name)
        label = link_label(rows[0]) + (", changed by events" if changes else "")
        axes.add_collection(
            LineCollection(
                [(places[r.source], places[r.target]) for r in rows],
                colors=look.colour if look else GREY, linewidths=2.0 if name == "e2e" else 1.2,
                linestyles="--" if changes else "-", zorder=1, label=label,
            )
        )  # fmt: skip


def layout(scenario: Scenario, network: Network) -> dict[str, Place]:
    """Place every node; no two nodes of a scenario come to lie on each other.

    Base stations are on a circle, or in a row where they are joined as a line. The devices of each
    are on arcs at its outer side, cluster by cluster, each in a direction of its own; its edge
    server is where no link is.
    """
    in_row = _is_row(scenario)
    cells = _cells(scenario, network)
    places = {name: cell.at for name, cell in cells.items()}
    if "core" in network.nodes:
        middle = _middle(cells)
        angle = math.pi / 2 + (0.0 if in_row else math.pi / len(cells))
        # Links across the middle of a mesh would hide those to its core.
        off = 2.8 if in_row else 0.9 if len(cells) % 2 == 0 else 0.0
        core = middle[0] + off * math.cos(angle), middle[1] + off * math.sin(angle)
        away = 1.4 if len(cells) < 6 else 2.2
        places["core"] = core
        places["cloud"] = core[0] + away * math.cos(angle), core[1] + away * math.sin(angle)
    for name, cell in cells.items():
        _place_devices(places, network, name, cell)
        links = [k.target for k in network.links.values() if k.source == name]
        ahead = [places[other] for other in links if other in cells or other == "core"]
        edges = [n for n in network.of_kind("edge") if n.cell == name]
        for node in edges:
            places[node.name] = cell.place(1.4, _free_angle(cell, ahead))
    return places


def _is_row(scenario: Scenario) -> bool:
    count = len(scenario.network.base_stations)
    return count <= 2 or scenario.network.backbone_topology == "line"


def _middle(cells: dict[str, _Cell]) -> Place:
    xs, ys = zip(*(cell.at for cell in cells.values()), strict=True)
    return sum(xs) / len(xs), sum(ys) / len(ys)


def _cells(scenario: Scenario, network: Network) -> dict[str, _Cell]:
    stations = [n.name for n in network.of_kind("bs")]
    count = len(stations)
    fan = _FAN if count <= 3 or _is_row(scenario) else _NARROW_FAN
    reach = max(_reach(network, name, fan) for name in stations)
    if _is_row(scenario):
        gap = 2.0 * reach * math.sin(fan / 2) + 1.2
        return {n: _Cell((k * gap, 0.0), -math.pi / 2, fan) for k, n in enumerate(stations)}
    half = math.pi / count
    # Neighbours' fans lie apart: half the way between two base stations holds half a fan.
    radius = max(3.4, (0.6 + reach * math.sin(max(0.0, fan / 2 - half))) / math.sin(half))
    cells = {}
    for k, name in enumerate(stations):
        angle = math.pi / 2 - 2 * half * k
        cells[name] = _Cell((radius * math.cos(angle), radius * math.sin(angle)), angle, fan)
    return cells


def _devices(network: Network, station: str) -> list[Node]:
    return [n for n in network.devices if n.cell == station]


def _spots(count: int, fan: float) -> list[tuple[float, float]]:
    """Return an angle and a radius for each device, from one side of the fan to the other."""
    if count == 1:
        return [(0.0, _FIRST)]
    width = fan if count > 2 else fan / 3
    step = width / (count - 1)
    first = max(_FIRST, _CLEAR / step)
    arcs = math.ceil(_SPACING / (step * first))
    return [(width / 2 - k * step, first + _STEP * (k % arcs)) for k in range(count)]


def _reach(network: Network, station: str, fan: float) -> float:
    devices = _devices(network, station)
    farthest = max((radius for _, radius in _spots(len(devices), fan)), default=0.0)
    return farthest + _beyond(network, station) + _SPACING / 2


def _beyond(network: Network, station: str) -> float:
    """Return how much farther devices are, where access points stand before them."""
    return _STEP if any(n.cell == station for n in network.of_kind("ap")) else 0.0


def _place_devices(places: dict[str, Place], network: Network, station: str, cell: _Cell) -> None:
    devices, beyond = _devices(network, station), _beyond(network, station)
    spots = _spots(len(devices), cell.fan)[: len(devices)]
    for node, (angle, radius) in zip(devices, spots, strict=True):
        places[node.name] = cell.place(radius + beyond, angle)
    access_points = [n for n in network.of_kind("ap") if n.cell == station]
    for k, node in enumerate(access_points):
        share = (k + 0.5) / len(access_points) - 0.5
        places[node.name] = cell.place(1.3, -cell.fan * share)


def _free_angle(cell: _Cell, ahead: Sequence[Place]) -> float:
    """Return a direction without links or devices, seen from where the cell looks: the inner one.

    Where links leave too little room there, it is the middle of the widest gap.
    """
    taken = [math.atan2(y - cell.at[1], x - cell.at[0]) - cell.direction for x, y in ahead]
    sides = (cell.fan / 2, 2 * math.pi - cell.fan / 2)
    angles = sorted([*sides, *(a % (2 * math.pi) for a in taken)])
    gaps = [(b - a, (a + b) / 2) for a, b in pairwise(angles) if a >= sides[0] and b <= sides[1]]
    inner = [gap for gap in gaps if abs(gap[1] - math.pi) < 0.01 and gap[0] >= _INNER_GAP]
    return max(inner or gaps)[1]


def _extent(places: Sequence[Place]) -> tuple[float, float]:
    xs, ys = zip(*places, strict=True)
    return max(xs) - min(xs) + 1.5, max(ys) - min(ys) + 1.5


def save_picture(figure: Figure, path: Path, form: str) -> None:
    """Write a figure as ``png``, ``svg`` or ``pdf``, without dates, and close it.

    Raises ``UserError`` if it cannot be written.
    """
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    try:
        make_folder(path.parent)
        figure.savefig(path, format=form, metadata=dates.get(form))
        give_to_user(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        plt.close(figure)

"""One style for all figures: colour-blind safe, vector and raster, the data beside them.

How a policy, a kind of node or a class of links is called and drawn stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import polars as pl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from model.errors import as_user_error
from records.ownership import give_to_user, make_folder

# Okabe and Ito's palette, which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = COLOURS
GREY = "#888888"

# A matplotlibrc of the user's, or in the folder where they work, is for figures of their own.
mpl.rcdefaults()
plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.alpha": 0.3,
        "font.size": 9,
        "axes.titlesize": 9,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "crowd-edge-lab",
        "savefig.dpi": 160,
    }
)


@dataclass(frozen=True, slots=True)
class Look:
    """How something is called and drawn; colours repeat, then ``dashes`` tell apart."""

    label: str
    colour: str
    marker: str
    dashes: str = "-"


POLICIES: dict[str, Look] = {
    "m2ppo": Look("M2PPO", BLUE, "o"),
    "mappo": Look("MAPPO", VERMILION, "s"),
    "maa3c": Look("MAA3C", GREEN, "^"),
    "madqn": Look("MADQN", PURPLE, "D"),
    "student": Look("student", SKY, "P"),
    "learned": Look("learned", SKY, "p"),
    "self-biased": Look("self-biased", ORANGE, "v"),
    "own-edge": Look("own edge", GREY, "X"),
    "local": Look("local", BLACK, "h"),
    "greedy": Look("greedy", GREEN, "<", "--"),
    "random": Look("random", GREY, ".", ":"),
    "static-split": Look("static split", PURPLE, ">", "--"),
    "power-of-two": Look("power of two", VERMILION, "p", "--"),
    "threshold": Look("threshold", ORANGE, "H", "--"),
    "ago": Look("AGO", BLUE, "d", "--"),
    "ago-random": Look("AGO, random node", BLUE, "D", ":"),
    "centralised": Look("centralised", BLACK, "8", "--"),
    "oracle": Look("oracle", BLACK, "*", ":"),
}
"""The lab's policies, the paper's four learners first: also the order in tables and legends."""
LEARNERS = ("madqn", "maa3c", "mappo", "m2ppo")
"""The rows of the paper's Table III, in its order."""
LINK_LOOKS: dict[str, Look] = {
    "e2e": Look("E2E", BLUE, "o"),
    "e2d": Look("E2D", VERMILION, "s"),
    "access": Look("ACCESS", GREEN, "^"),
    "backbone": Look("BACKBONE", PURPLE, "D"),
}
NODE_KINDS: dict[str, Look] = {
    "self": Look("itself", SKY, "P"),
    "device": Look("device", ORANGE, "v"),
    "edge": Look("edge", BLUE, "o"),
    "cloud": Look("cloud", GREEN, "^"),
}
WORLDS = {"emulation": "emulation", "simulation": "simulator"}


@dataclass(frozen=True)
class Drawing:
    """A figure, its data in rows, and what it shows in sentences worked out from the numbers."""

    figure: Figure
    data: pl.DataFrame
    said: tuple[str, ...] = ()


def look(policy: str) -> Look:
    """How a policy is drawn; one of the user's own has a look that depends on its name only."""
    name, _, variant = policy.partition(" ")
    known = POLICIES.get(name)
    if known is None:
        number = sum(name.encode())
        return Look(policy, COLOURS[number % len(COLOURS)], "oswvXd"[number % 6], "-.")
    if not variant:
        return known
    return Look(f"{known.label} {variant}", known.colour, known.marker, "-.")


def rank(policy: str) -> tuple[int, str]:
    """Sorts policies as ``POLICIES`` does, a user's own behind them."""
    names = list(POLICIES)
    name = policy.partition(" ")[0]
    return names.index(name) if name in POLICIES else len(names), policy


def new_figure(
    columns: int = 1, width_in: float = 4.2, height_in: float = 3.4, rows: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure with axes side by side; returns (figure, axes or array of axes).

    ``height_in`` is of one row; ``options`` go to ``matplotlib.pyplot.subplots``.
    """
    size = (width_in * columns, height_in * rows)
    return plt.subplots(rows, columns, figsize=size, **options)


def legend_below(figure: Figure, axes: Sequence[Any], label_in: float = 1.6) -> None:
    """One legend for all axes, under them, every label once; a label is about so many inches."""
    found: dict[str, Any] = {}
    for one in axes:
        for handle, label in zip(*one.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = max(1, min(len(found), int(figure.get_size_inches()[0] / label_in)))
        handles = list(found.values())
        figure.legend(handles, list(found), loc="outside lower center", ncols=columns)


def save(drawing: Drawing, stem: Path) -> list[Path]:
    """Write ``stem`` as SVG and PNG, and its data beside it as CSV; closes the figure.

    Returns the paths. Raises ``UserError`` if they cannot be written.
    """
    paths = [stem.with_name(stem.name + suffix) for suffix in (".svg", ".png", ".csv")]
    try:
        with as_user_error(f"{stem}: cannot be written"):
            make_folder(stem.parent)
            drawing.figure.savefig(paths[0], metadata={"Date": None})
            drawing.figure.savefig(paths[1])
            drawing.data.write_csv(paths[2])
            for path in paths:
                give_to_user(path)
    finally:
        plt.close(drawing.figure)
    return paths

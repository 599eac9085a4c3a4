"""One style for all figures: colour-blind safe, vector and raster, the data beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import polars as pl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Okabe and Ito's palette, which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#888888"

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "font.size": 9,
        "svg.fonttype": "none",
        "savefig.dpi": 160,
    }
)


def new_figure(
    columns: int = 1, width_in: float = 4.2, height_in: float = 3.4
) -> tuple[Figure, Any]:
    """A figure with ``columns`` axes side by side; returns (figure, axes or array of axes)."""
    return plt.subplots(1, columns, figsize=(width_in * columns, height_in))


def save(figure: Figure, stem: Path, data: Mapping[str, Any]) -> list[Path]:
    """Write ``stem`` as SVG and PNG, and the figure's data beside it as CSV; returns the paths."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(suffix) for suffix in (".svg", ".png", ".csv")]
    figure.savefig(paths[0])
    figure.savefig(paths[1])
    pl.DataFrame(dict(data)).write_csv(paths[2])
    plt.close(figure)
    return paths

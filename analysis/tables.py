"""A table for reading, and the same as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metrics.statistics import Estimate
from model.errors import as_user_error
from records.ownership import make_folder
from records.writer import write_atomically


@dataclass(frozen=True)
class Table:
    """Rows of text under a title; the first ``left`` columns hold words, the rest numbers."""

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1

    @property
    def markdown(self) -> str:
        """The table as Markdown."""
        rule = ["---"] * self.left + ["---:"] * (len(self.heading) - self.left)
        lines = [self.heading, rule, *self.rows]
        return f"### {self.title}\n\n" + "\n".join("| " + " | ".join(r) + " |" for r in lines)


def digits(value: float, sign: str = "") -> str:
    """Three or four digits that matter; ``–`` for what could not be measured."""
    if np.isnan(value):
        return "–"
    size = abs(value)
    if not size:
        return "0"
    if size >= 1e5 or size < 1e-4:
        return f"{value:{sign}.2e}"
    places = 4 if size < 0.1 else 3 if size < 10 else 1 if size < 1e3 else 0
    return f"{value:{sign}.{places}f}"


def shown(figure: Estimate, sign: str = "") -> str:
    """``1.08 [1.02, 1.13]``; without an interval where there is none."""
    value, low, high = (digits(x, sign) for x in (figure.value, figure.low, figure.high))
    return value if np.isnan(figure.low) else f"{value} [{low}, {high}]"


def write(
    tables: Sequence[Table],
    said: Sequence[str],
    records: Sequence[dict[str, object]],
    stem: Path,
) -> list[Path]:
    """``stem`` as Markdown, sentences included, and the numbers as CSV; returns the paths.

    Raises ``UserError`` if they cannot be written.
    """
    text = io.StringIO()
    columns = list(dict.fromkeys(k for record in records for k in record))
    sheet = csv.DictWriter(text, columns, lineterminator="\n")
    sheet.writeheader()
    sheet.writerows(records)
    parts = [table.markdown for table in tables]
    if said:
        parts.append("\n".join(f"- {sentence}" for sentence in said))
    paths = [stem.with_name(stem.name + suffix) for suffix in (".md", ".csv")]
    with as_user_error(f"{stem}: cannot be written"):
        make_folder(stem.parent)
        write_atomically(paths[0], "\n\n".join(parts) + "\n")
        write_atomically(paths[1], text.getvalue())
    return paths

"""A report as text, tables and figures, and how it becomes a page and a PDF."""

from __future__ import annotations

import base64
import io
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import pyplot as plt
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from analysis.tables import Table
from model.errors import as_user_error
from records.ownership import give_to_user, make_folder
from records.writer import write_atomically

_PAGE_IN = (8.27, 11.69)
_LINES, _COLUMNS, _POINTS = 78, 104, 7.2
"""Of a page of text in the PDF; wide tables make the letters smaller."""
_WIDEST = 165
_AS_IT_IS: dict[str, Any] = {"subsequent_indent": "    ", "replace_whitespace": False,
                             "drop_whitespace": False}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure with its caption; ``raster`` for those with thousands of points."""

    figure: Figure
    caption: str
    raster: bool = False

    @property
    def uri(self) -> str:
        """The figure as a data URI."""
        form, kind = ("png", "png") if self.raster else ("svg", "svg+xml")
        held = io.BytesIO()
        self.figure.savefig(held, format=form, metadata=None if self.raster else {"Date": None})
        return f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode()}"


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it."""

    title: str
    texts: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything that a page says.

    Attributes:
        verdict: on the run's own numbers, '' where there is none; ``verdict_class``: '', bad, none.
        notes: what a reader must know before believing anything.
        made: what wrote the page, and from what.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    verdict: str = ""
    verdict_class: str = ""
    notes: tuple[str, ...] = field(default=())
    made: str = ""


def write(report: Report, stem: Path) -> list[Path]:
    """Write ``stem`` as HTML and PDF; closes the figures. Raises ``UserError``."""
    paths = [stem.with_name(stem.name + suffix) for suffix in (".html", ".pdf")]
    try:
        with as_user_error(f"{stem}: cannot be written"):
            make_folder(stem.parent)
            write_atomically(paths[0], html(report))
            _write_pdf(report, paths[1])
            give_to_user(paths[1])
    finally:
        for section in report.sections:
            for picture in section.pictures:
                plt.close(picture.figure)
    return paths


def html(report: Report) -> str:
    """The page, with everything in it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(report=report)


def _write_pdf(report: Report, path: Path) -> None:
    with PdfPages(path, metadata={"Title": report.title}) as pages:
        lines = [report.title, report.subtitle, ""]
        lines += [report.verdict] if report.verdict else []
        lines += [*report.notes, ""]
        for section in report.sections:
            if section.texts or section.tables:
                lines += [section.title.upper(), *section.texts]
            for table in section.tables:
                lines += [*_typed(table), ""]
        lines.append(report.made)
        _write_text(pages, lines)
        for section in report.sections:
            for picture in section.pictures:
                if not picture.figure.get_suptitle():
                    picture.figure.suptitle(section.title)
                pages.savefig(picture.figure)


def _typed(table: Table) -> list[str]:
    """A table in letters of one width."""
    rows = [r for r in (table.heading, *table.rows) if r]
    if not rows:
        return []
    widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
    # A long last column is wrapped by the page; it needs no padding.
    lines = [
        "  ".join(
            cell.ljust(w) if k < table.left else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [table.title, *lines] if table.title else lines


def _write_text(pages: PdfPages, lines: list[str]) -> None:
    tables = [len(line) for line in lines if "  " in line.strip()]
    columns = min(_WIDEST, max([_COLUMNS, *tables]))
    wrapped = [part for line in lines for part in textwrap.wrap(line, columns, **_AS_IT_IS) or [""]]
    count = _LINES * columns // _COLUMNS
    for first in range(0, len(wrapped), count):
        figure = Figure(figsize=_PAGE_IN)
        text = "\n".join(wrapped[first : first + count])
        size = _POINTS * _COLUMNS / columns
        figure.text(0.06, 0.96, text, family="DejaVu Sans Mono", fontsize=size, va="top")
        pages.savefig(figure)  # type: ignore[no-untyped-call]

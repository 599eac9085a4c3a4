"""The report of a folder of results."""

from __future__ import annotations

from pathlib import Path

from analysis import links as link_loads
from analysis import table3
from analysis.collection import Collection
from analysis.figures import fig4, fig6
from analysis.report.document import Picture, Report, Section
from analysis.style import WORLDS
from analysis.tables import Table, digits


def report_of(found: Collection, folder: Path) -> Report:
    """Table III, delays, loads of nodes and links, and a line a run."""
    said = (*table3.sentences(found),)
    sections = [
        Section("Table III", said, tuple(table3.tables(found))),
        Section(
            "Unit delay",
            pictures=(Picture(fig4.draw_results(found).figure, "Fig. 4: a dot a run."),),
        ),
        Section(
            "Load of nodes", pictures=(Picture(fig6.draw_results(found).figure, "Fig. 6: Q/F."),)
        ),
        *_links(found),
        Section("The runs", tables=(_runs(found),)),
    ]
    return Report(
        title=f"{len(found.runs)} runs: {', '.join(sorted({g.case for g in found.groups}))}",
        subtitle=str(folder),
        sections=tuple(sections),
        notes=found.said,
        made="Intervals are bootstrap 95 % over episodes and training seeds.",
    )


def _links(found: Collection) -> list[Section]:
    sections = []
    for panel in found.panels:
        loads = [link_loads.class_loads(group) for group in panel]
        caption = "Above: means over links; below: share of links and slots above a load."
        sections.append(
            Section(
                f"Links: {table3.title(panel[0])}",
                tables=(link_loads.table(panel, loads),),
                pictures=(Picture(link_loads.draw(panel, loads).figure, caption),),
            )
        )
    return sections


def _runs(found: Collection) -> Table:
    rows = tuple(
        (
            g.scenario,
            WORLDS[g.world],
            g.look.label,
            str(run.seed),
            run.result.verdict if g.world == "emulation" else "–",
            run.result.folder.name,
            digits(run.summary.unit_delay),
            digits(run.summary.anlr),
            str(run.summary.generated),
        )
        for g in found.groups
        for run in g.runs
    )
    heading = ("scenario", "world", "policy", "seed", "verdict", "folder", "UD, s/MB", "ANLR, s",
               "tasks")  # fmt: skip
    return Table("", heading, rows, left=6)

"""The report of one run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from analysis.collection import Run
from analysis.figures.eq14 import draw_eq14
from analysis.frames import tasks_until
from analysis.overhead import overhead
from analysis.pcap.output import picture as draw_captures
from analysis.pcap.summary import summarise as summarise_captures
from analysis.report import figures
from analysis.report.document import Picture, Report, Section
from analysis.report.topology import draw_map
from analysis.style import WORLDS, look
from analysis.tables import Table, digits
from model.errors import UserError

_PACKAGES = ("numpy", "numba", "torch", "pyarrow", "mininet", "ryu", "os-ken")
_LINKS_SHOWN = 10


def report_of(run: Run) -> Report:
    """Everything that a run recorded, on a page. Raises ``UserError`` for unreadable tables."""
    result, manifest, end_s = run.result, run.result.manifest, run.duration_s
    scenario = result.scenario
    tasks = tasks_until(result, end_s)
    links, units = (figures.read_loads(result, name) for name in ("links", "units"))
    sections = [_summary(run), _provenance(manifest)]
    if run.world == "emulation":
        sections.append(_fidelity(run))
    if len(links) and len(units):
        drawing = draw_map(result, links, units)
        caption = "Mean loads over the run; a cable has the colour of its fuller direction."
        sections.append(Section("Where it was full", pictures=(Picture(drawing.figure, caption),)))
        drawing = figures.over_time(tasks, links, units, end_s, scenario.slot_s)
        caption = "Means over the links of a class and the units of a kind."
        sections.append(Section("Over time", pictures=(Picture(drawing.figure, caption),)))
    if len(tasks):
        sections += list(_of_tasks(tasks, end_s, scenario.slot_s))
    sections.append(_overhead(run))
    sections += list(_captures(result.folder / "pcap"))
    return Report(
        title=f"{scenario.name}: {look(run.policy).label}, {WORLDS[run.world]}, seed {run.seed}",
        subtitle=f"{scenario.description} {result.folder}",
        sections=tuple(sections),
        verdict=_verdict(run),
        verdict_class="none" if run.world != "emulation" else "" if run.valid else "bad",
        notes=tuple(result.notes),
        made=f"Run {manifest.get('run_id')}, result format {manifest['schema_version']}.",
    )


def _verdict(run: Run) -> str:
    if run.world != "emulation":
        return "Simulated: no packets, and so no verdict on them."
    return f"Fidelity, the run on its own numbers: {run.result.verdict}"


def _summary(run: Run) -> Section:
    manifest = run.result.manifest
    table = Table("", ("metric", "value", "unit"), tuple(run.summary.rows()))
    ended = {0: "ended by itself", None: "was killed"}.get(manifest.get("exit_status"), "broke")
    if manifest.get("complete") is False:
        ended = "was interrupted"
    text = (
        f"T = {run.duration_s:g} s of {run.result.scenario.duration_s:g} s; the run {ended}. Tasks "
        "without a result are charged until the end."
    )
    return Section("Summary", (text,), (table,))


def _provenance(manifest: dict[str, Any]) -> Section:
    git, machine = manifest.get("git") or {}, manifest.get("machine") or {}
    packages = manifest.get("packages") or {}
    scenario = manifest["scenario"]
    rows = (
        ("policy", f"{manifest['policy']} {manifest.get('policy_params') or ''}".strip()),
        ("scenario", f"{scenario['name']}, {scenario['slots']} slots of {scenario['slot_s']:g} s"),
        ("seed", str(manifest["seed"])),
        ("world", f"{manifest['world']}, speed-up {manifest.get('speedup', 1):g}"),
        ("command", manifest.get("command") or shlex.join(manifest.get("command_line") or ())),
        ("commit", f"{git.get('commit', 'unknown')}{' with changes' if git.get('dirty') else ''}"),
        ("began, ended", f"{manifest.get('started_utc')}, {manifest.get('ended_utc')}"),
        ("machine", f"{machine.get('cpu')}, {machine.get('cpu_count')} cores, "
                    f"{machine.get('memory_bytes', 0) / 1e9:.0f} GB, {machine.get('system')}"),
        ("packages", ", ".join(f"{k} {packages[k]}" for k in _PACKAGES if k in packages)),
    )  # fmt: skip
    return Section("Where it comes from", tables=(Table("", (), rows, left=2),))


def _fidelity(run: Run) -> Section:
    found = run.result.manifest.get("fidelity") or {}
    marks = {True: "ok", False: "FAILED", None: "not measured"}
    rows = tuple((c["name"], marks[c["ok"]], c["text"]) for c in found.get("checks", ()))
    table = Table("", ("check", "", "what was found"), rows, left=3)
    title, tables = "Can it be believed", (table,) if rows else ()
    try:
        drawing = draw_eq14(run.result)
    except UserError as error:
        return Section(title, (f"No picture of eq. (14): {error}.",), tables)
    picture = Picture(drawing.figure, "Pings against the queues on their way.", raster=True)
    return Section(title, tables=tables, pictures=(picture,))


def _of_tasks(tasks: pl.DataFrame, end_s: float, slot_s: float) -> Iterator[Section]:
    drawing = figures.delays(tasks)
    caption = "All tasks, unfinished ones with their time so far; right: finished tasks, by part."
    yield Section("Delays", pictures=(Picture(drawing.figure, caption),))
    drawing = figures.whereabouts(tasks, end_s, slot_s)
    caption = "Tasks by time of birth."
    yield Section("Where tasks went", pictures=(Picture(drawing.figure, caption),))
    drawing = figures.decisions(tasks)
    caption = "Targets by a task's data and work, in ranges of about equally many tasks; rates."
    yield Section("Decisions", pictures=(Picture(drawing.figure, caption),))


def _overhead(run: Run) -> Section:
    found = overhead(run.result, run.duration_s)
    seconds = max(found.duration_s, 1e-9)
    rows = tuple(
        (scheme, what, digits(8e-3 * count / seconds))
        for scheme, what, count in (
            ("distributed, as here", "pings", found.pings),
            ("", "acknowledgements", found.acknowledgements),
            ("centralised, computed", "status", found.status),
            ("", "decisions", found.decisions),
        )
    )
    heading = ("scheme", "messages", "kbit/s over all links")
    return Section("Communication overhead", tables=(Table("", heading, rows, left=2),))


def _captures(folder: Path) -> Iterator[Section]:
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    try:
        summary = summarise_captures([folder])
    except UserError as error:
        yield Section("Captures", (f"They cannot be read: {error}.",))
        return
    columns = ("packets", "bytes", "mean_mbps", "peak_mbps", "retransmitted", "wait_p50_s",
               "wait_p95_s")  # fmt: skip
    heading = ("link", "packets", "bytes", "Mbps", "peak", "retr.", "in queue, s", "95 %, s")
    rows = tuple(
        (str(row["link"]), *("–" if row[c] is None else digits(float(row[c])) for c in columns))
        for row in summary.links.head(_LINKS_SHOWN).iter_rows(named=True)
    )
    text = f"{len(summary.links)} links were captured; the busiest, in real time."
    caption = "From the captures: rates, time in queues, round trips."
    yield Section(
        "Captures",
        (text, *summary.notes),
        (Table("", heading, rows),),
        (Picture(draw_captures(summary), caption, raster=True),),
    )

"""All packets of some captures in one table, and what each belongs to: a point, a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from analysis.pcap.capture import Capture
from analysis.pcap.fields import decode
from analysis.pcap.files import CaptureFiles, find_captures
from analysis.pcap.points import Names, Point, is_of_a_link, names_around, point_of, result_folder
from analysis.pcap.reader import read_capture
from analysis.pcap.stamps import longest_pause_ns, odd_stamps
from model.errors import UserError

_MOST_INTERFACES = 1000
_TOLD_NS = 1_000_000
"""Stamps that are out of order by no more than this go without a note."""


@dataclass(frozen=True)
class Run:
    """Captures that were made together; only these are compared with each other.

    Attributes:
        folder: the result folder, else the captures' folder, or a foreign capture itself.
        names: names, speed-up and verdict of a result folder.
    """

    folder: str
    names: Names


@dataclass
class Packets:
    """What some captures hold.

    Attributes:
        table: a row a packet, with the columns of ``fields.decode`` and ``point``, ``flow_path``
            (packets of one connection that have it in common went one way).
        points: what each number in ``point`` stands for.
        runs: what ``Point.run`` stands for.
        addresses: IPv6 addresses by their hashes in ``source`` and ``target``.
        notes: what was left out, in sentences.
    """

    table: pl.DataFrame
    points: list[Point]
    runs: list[Run]
    addresses: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_packets(paths: Sequence[Path]) -> Packets:
    """All packets of captures that are files, pipes (``-``) or in folders.

    What cannot be read is refused where the user named the file, and left out with a note where it
    was found in a folder. Raises ``UserError`` as ``find_captures`` and ``read_capture`` do, or if
    there is not a single packet.
    """
    captures, notes = find_captures(paths)
    found = Packets(pl.DataFrame(), [], [], notes=notes)
    tables: list[pl.DataFrame] = []
    runs: dict[str, int] = {}
    for files in captures:
        for part, read in _readings(files, notes):
            run = _run_of(part, runs, found)
            tables += _tables(part, read, run, found)
    if not any(len(t) for t in tables):
        raise UserError(f"{captures[0].name}: no packet was captured{_first(notes)}")
    table = pl.concat(tables)
    if not found.addresses:  # half as wide, and as fast to sort again
        table = table.with_columns(pl.col("source", "target").cast(pl.UInt32))
    found.table = _with_flow_paths(table)
    return found


def _first(notes: Sequence[str]) -> str:
    return f" ({notes[0]})" if notes else ""


def _run_of(files: CaptureFiles, runs: dict[str, int], found: Packets) -> int:
    """The number of the run that a capture belongs to."""
    file = files.files[0]
    folder = result_folder(file)
    key = str(folder) if folder else str(file.parent if is_of_a_link(files) else file)
    if key not in runs:
        runs[key] = len(runs)
        found.runs.append(Run(key, names_around(file)))
    return runs[key]


def _readings(
    files: CaptureFiles, notes: list[str]
) -> Iterator[tuple[CaptureFiles, list[Capture]]]:
    """The captures that files of one name are, each with its files in the order of time."""
    read: list[Capture] = []
    for file in files.files:
        try:
            read.append(read_capture(file))
        except UserError as error:
            if files.named:
                raise
            notes.append(f"left out: {error}")
            continue
        notes += read[-1].notes
    parts = list(_parts(read))
    for part in parts:
        mine = replace(files, files=tuple(c.path for c in part))
        if len(parts) > 1 and len(part) == 1:
            mine = replace(mine, stem=part[0].path.name)
        if len(part) > 1:
            notes.append(
                f"{mine.folder / mine.stem}: {len(part)} files, from {part[0].path.name} to "
                f"{part[-1].path.name}, were read as one capture that its writer rotated"
            )
        yield mine, part


def _span(capture: Capture) -> tuple[int, int]:
    """First and last time stamp that is not odd; (0, 0) without any."""
    stamps = capture.time_ns[capture.timed]
    stamps = stamps[~odd_stamps(stamps)[0]]
    return (int(stamps.min()), int(stamps.max())) if len(stamps) else (0, 0)


def _parts(captures: list[Capture]) -> Iterator[list[Capture]]:
    """Files in the order of time, parted by long pauses; without any time, in that of numbers."""
    if len(captures) < 2:
        yield from [captures] if captures else []
        return
    spans = {id(c): _span(c) for c in captures}
    if all(spans.values()):
        captures = sorted(captures, key=lambda c: spans[id(c)])
    longest = max(end - begin for begin, end in spans.values())
    part: list[Capture] = []
    last = 0
    for capture in captures:
        begin, end = spans[id(capture)]
        if part and begin and begin - last > longest_pause_ns(longest):
            yield part
            part = []
        part.append(capture)
        last = max(last, end) or begin
    yield part


def _tables(
    files: CaptureFiles, captures: list[Capture], run: int, found: Packets
) -> list[pl.DataFrame]:
    """The packets of a capture, a table a point."""
    tables = []
    for capture in captures:
        decoded = decode(capture)
        tables.append(decoded.table)
        found.addresses |= decoded.addresses
    table = pl.concat(tables)
    parts = _by_interface(table)
    if len(parts) > _MOST_INTERFACES:
        raise UserError(f"{files.name}: holds packets of {len(parts)} interfaces, at most "
                        f"{_MOST_INTERFACES} are read")  # fmt: skip
    found_tables = []
    for code, mine in sorted(parts.items()):
        number, index = code & 0xFFFF_FFFF, code >> 32
        label = _label(captures[0], number, index) if len(parts) > 1 else ""
        interfaces = captures[0].interfaces[number : number + 1]
        kind = interfaces[0].link_type if interfaces else 0
        found.points.append(point_of(files, run, label, kind))
        mine = _without_odd_stamps(mine, f"{files.name}{f' [{label}]' * bool(label)}", found.notes)
        point = pl.lit(len(found.points) - 1, pl.UInt32).alias("point")
        found_tables.append(mine.with_columns(point))
    return found_tables


def _by_interface(table: pl.DataFrame) -> dict[int, pl.DataFrame]:
    first = table["interface"].min()
    if first == table["interface"].max():
        return {first if isinstance(first, int) else 0: table}
    parts = table.partition_by("interface", as_dict=True, maintain_order=True)
    return {int(code): mine for (code,), mine in parts.items()}


def _label(capture: Capture, number: int, index: int) -> str:
    """What tells one interface of a capture from the others."""
    names = [i.name for i in capture.interfaces]
    if index and len(names) == 1:
        return f"interface {index}"
    name = names[number] if number < len(names) else ""
    label = name if name and names.count(name) == 1 else f"{name}#{number}"
    return label + f".{index}" * bool(index)


def _without_odd_stamps(table: pl.DataFrame, name: str, notes: list[str]) -> pl.DataFrame:
    """The packets with ``timed`` false where a stamp is odd.

    Their ``time_ns`` becomes that of the packet in front, which keeps them in their order.
    """
    timed, time_ns = table["timed"].to_numpy().copy(), table["time_ns"].to_numpy()
    count, without = len(timed), int(len(timed) - np.count_nonzero(timed))
    rows = np.flatnonzero(timed)
    odd, step_back = odd_stamps(time_ns[rows])
    if without:
        notes.append(f"{name}: {without} of {count} packets: no time stamp; they are not in rates, "
                     "round trips and queue times")  # fmt: skip
    if odd.any():
        strange = rows[odd]
        notes.append(
            f"{name}: {len(strange)} of {count} packets: odd time stamp, far from those around it "
            f"(first: packet {table['number'][int(strange[0])]}); left out of rates, round trips "
            "and queue times"
        )
        timed[strange] = False
    if step_back > _TOLD_NS:
        notes.append(f"{name}: packets are out of order by up to {step_back / 1e9:.4g} s; they "
                     "were sorted by their time stamps")  # fmt: skip
    if timed.all():
        return table
    last = np.maximum.accumulate(np.where(timed, np.arange(count), -1))
    good = np.flatnonzero(timed)
    last = np.where(last < 0, good[0] if len(good) else 0, last)
    filled = time_ns[last] if len(good) else np.arange(count)
    return table.with_columns(pl.Series("timed", timed), pl.Series("time_ns", filled))


def _with_flow_paths(table: pl.DataFrame) -> pl.DataFrame:
    """Adds ``flow_path``: the point, and where there are any the VLAN and the tunnel."""
    if not table["vlan"].max() and not table["tunnel"].max():
        return table.with_columns(flow_path=pl.col("point"))
    key = ["point", "vlan", "tunnel"]
    numbers = table.select(key).unique(maintain_order=True).with_row_index("flow_path")
    return table.join(numbers, on=key, how="left", maintain_order="left")


def common_folder(names: Sequence[str]) -> str:
    """What the paths of several runs have in common, with a final slash; '' if nothing."""
    if len(names) < 2:
        return ""
    try:
        common = os.path.commonpath([Path(n).absolute() for n in names])
    except ValueError:
        return ""
    return common.rstrip("/") + "/"

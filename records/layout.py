"""Names in a result folder that its writer and its readers share."""

from __future__ import annotations

from pathlib import Path

FORMAT = "crowd-edge-lab result"
README = """\
A result of crowd-edge-lab: one run of one scenario with one policy.

manifest.json   what was run, with what, where and when; exit_status null: the run was killed
tasks.parquet   one row per task generated, with all its times and its outcome
links.parquet   per slot and link: capacity, backlog, bytes, drops, load
units.parquet   per slot and computation unit: queue, frequency, load, busy share
probes.parquet  every ping
slots.parquet   per slot: lateness of processes, idle CPU, tasks so far
queues.parquet  what waited on links, looked at several times a slot
ports.parquet   per slot and switch port: its counters
events.parquet  capacities that changed, cables that failed or came back
resources.parquet   per slot and node, where work is real: CPU, memory, bytes in and out
transcodes.parquet  one row per clip transcoded: where, when, its cost and size, or why it failed
pcap/           packet captures, where they were asked for
logs/           what the processes of an emulation said, where they said anything
log.jsonl       what happened, one JSON object a line

A folder X.parquet.parts holds what a run that did not end properly had written of X.
Times are scenario time in s; MB = 10^6 byte, Mbps = 10^6 bit/s on the wire. The columns are
described in records/schema.py, the metrics in records/metrics.py.
"""


def parts_folder(folder: Path, table: str) -> Path:
    """Where a table's parts lie while the run goes."""
    return folder / f"{table}.parquet.parts"


def part_files(folder: Path, table: str) -> list[Path]:
    """The parts of a table, in the order in which they were written."""
    parts = parts_folder(folder, table).glob("*.parquet")
    return sorted((p for p in parts if p.stem.isdecimal()), key=lambda p: int(p.stem))

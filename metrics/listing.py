"""What has been run: the result folders below a folder, a row each, without opening all tables.

Any process may call this; it reads manifests, and the table of tasks for the unit delay. What a
finished folder's row says is kept in the user's cache, under the times and sizes of its files.
Tables of metrics are elsewhere: ``metrics.summary`` for one result, ``analysis`` for many.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from metrics import summary
from model.errors import INTERRUPTED, UserError
from records.plain import without_nan
from records.reader import Result, open_result
from records.schema import TABLES
from records.user_folders import cache_folder
from records.writer import write_atomically

WORLDS = {"emulation": "emulation", "simulation": "simulator"}
"""A world as manifests have it → as the command line has it."""
_MOST_KEPT = 5000
_PROBLEM_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One run, as a list of results shows it.

    Attributes:
        id: the run's id, the end of its folder's name.
        folder: where it lies.
        started_utc: ISO 8601; "" where the manifest lacks it.
        seed: None for a judged run that has not ended.
        world: ``emulation`` or ``simulator``.
        slots: the scenario's length, slots.
        status: ``done``, ``interrupted``, ``broke``, or ``unfinished``: killed, or still running.
        verdict: ``valid``, ``invalid``, or None: nothing judged it, as in the simulator.
        failed_checks, reasons: names and sentences of the checks that made it invalid.
        unit_delay: UD = ΣE/Σo, s per MB; None where it is not known.
    """

    id: str
    folder: str
    started_utc: str
    scenario: str
    policy: str
    policy_params: dict[str, Any]
    seed: int | None
    world: str
    speedup: float
    slots: int | None
    status: str
    verdict: str | None
    failed_checks: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    unit_delay: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder that looks like a result and cannot be read as one, and why."""

    folder: str
    problem: str


def row_of(result: Result) -> ResultRow:
    """Return the row of an opened result, from its manifest alone: without the unit delay."""
    manifest = result.manifest
    fidelity = manifest.get("fidelity")
    failed = [c for c in (fidelity or {}).get("checks", []) if c["ok"] is False]
    slots = manifest["scenario"].get("slots")
    return ResultRow(
        id=str(manifest.get("run_id") or result.folder.name.rpartition("-")[2]),
        folder=str(result.folder),
        started_utc=str(manifest.get("started_utc") or ""),
        scenario=str(manifest["scenario"].get("name", "")),
        policy=str(manifest["policy"]),
        policy_params=dict(manifest.get("policy_params") or {}),
        seed=manifest["seed"],
        world=WORLDS[manifest["world"]],
        speedup=float(manifest["speedup"]),
        slots=slots if isinstance(slots, int) else None,
        status=_status(manifest.get("exit_status")),
        verdict=None if fidelity is None else "valid" if fidelity["valid"] else "invalid",
        failed_checks=[c["name"] for c in failed],
        reasons=[c["text"] for c in failed],
    )


def _status(exit_status: int | None) -> str:
    known = {None: "unfinished", 0: "done", INTERRUPTED: "interrupted"}
    return known.get(exit_status, "broke")


def with_unit_delay(row: ResultRow) -> ResultRow:
    """Return a row with its unit delay; None where the tables cannot be read, or have no task."""
    try:
        value = summary.unit_delay(open_result(row.folder))
    except UserError:
        return row
    return replace(row, unit_delay=value if math.isfinite(value) else None)


class Listing:
    """The results at or below a folder, newest first.

    Attributes:
        rows: those that can be read; their unit delay is known after ``measure``.
        unreadable: folders that look like results and cannot be read.
    """

    def __init__(self, root: Path):
        self.rows: list[ResultRow] = []
        self.unreadable: list[Unreadable] = []
        self._kept = _Kept()
        for folder, problem in _folders(root):
            if problem:
                self.unreadable.append(Unreadable(str(folder), problem))
                continue
            try:
                self.rows.append(self._kept.row(folder) or row_of(open_result(folder)))
            except UserError as error:
                text = str(error).removeprefix(f"{folder}: ").removeprefix(f"{folder}/")
                self.unreadable.append(Unreadable(str(folder), text[:_PROBLEM_CHARACTERS]))
        self.rows.sort(key=lambda row: (row.started_utc, row.folder), reverse=True)
        self.unreadable.sort(key=lambda one: one.folder)

    def measure(self, rows: Iterable[ResultRow]) -> list[ResultRow]:
        """Return some of the rows with their unit delays, and keep what is final."""
        found = []
        for row in rows:
            known = self._kept.row(Path(row.folder))
            if known is None:
                known = with_unit_delay(row)
                self._kept.add(known)
            found.append(known)
        self._kept.save()
        return found


def _folders(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield result folders at or below a folder, and why one cannot be one ('': it may be)."""
    errors: list[OSError] = []
    for name, inner, files in os.walk(root, onerror=errors.append):
        inner.sort()
        if "manifest.json" in files:
            inner.clear()
            yield Path(name), ""
        elif any(f"{t}.parquet" in files or f"{t}.parquet.parts" in inner for t in TABLES):
            inner.clear()
            yield Path(name), "has tables but no manifest.json: not a result, or a damaged one"
    for error in errors:
        if Path(str(error.filename)) == root and isinstance(error, FileNotFoundError):
            continue  # nothing has been run yet
        yield Path(str(error.filename)), f"cannot be read: {error.strerror}"


@cache
def _definition() -> str:
    """Return a hash of the code that defines what is kept: other code keeps anew."""
    sources = (Path(str(summary.__file__)), Path(__file__))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


class _Kept:
    """Rows of finished results, in the user's cache."""

    def __init__(self) -> None:
        folder = cache_folder()
        self._path: Path | None = folder / "results.json" if folder else None
        self._rows: dict[str, Any] = {}
        self._changed = False
        try:
            found = json.loads(self._path.read_text(encoding="utf-8")) if self._path else None
        except (OSError, ValueError):
            return
        if isinstance(found, dict) and found.get("definition") == _definition():
            self._rows = dict(found.get("rows") or {})

    def row(self, folder: Path) -> ResultRow | None:
        """Return what was kept of a folder, if its files are the same as then."""
        entry = self._rows.get(_key(folder))
        if not entry or entry.get("stamp") != _stamp(folder):
            return None
        try:
            return ResultRow(**{**entry["row"], "folder": str(folder)})
        except TypeError:
            return None

    def add(self, row: ResultRow) -> None:
        """Keep a row that will not change, which an unfinished run's may."""
        stamp = _stamp(Path(row.folder))
        if row.status != "unfinished" and stamp:
            self._rows[_key(Path(row.folder))] = {"stamp": stamp, "row": row.as_dict()}
            self._changed = True

    def save(self) -> None:
        """Write the newest rows; a cache that cannot be written is none."""
        if not (self._changed and self._path):
            return
        rows = dict(list(self._rows.items())[-_MOST_KEPT:])
        text = json.dumps({"definition": _definition(), "rows": rows})
        try:
            write_atomically(self._path, text)
        except OSError:
            return
        self._changed = False


def _key(folder: Path) -> str:
    return str(folder.absolute())


def _stamp(folder: Path) -> list[int]:
    """Return times and sizes of what a row is made from; [] where it is not there."""
    try:
        found = [(folder / name).stat() for name in ("manifest.json", "tasks.parquet")]
    except OSError:
        return []
    return [number for one in found for number in (one.st_mtime_ns, one.st_size, one.st_ino)]

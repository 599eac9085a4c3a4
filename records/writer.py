"""Writes a result folder while the run goes, so that a killed run leaves a readable one.

Rows are kept for a few seconds and then written as a part, ``tasks.parquet.parts/0001.parquet``;
every file appears under its name only when it is complete. ``close`` merges the parts into
``tasks.parquet``. What a killed run loses is the rows of its last few seconds.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import pyarrow as pa
import pyarrow.parquet as pq

from model.errors import UserError, as_user_error
from model.scenario import Scenario
from records.layout import FORMAT, README, part_files, parts_folder
from records.ownership import give_to_user, make_folder
from records.provenance import (
    as_typed,
    code_sha256,
    command_text,
    git_state,
    machine,
    package_versions,
    utc_now,
)
from records.schema import SCHEMA_VERSION, TABLES

MERGE_ROWS = 100_000
"""Rows of a row group of a merged table."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a run is, for its folder's name and its manifest.

    Attributes:
        scenario: as resolved.
        policy: name of the policy, as asked for.
        seed: of tasks, frequencies and policy; None: not to be known before the end, when it is
            given to ``ResultWriter.close``. Until then only this user can enter the folder.
        world: ``emulation`` or ``simulation``.
        speedup: scenario seconds per real second (1 in the simulation).
        policy_params: parameters of the policy, as used.
        command_line: ``sys.argv``, which the manifest has as a shell takes it.
        run_id: short and unique; drawn if not given.
        extra: further entries of the manifest, e.g. a checkpoint's hash.
    """

    scenario: Scenario
    policy: str
    seed: int | None
    world: Literal["emulation", "simulation"]
    speedup: float = 1.0
    policy_params: Mapping[str, object] = field(default_factory=dict)
    command_line: Sequence[str] = ()
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    extra: Mapping[str, object] = field(default_factory=dict)


def result_folder(root: Path, info: RunInfo) -> Path:
    """``<root>/<scenario>/<policy>/seed<k>/<UTC time>-<run id>``; not created.

    With ``judged`` for ``seed<k>`` where the seed is not to be known yet.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    policy = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", info.policy).strip(".-") or "policy"
    seed = "judged" if info.seed is None else f"seed{info.seed}"
    return root / info.scenario.name / policy / seed / f"{stamp}-{info.run_id}"


def _clear_errors(path: Path) -> AbstractContextManager[None]:
    hint = "; what was written before stays readable"
    return as_user_error(f"{path}: cannot be written", hint)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that it is there as a whole or not at all. Raises ``OSError``."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        give_to_user(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class _TableWriter:
    """One table: rows in memory, parts on disk, a single file at the end."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema):
        self.name, self.schema = name, schema
        self._columns = frozenset(schema.names)
        self._folder = folder
        self._file = folder / f"{name}.parquet"
        self._parts = parts_folder(folder, name)
        self._rows: list[Mapping[str, object]] = []
        self._batches: list[pa.Table] = []
        self._written = 0
        self.pending = 0

    def add_rows(self, rows: Iterable[Mapping[str, object]]) -> None:
        for row in rows:
            if not row.keys() <= self._columns:
                raise ValueError(f"{self.name}: no column {sorted(row.keys() - self._columns)}")
            self._rows.append(row)
            self.pending += 1

    def add_columns(self, columns: Mapping[str, Any]) -> None:
        if not columns.keys() <= self._columns:
            raise ValueError(f"{self.name}: no column {sorted(columns.keys() - self._columns)}")
        self._rows_to_batch()
        count = len(next(iter(columns.values())))
        arrays = [
            pa.array(columns[f.name], type=f.type, from_pandas=True)
            if f.name in columns
            else pa.nulls(count, f.type)
            for f in self.schema
        ]
        self._batches.append(pa.Table.from_arrays(arrays, schema=self.schema))
        self.pending += count

    def _rows_to_batch(self) -> None:
        if self._rows:
            self._batches.append(pa.Table.from_pylist(self._rows, schema=self.schema))
            self._rows = []

    def flush(self) -> None:
        """Write what is pending as one more part."""
        if not self.pending:
            return
        self._rows_to_batch()
        path = self._parts / f"{self._written + 1:04d}.parquet"
        with _clear_errors(path):
            make_folder(self._parts)
            self._write(path, self._batches)
        self._written += 1
        self._batches, self.pending = [], 0

    def merge(self) -> None:
        """Turn the parts into the table's single file."""
        with _clear_errors(self._file):
            self._write(self._file, self._merged_parts())
            shutil.rmtree(self._parts, ignore_errors=True)

    def _merged_parts(self) -> Iterator[pa.Table]:
        held: list[pa.Table] = []
        for path in part_files(self._folder, self.name):
            held.append(pq.read_table(path))
            if sum(t.num_rows for t in held) >= MERGE_ROWS:
                yield pa.concat_tables(held)
                held = []
        if held:
            yield pa.concat_tables(held)

    def _write(self, path: Path, tables: Iterable[pa.Table]) -> None:
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with pq.ParquetWriter(temporary, self.schema, compression="zstd") as writer:
                for table in tables:
                    writer.write_table(table)
            give_to_user(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class ResultWriter:
    """One result folder, from the run's start to its end.

    As a context manager it closes itself, with exit status 0, or 1 after an exception (130 after
    Ctrl-C). Raises ``UserError`` where the folder or a part of it cannot be written (disk full, no
    permission); what was written before stays readable.

    Attributes:
        folder: the result folder.
        manifest: its manifest so far.
    """

    def __init__(
        self, folder: Path, info: RunInfo, *, flush_rows: int = 50_000, flush_s: float = 5.0
    ):
        self.folder = folder
        self._flush_rows, self._flush_s = flush_rows, flush_s
        self._flushed_at = time.monotonic()
        self._tables = {name: _TableWriter(folder, name, s) for name, s in TABLES.items()}
        self._closed = False
        self.manifest: dict[str, Any] = _manifest(info)
        with _clear_errors(folder):
            make_folder(folder.parent if info.seed is None else folder)
            if info.seed is None:
                folder.mkdir(mode=0o700)
            write_atomically(folder / "README.txt", README)
            self._write_manifest()
            self._log = (folder / "log.jsonl").open("a", encoding="utf-8", buffering=1)
            give_to_user(folder / "log.jsonl")

    def append(self, table: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Add rows; a column that a row leaves out is null. ``ValueError`` for unknown columns."""
        self._tables[table].add_rows(rows)
        self._flush_if_due(table)

    def append_columns(self, table: str, columns: Mapping[str, Any]) -> None:
        """Add many rows as arrays of equal length; NaN becomes null, as a left-out column is."""
        self._tables[table].add_columns(columns)
        self._flush_if_due(table)

    def log(self, event: str, level: str = "info", **fields: object) -> None:
        """Add a line to ``log.jsonl``, at once on disk."""
        entry = {"utc": utc_now(), "level": level, "event": event, **fields}
        with _clear_errors(self.folder / "log.jsonl"):
            self._log.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")

    def update_manifest(self, **entries: object) -> None:
        """Set entries of the manifest, at once on disk."""
        self.manifest |= entries
        with _clear_errors(self.folder / "manifest.json"):
            self._write_manifest()

    def flush(self) -> None:
        """Write all pending rows as parts."""
        self._flushed_at = time.monotonic()
        for table in self._tables.values():
            table.flush()

    def close(self, exit_status: int = 0, **entries: object) -> None:
        """End the result: one file a table, the end in the manifest. A second call does nothing.

        Where the tables cannot be completed (disk full) their parts stay, and the manifest, if it
        still can be written, has that error as ``write_error``.
        """
        if self._closed:
            return
        self._closed = True
        ending: dict[str, object] = {"ended_utc": utc_now(), "exit_status": exit_status, **entries}
        try:
            self.flush()
            for table in self._tables.values():
                table.merge()
        except UserError as error:
            ending |= {"write_error": str(error), "exit_status": exit_status or 1}
            raise
        finally:
            try:
                with _clear_errors(self.folder / "log.jsonl"):
                    self._log.close()
            finally:
                self.update_manifest(**ending)

    def _flush_if_due(self, table: str) -> None:
        late = time.monotonic() - self._flushed_at >= self._flush_s
        if late or self._tables[table].pending >= self._flush_rows:
            self.flush()

    def _write_manifest(self) -> None:
        text = json.dumps(self.manifest, indent=2, ensure_ascii=False, default=str)
        write_atomically(self.folder / "manifest.json", text + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        try:
            self.close(130 if interrupted else 1, error=f"{type(error).__name__}: {error}")
        except UserError:
            # The first error is what the user needs to see.
            return


def _manifest(info: RunInfo) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "run_id": info.run_id,
        "scenario": info.scenario.model_dump(mode="json"),
        "policy": info.policy,
        "policy_params": dict(info.policy_params),
        "seed": info.seed,
        "world": info.world,
        "speedup": info.speedup,
        "command_line": as_typed(info.command_line),
        "command": command_text(info.command_line),
        "started_utc": utc_now(),
        "ended_utc": None,
        "exit_status": None,
        "git": git_state(),
        "code_sha256": code_sha256(info.world),
        "packages": package_versions(),
        "machine": machine(),
        "warnings": list(info.scenario.notes),
        **info.extra,
    }

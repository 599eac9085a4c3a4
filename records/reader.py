"""Reads result folders: finished ones, and what a killed run left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from model.errors import UserError
from model.network import UNIT_KINDS, build_network
from model.observation import TARGET_KINDS
from model.scenario import LINK_CLASSES, Scenario
from model.scenario.consistency import MAX_TASKS, mistakes
from model.text import is_unicode
from records.layout import FORMAT, part_files
from records.manifest import complaint
from records.schema import KEYS, KEYS_LACKING, OUTCOMES, SCHEMA_VERSION, TABLES

MOST_MANIFEST_BYTES = 16 * 1024 * 1024
MOST_VALUES = 300_000_000
"""Of a table that is read at once, rows times columns: some 2.4 GB."""
_MOST_LETTERS = 200


@dataclass
class Result:
    """An opened result folder.

    Attributes:
        folder: where it lies.
        manifest: its manifest, as written.
        notes: what is missing or was skipped, in sentences; grows as tables are read.
    """

    folder: Path
    manifest: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether the run ended by itself (in whatever way) rather than being killed."""
        return self.manifest.get("exit_status") is not None

    @property
    def verdict(self) -> str:
        """``valid``, ``invalid: why``, or ``no verdict``, of an emulation on its own numbers."""
        return str((self.manifest.get("fidelity") or {}).get("verdict", "no verdict"))

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario, as it was resolved. Raises ``UserError`` if it cannot be read any more."""
        try:
            scenario = Scenario.model_validate(self.manifest["scenario"])
        except ValidationError as error:
            first = " ".join(str(error).split())[:_MOST_LETTERS]
            raise UserError(f"{self.folder}: its scenario cannot be read: {first}") from None
        for path, words in mistakes(scenario):
            where = ".".join(map(str, path))
            raise UserError(f"{self.folder}: its scenario cannot be read: {where}: {words}")
        return scenario

    def table(
        self, name: str, columns: Sequence[str] | None = None, *, packed: bool = False
    ) -> pa.Table:
        """A table of ``records.schema.TABLES``, rows in the order in which they were written.

        ``packed``: columns of text come as dictionaries, which are read twice as fast.

        Empty where nothing was written. Raises ``UserError`` for files that cannot be read; a last
        part that is truncated is left out, which ``notes`` says.
        """
        schema = TABLES[name]
        wanted = list(columns or schema.names)
        whole = self.folder / f"{name}.parquet"
        if whole.exists():
            return self._read(whole, name, wanted, packed).unify_dictionaries()
        tables = list(self._read_parts(name, wanted, packed))
        if not tables:
            return pa.schema([schema.field(c) for c in wanted]).empty_table()
        # Every part has dictionaries of its own, which most of Arrow cannot work with.
        return pa.concat_tables(tables).unify_dictionaries()

    def _read_parts(self, name: str, columns: list[str], packed: bool) -> Iterator[pa.Table]:
        paths = part_files(self.folder, name)
        for path in paths:
            try:
                yield self._read(path, name, columns, packed)
            except UserError:
                if path != paths[-1]:
                    raise
                self._note(f"{path}: the last part is truncated and was left out")

    def _read(self, path: Path, name: str, columns: list[str], packed: bool) -> pa.Table:
        try:
            with pq.ParquetFile(path) as file:
                _require(path, name, columns, file)
            # One file, not a data set: folder names such as seed=1 are no columns.
            texts = {c for c in columns if pa.types.is_string(TABLES[name].field(c).type)}
            table = pq.ParquetFile(path, read_dictionary=texts if packed else ()).read(
                columns=columns
            )
            table.validate(full=True)
        except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:_MOST_LETTERS]
            raise UserError(f"{path}: truncated or no Parquet file ({reason})") from None
        for column in columns:
            if table[column].null_count and column in KEYS and (name, column) not in KEYS_LACKING:
                raise UserError(f"{path}: column {column} lacks values")
            self._require_possible(path, column, table[column])
        return table

    @cached_property
    def _words(self) -> dict[str, Collection[str]]:
        """What may stand in columns of names."""
        network = build_network(self.scenario)
        units = {unit.name for unit in network.units}
        return {
            "device": {device.name for device in network.devices},
            "target": units,
            "unit": units,
            "node": units,
            "link": network.links,
            "switch": network.nodes,
            "neighbour": network.nodes,
            "outcome": OUTCOMES,
            "kind": UNIT_KINDS,
            "target_kind": TARGET_KINDS,
            "link_class": LINK_CLASSES,
        }

    def _require_possible(self, path: Path, name: str, column: pa.ChunkedArray) -> None:
        """Raise ``UserError`` for names that the scenario does not have, and for no such slot."""
        if name in self._words:
            strange = set(column.unique().to_pylist()) - {None} - set(self._words[name])
            for word in sorted(strange)[:1]:
                raise UserError(f"{path}: column {name} has '{word[:20]}', unknown in this run")
        most = {"slot": self.scenario.slots, "task": 2 * MAX_TASKS}.get(name)
        if most is not None and len(column):
            low, high = pc.min_max(column).as_py().values()
            if low < 0 or high >= most:
                raise UserError(f"{path}: column {name} has {low} to {high}, beyond {most}")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _require(path: Path, name: str, columns: list[str], file: pq.ParquetFile) -> None:
    """Raise ``UserError`` unless a file has the columns, of their types, and would fit here."""
    found = file.schema_arrow
    for column in columns:
        if column not in found.names:
            raise UserError(f"{path}: has no column {column}")
        wanted = TABLES[name].field(column).type
        if found.names.count(column) > 1 or found.field(column).type != wanted:
            raise UserError(f"{path}: column {column} is not of type {wanted}")
    # A few bytes can stand for a billion equal values.
    if file.metadata.num_rows * len(columns) > MOST_VALUES:
        rows = file.metadata.num_rows
        raise UserError(f"{path}: has {rows} rows, more than can be read at once")


def open_result(folder: str | Path) -> Result:
    """Open a result folder.

    Raises ``UserError`` if it is none, or was written in another version of the format.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    manifest = _manifest_of(path)
    written = manifest.get("schema_version")
    if written != SCHEMA_VERSION:
        raise UserError(
            f"{folder}: has version {str(written)[:20]} of the result format, this lab reads "
            f"version {SCHEMA_VERSION}; use the lab of commit {_commit(manifest)}"
        )
    if wrong := complaint(manifest):
        raise UserError(f"{path}: is damaged: {wrong}")
    result = Result(folder, manifest)
    if not result.finished:
        result.notes.append(f"{folder}: the run was killed; its last seconds may be missing")
    if manifest.get("write_error"):
        result.notes.append(f"{folder}: {manifest['write_error']}")
    return result


def _manifest_of(path: Path) -> dict[str, Any]:
    """A manifest as written, of any version. Raises ``UserError`` if it is none."""
    if not path.is_file():
        raise UserError(f"{path.parent}: is no result folder (it has no manifest.json)")
    try:
        if path.stat().st_size > MOST_MANIFEST_BYTES:
            raise UserError(f"{path}: is too large for a manifest")
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{path}: cannot be read: nested too deeply") from None
    if not is_unicode(json.dumps(manifest, ensure_ascii=False)):
        raise UserError(f"{path}: cannot be read: it has half a surrogate pair for text")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path}: is no manifest of a result of this lab")
    return manifest


def _commit(manifest: dict[str, Any]) -> str:
    git = manifest.get("git")
    return str(git.get("commit", "unknown"))[:12] if isinstance(git, dict) else "unknown"


def find_results(root: str | Path) -> list[Path]:
    """Result folders at or below a folder, in order of path. Raises ``UserError`` for no folder."""
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: there is no such folder")
    found = []
    for name, inner, files in os.walk(root):
        if "manifest.json" in files:
            found.append(Path(name))
            inner.clear()
    return sorted(found)

"""Reads result folders: finished ones, and what a killed run left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from model.errors import UserError
from model.scenario import Scenario
from records.layout import FORMAT, part_files
from records.schema import SCHEMA_VERSION, TABLES


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
        return str(self.manifest.get("fidelity", {}).get("verdict", "no verdict"))

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario, as it was resolved. Raises ``UserError`` if it cannot be read any more."""
        try:
            return Scenario.model_validate(self.manifest["scenario"])
        except (KeyError, ValidationError) as error:
            first = " ".join(str(error).split())
            raise UserError(f"{self.folder}: its scenario cannot be read: {first}") from None

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
            return self._read(whole, wanted, packed).unify_dictionaries()
        tables = list(self._read_parts(name, wanted, packed))
        if not tables:
            return pa.schema([schema.field(c) for c in wanted]).empty_table()
        # Every part has dictionaries of its own, which most of Arrow cannot work with.
        return pa.concat_tables(tables).unify_dictionaries()

    def _read_parts(self, name: str, columns: list[str], packed: bool) -> Iterator[pa.Table]:
        paths = part_files(self.folder, name)
        for path in paths:
            try:
                yield self._read(path, columns, packed)
            except UserError:
                if path != paths[-1]:
                    raise
                self._note(f"{path}: the last part is truncated and was left out")

    def _read(self, path: Path, columns: list[str], packed: bool) -> pa.Table:
        try:
            schema = pq.read_schema(path)
            lacking = [c for c in columns if c not in schema.names]
            if lacking:
                raise UserError(f"{path}: has no column {', '.join(lacking)}")
            # One file, not a data set: folder names such as seed=1 are no columns.
            words = [c for c in columns if packed and pa.types.is_string(schema.field(c).type)]
            return pq.ParquetFile(path, read_dictionary=words).read(columns=columns)
        except (OSError, pa.ArrowException) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path}: truncated or no Parquet file ({reason})") from None

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def open_result(folder: str | Path) -> Result:
    """Open a result folder.

    Raises ``UserError`` if it is none, or was written in another version of the format.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not path.is_file():
        raise UserError(f"{folder}: is no result folder (it has no manifest.json)")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path}: is no manifest of a result of this lab")
    written = manifest.get("schema_version")
    if written != SCHEMA_VERSION:
        raise UserError(
            f"{folder}: has version {written} of the result format, this lab reads version "
            f"{SCHEMA_VERSION}; use the lab of commit {_commit(manifest)}"
        )
    result = Result(folder, manifest)
    if not result.finished:
        result.notes.append(f"{folder}: the run was killed; its last seconds may be missing")
    if "write_error" in manifest:
        result.notes.append(f"{folder}: {manifest['write_error']}")
    return result


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

"""The folder of a sweep: its cells, what became of each, an index over all, and a lock.

``cells/<key>/cell.json`` says what became of a cell; its result lies beside it, an ordinary result
folder (or a training's). ``index.parquet`` is made from these files and can be made again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from experiments.sweep.cell import Cell, RunCell, TrainCell, device_count, training_seed
from experiments.sweep.execute import Outcome
from experiments.sweep.plan import Plan
from model.errors import UserError
from records.ownership import give_to_user, give_tree_to_user, make_folder
from records.plain import read_object
from records.provenance import utc_now
from records.writer import write_atomically

INDEX = "index.parquet"
_README = """\
A sweep of crowd-edge-lab; its file is sweep.yaml.

index.parquet   a row for every cell, with its settings and metrics: ./lab sweep FILE --query "…"
cells/<key>/    a cell: cell.json says what became of it; its result folder lies beside that

The key is a hash of everything that decides a cell's outcome, the code included.
"""
_FACTS = (
    ("key", pa.string()),
    ("kind", pa.string()),
    ("blocks", pa.list_(pa.string())),
    ("scenario", pa.string()),
    ("policy", pa.string()),
    ("params", pa.string()),
    ("settings", pa.string()),
    ("seed", pa.int64()),
    ("training_seed", pa.int64()),
    ("training_key", pa.string()),
    ("training_settings", pa.string()),
    ("devices", pa.int64()),
    ("slots", pa.int64()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("fidelity", pa.string()),
    ("seconds", pa.float64()),
    ("utc", pa.string()),
    ("machine", pa.string()),
    ("result", pa.string()),
)
"""Columns that every index has; ``params`` and settings are JSON. Metrics follow."""


class Book:
    """What is known of the cells of a sweep in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def cell_folder(self, key: str) -> Path:
        """Where a cell lies."""
        return self.folder / "cells" / key

    def begin(self, name: str, text: str) -> None:
        """Make the folder and note the sweep's file in it.

        Raises ``UserError`` if it cannot be written, or is that of another sweep.
        """
        noted, mark = self.folder / "sweep.yaml", f"# Sweep {name}, as it was last begun."
        with _written(self.folder):
            was = noted.read_text(encoding="utf-8").splitlines() if noted.is_file() else [mark]
            if was[:1] != [mark]:
                raise UserError(
                    f"{self.folder}: is the folder of another sweep; take another --out"
                )
            make_folder(self.folder / "cells")
            write_atomically(self.folder / "README.txt", _README)
            write_atomically(noted, f"{mark}\n{text}")

    def outcome(self, key: str) -> Outcome | None:
        """What became of a cell, done or failed; None if it is open, or that cannot be read."""
        data = read_object(self.cell_folder(key) / "cell.json")
        names = {f.name for f in fields(Outcome)}
        if data is None or not names <= data.keys():
            return None
        return Outcome(**{name: data[name] for name in names})

    def note(self, cell: Cell, outcome: Outcome) -> None:
        """Write down what became of a cell. Raises ``UserError`` if that cannot be written."""
        folder = self.cell_folder(cell.key)
        with _written(folder):
            make_folder(folder)
            text = json.dumps({"cell": cell.label, **asdict(outcome)}, indent=1)
            write_atomically(folder / "cell.json", text + "\n")
            give_tree_to_user(folder)

    def hand_over(self, key: str) -> None:
        """Give what was done of a cell to the user behind sudo, who may want to go on with it."""
        folder = self.cell_folder(key)
        if folder.is_dir():
            give_tree_to_user(folder)

    def forget(self, key: str) -> None:
        """Open a cell again."""
        (self.cell_folder(key) / "cell.json").unlink(missing_ok=True)

    def checkpoint(self, cell: TrainCell) -> Path | None:
        """The policy that a training made; None as long as it has not."""
        outcome = self.outcome(cell.key)
        if outcome is None or outcome.status != "done":
            return None
        return self.cell_folder(cell.key) / outcome.result / "best.npz"

    def strangers(self, plan: Plan) -> list[Path]:
        """Cells in the folder that are not of the plan: of another version of file or code."""
        cells = self.folder / "cells"
        there = sorted(cells.iterdir()) if cells.is_dir() else []
        return [path for path in there if path.name not in plan.cells]

    def prune(self, plan: Plan) -> int:
        """Remove the cells that are not of the plan; returns how many those were."""
        strangers = self.strangers(plan)
        for path in strangers:
            shutil.rmtree(path)
        return len(strangers)

    def write_index(self, plan: Plan) -> Path:
        """Make the index of a plan. Raises ``UserError`` if it cannot be written."""
        path = self.folder / INDEX
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: nothing of this sweep has been run yet")
        temporary = path.with_name(f".{INDEX}.{os.getpid()}.tmp")
        with _written(path):
            try:
                pq.write_table(self._index(plan), temporary, compression="zstd")
                give_to_user(temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        return path

    def _index(self, plan: Plan) -> pa.Table:
        rows = [
            _facts(cell, plan.blocks[key], self.outcome(key)) for key, cell in plan.cells.items()
        ]
        facts = dict(_FACTS)
        metrics = dict.fromkeys(name for row in rows for name in row if name not in facts)
        schema = pa.schema([*_FACTS, *((name, pa.float64()) for name in metrics)])
        return pa.Table.from_pylist(rows, schema=schema)


def _facts(cell: Cell, blocks: tuple[str, ...], outcome: Outcome | None) -> dict[str, Any]:
    what = outcome or Outcome("stopped")
    trained = cell.trained if isinstance(cell, RunCell) else None
    params = dict(cell.params) if isinstance(cell, RunCell) else {}
    return {
        **what.metrics,
        "key": cell.key,
        "kind": cell.kind,
        "blocks": list(blocks),
        "scenario": cell.scenario.name,
        "policy": cell.policy,
        "params": json.dumps(params),
        "settings": json.dumps(dict(cell.settings)),
        "seed": cell.seed,
        "training_seed": training_seed(cell),
        "training_key": trained.key if trained else None,
        "training_settings": json.dumps(dict(trained.settings)) if trained else None,
        "devices": device_count(cell.scenario),
        "slots": cell.scenario.slots if isinstance(cell, RunCell) else cell.config.slots,
        "status": what.status if outcome else "open",
        "reason": what.reason,
        "fidelity": what.fidelity or None,
        "seconds": what.seconds if outcome else None,
        "utc": what.utc or None,
        "machine": what.machine or None,
        "result": f"cells/{cell.key}/{what.result}" if what.result else None,
    }


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: cannot be written: {error.strerror or error}; what is done "
            "is kept, and the same command goes on from there"
        ) from error


@contextmanager
def locked(folder: Path, shard: str = "") -> Iterator[None]:
    """Hold a sweep's folder: alone, or beside the other shards of it.

    Raises ``UserError`` if another sweep holds it, or it cannot be written.
    """
    with ExitStack() as held, _written(folder):
        make_folder(folder)
        _lock(held, folder / ".lock", fcntl.LOCK_SH if shard else fcntl.LOCK_EX)
        if shard:
            _lock(held, folder / f".lock-{shard.replace('/', '-of-')}", fcntl.LOCK_EX)
        yield


def _lock(held: ExitStack, path: Path, mode: int) -> None:
    file = held.enter_context(path.open("a+", encoding="utf-8"))
    give_to_user(path)
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read().strip() or "another process"
        raise UserError(
            f"{path.parent}: a sweep is under way there ({who}); wait for it, or take another --out"
        ) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {os.uname().nodename}, since {utc_now()}\n")
    file.flush()


def ask(index: Path, question: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows of an SQL query over the table ``cells``. Raises ``UserError``."""
    with duckdb.connect(":memory:") as base:
        # Extensions would be fetched from the network.
        base.execute("SET autoinstall_known_extensions = false")
        base.execute("CREATE TABLE cells AS SELECT * FROM read_parquet(?)", [str(index)])
        try:
            found = base.execute(question)
            return [column[0] for column in found.description or ()], found.fetchall()
        except duckdb.Error as error:
            raise UserError(f"--query: {' '.join(str(error).split())}") from None


def counts(plan: Plan, book: Book) -> Mapping[str, str]:
    """Status of every cell of a plan by key: done, failed or open."""
    found = {key: book.outcome(key) for key in plan.cells}
    return {key: outcome.status if outcome else "open" for key, outcome in found.items()}

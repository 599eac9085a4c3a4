"""The API of a whole run shows what the result folder will hold."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from cli.api_client import RunningApi
from emulation.host.ledger import RUNS_DIR
from model.errors import UserError

pytestmark = pytest.mark.ovs
ROOT = Path(__file__).resolve().parents[2]
SLOTS = 8


def _runs() -> set[str]:
    return {d.name for d in RUNS_DIR.iterdir()} if RUNS_DIR.exists() else set()


def _last_history(run: subprocess.Popen[bytes], before: set[str]) -> tuple[str, dict[int, Any]]:
    """Ask until the run ends; its id, and its slots as last seen."""
    seen: dict[int, Any] = {}
    run_id = ""
    while run.poll() is None:
        time.sleep(0.1)
        for name in _runs() - before:
            try:
                with RunningApi(name, RUNS_DIR / name).client() as client:
                    if client.get("/health").json()["scenario"] != "mini":
                        continue
                    slots = client.get(f"/history?last={SLOTS}").json()["slots"]
            except (UserError, httpx.HTTPError):
                continue
            run_id = name
            seen |= {s["slot"]: s for s in slots}
    return run_id, seen


def test_what_it_shows_is_what_is_recorded(tmp_path: Path) -> None:
    before = _runs()
    words = ["run", "mini", "--slots", str(SLOTS), "--speedup", "2", "--out", str(tmp_path)]
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "cli", *words], cwd=ROOT, stdout=log, stderr=log
        )
        run_id, seen = _last_history(run, before)
    assert run.returncode == 0, (tmp_path / "log").read_text()
    (folder,) = (p for p in tmp_path.rglob(f"*-{run_id}") if p.is_dir())
    links = pq.read_table(folder / "links.parquet").to_pylist()
    units = pq.read_table(folder / "units.parquet").to_pylist()
    assert len(seen) >= SLOTS - 1, sorted(seen)
    for slot in range(SLOTS - 2):
        assert _rows(seen[slot]["links"], "link") == _recorded(links, slot, "link")
        assert _rows(seen[slot]["units"], "unit") == _recorded(units, slot, "unit")


def _rows(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return {row[key]: pytest.approx(_numbers(row), rel=1e-9) for row in rows}


def _recorded(rows: list[dict[str, Any]], slot: int, key: str) -> dict[str, Any]:
    return {row[key]: _numbers(row) for row in rows if row["slot"] == slot}


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and name not in ("slot", "time_s")
    }

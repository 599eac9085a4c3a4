"""Lists of results: quick, newest first, and what cannot be read is a line."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from metrics import listing, summary
from metrics.listing import Listing
from metrics.summary import summarise, unit_delay
from model.scenario.load import load_scenario
from records.reader import open_result
from records.writer import ResultWriter, RunInfo, result_folder

SCENARIO = load_scenario("mini")


def written(root: Path, policy: str = "local", seed: int = 1, *, known_s: float = 3.0) -> Path:
    """Write a finished result of one task: born at 1 s, 2 MB."""
    info = RunInfo(SCENARIO, policy, seed, "simulation")
    with ResultWriter(result_folder(root, info), info) as writer:
        row = {"task": 0, "device": "c1d1", "born_s": 1.0, "known_s": known_s, "data_mb": 2.0,
               "work_ghz_s": 1.0, "outcome": "done", "target_kind": "self"}  # fmt: skip
        writer.append("tasks", [row])
        writer.update_manifest(complete=True, ran_s=SCENARIO.duration_s)
    return writer.folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr(listing, "cache_folder", lambda: folder)
    return folder


def delays(root: Path) -> list[float | None]:
    found = Listing(root)
    return [row.unit_delay for row in found.measure(found.rows)]


def test_unit_delay_is_the_summarys_and_is_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "r")
    expected = summarise(open_result(folder)).unit_delay
    assert unit_delay(open_result(folder)) == expected
    assert delays(tmp_path / "r") == [expected] == [1.0]
    monkeypatch.setattr(listing, "open_result", lambda _: pytest.fail("read again"))
    assert delays(tmp_path / "r") == [1.0]


def test_what_was_kept_of_another_folder_or_other_code_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "r")
    assert delays(tmp_path / "r") == [1.0]
    other = written(tmp_path / "other", known_s=5.0)
    shutil.copy(other / "tasks.parquet", folder / "tasks.parquet")
    assert delays(tmp_path / "r") == [2.0]
    monkeypatch.setattr(listing, "_definition", lambda: "another")
    monkeypatch.setattr(summary, "unit_delay", lambda _: 7.0)
    assert delays(tmp_path / "r") == [7.0]


def test_a_damaged_cache_is_none(tmp_path: Path, cache: Path) -> None:
    written(tmp_path / "r")
    for text in ("{", "[]", json.dumps({"definition": listing._definition(), "rows": {"x": 1}})):
        (cache / "results.json").write_text(text)
        assert delays(tmp_path / "r") == [1.0]
    entry = {"stamp": listing._stamp(next((tmp_path / "r").glob("*/*/*/*"))), "row": {"no": 1}}
    rows = {str(next((tmp_path / "r").glob("*/*/*/*"))): entry}
    (cache / "results.json").write_text(
        json.dumps({"definition": listing._definition(), "rows": rows})
    )
    assert delays(tmp_path / "r") == [1.0]


def test_a_run_that_goes_on_is_unfinished_and_not_kept(tmp_path: Path, cache: Path) -> None:
    info = RunInfo(SCENARIO, "local", 1, "emulation")
    writer = ResultWriter(result_folder(tmp_path / "r", info), info)
    found = Listing(tmp_path / "r")
    assert [row.status for row in found.measure(found.rows)] == ["unfinished"]
    assert not (cache / "results.json").exists()
    writer.close(130)
    assert [row.status for row in Listing(tmp_path / "r").rows] == ["interrupted"]


def test_what_cannot_be_read_is_listed_beside_the_rest(tmp_path: Path) -> None:
    root = tmp_path / "r"
    written(root)
    cut = written(root, "random")
    (cut / "manifest.json").write_text("{")
    lost = written(root, "greedy")
    (lost / "manifest.json").unlink()
    foreign = root / "foreign"
    foreign.mkdir()
    (foreign / "manifest.json").write_text('{"format": "web app"}')
    (root / "notes").mkdir()
    old = written(root, "own-edge")
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    found = Listing(root)
    assert [row.policy for row in found.rows] == ["local"]
    assert {Path(one.folder).name for one in found.unreadable} == {
        cut.name, lost.name, "foreign", old.name,
    }  # fmt: skip
    assert all(one.problem and "\n" not in one.problem for one in found.unreadable)


def test_damaged_tables_cost_the_unit_delay_alone(tmp_path: Path) -> None:
    folder = written(tmp_path / "r")
    (folder / "tasks.parquet").write_bytes(b"PAR1")
    assert delays(tmp_path / "r") == [None]


def test_a_thousand_results_take_seconds(tmp_path: Path) -> None:
    one = written(tmp_path / "r")
    manifest = json.loads((one / "manifest.json").read_text())
    for k in range(1000):
        copy = tmp_path / "r" / "many" / str(k)
        copy.mkdir(parents=True)
        text = json.dumps({**manifest, "run_id": f"{k:08x}", "started_utc": f"{3000 + k}"})
        (copy / "manifest.json").write_text(text)
        os.link(one / "tasks.parquet", copy / "tasks.parquet")
    begin = time.process_time()
    found = Listing(tmp_path / "r")
    rows = found.measure(found.rows[:30])
    assert time.process_time() - begin < 5.0
    assert len(found.rows) == 1001
    assert [row.id for row in rows[:2]] == ["000003e7", "000003e6"]

"""Result folders: written, killed, truncated, full, owned."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.errors import UserError
from model.scenario.load import load_scenario
from records.ownership import give_tree_to_user, make_folder
from records.reader import find_results, open_result
from records.schema import TABLES
from records.writer import ResultWriter, RunInfo, result_folder

ROOT = Path(__file__).parent.parent.parent


def info(policy: str = "local") -> RunInfo:
    return RunInfo(load_scenario("mini"), policy, 3, "simulation", command_line=("lab", "x"))


def tasks(first: int, count: int) -> list[dict[str, object]]:
    return [{"task": k, "device": "c1d1", "born_s": float(k)} for k in range(first, first + count)]


def test_finished_folder(tmp_path: Path) -> None:
    folder = result_folder(tmp_path, info())
    assert folder.parent == tmp_path / "mini" / "local" / "seed3"
    with ResultWriter(folder, info()) as writer:
        writer.append("tasks", tasks(0, 2))
        writer.flush()
        assert (folder / "tasks.parquet.parts" / "0001.parquet").exists()
        writer.append("tasks", tasks(2, 1))
        writer.append_columns(
            "tasks", {"task": [3, 4], "device": ["c1d1"] * 2, "data_mb": [1.5, float("nan")]}
        )
        writer.log("hello", slot=3)
        writer.update_manifest(fidelity={"verdict": "valid", "valid": True})
    result = open_result(folder)
    assert result.finished
    assert result.notes == []
    assert result.scenario == load_scenario("mini")
    assert result.table("tasks")["task"].to_pylist() == [0, 1, 2, 3, 4]
    assert result.table("tasks", ["data_mb"])["data_mb"].to_pylist() == [None] * 3 + [1.5, None]
    for name, schema in TABLES.items():
        assert (folder / f"{name}.parquet").exists()
        assert result.table(name).schema.equals(schema)
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["README.txt", "log.jsonl", "manifest.json", *(f"{t}.parquet" for t in TABLES)]
    )
    entry = json.loads((folder / "log.jsonl").read_text())
    assert (entry["event"], entry["slot"]) == ("hello", 3)
    assert find_results(tmp_path) == [folder]


@pytest.mark.parametrize("finished", [False, True])
def test_text_as_dictionaries_over_several_parts(
    tmp_path: Path, finished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("records.writer.MERGE_ROWS", 1)
    writer = ResultWriter(tmp_path / "r", info())
    for target in ("c1d1", "c1d2", "c1d1", None):
        writer.append("tasks", [{"task": 1, "device": "c1d1", "target": target, "born_s": 0.0}])
        writer.flush()
    if finished:
        writer.close()
    table = open_result(tmp_path / "r").table("tasks", ["target", "born_s"], packed=True)
    assert table["target"].to_pylist() == ["c1d1", "c1d2", "c1d1", None]
    counts = table.group_by("target").aggregate([([], "count_all")]).to_pylist()
    assert {row["target"]: row["count_all"] for row in counts} == {"c1d1": 2, "c1d2": 1, None: 1}


def test_manifest(tmp_path: Path) -> None:
    with ResultWriter(tmp_path / "r", info()):
        pass
    manifest = open_result(tmp_path / "r").manifest
    for key in (
        "schema_version",
        "run_id",
        "git",
        "packages",
        "machine",
        "speedup",
        "policy_params",
    ):
        assert key in manifest
    assert (manifest["policy"], manifest["seed"], manifest["world"]) == ("local", 3, "simulation")
    assert manifest["exit_status"] == 0
    assert manifest["started_utc"] <= manifest["ended_utc"]
    assert manifest["started_utc"].endswith("Z")
    assert manifest["command_line"] == ["lab", "x"]
    assert manifest["packages"]["numpy"]
    assert manifest["machine"]["cpu_count"] >= 1


@pytest.mark.parametrize(("error", "status"), [(ValueError("no"), 1), (KeyboardInterrupt(), 130)])
def test_run_that_breaks_is_closed(tmp_path: Path, error: BaseException, status: int) -> None:
    def run() -> None:
        with ResultWriter(tmp_path / "r", info()) as writer:
            writer.append("tasks", tasks(0, 7))
            raise error

    with pytest.raises(type(error)):
        run()
    result = open_result(tmp_path / "r")
    assert result.manifest["exit_status"] == status
    assert result.manifest["error"].startswith(type(error).__name__)
    assert result.table("tasks").num_rows == 7


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    folder = tmp_path / "killed"
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.records.crashing_run", str(folder)], cwd=ROOT
    )
    deadline = time.monotonic() + 60
    parts = folder / "tasks.parquet.parts"
    while len(list(parts.glob("*.parquet")) if parts.exists() else []) < 4:
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    return folder


def test_killed_run_is_readable(killed: Path) -> None:
    result = open_result(killed)
    assert not result.finished
    assert "the run was killed" in result.notes[0]
    ids = result.table("tasks")["task"].to_pylist()
    assert ids == list(range(len(ids)))
    assert len(ids) >= 4
    assert result.table("units").num_rows > 0
    assert result.table("links").num_rows == 0
    assert len((killed / "log.jsonl").read_text().splitlines()) >= len(ids)


def test_truncated_parts(killed: Path) -> None:
    parts = sorted((killed / "tasks.parquet.parts").glob("*.parquet"))
    whole = open_result(killed).table("tasks").num_rows
    lost = pq.read_metadata(parts[-1]).num_rows
    os.truncate(parts[-1], parts[-1].stat().st_size // 2)
    result = open_result(killed)
    assert result.table("tasks").num_rows == whole - lost
    assert "the last part is truncated and was left out" in result.notes[-1]
    os.truncate(parts[0], 10)
    with pytest.raises(UserError, match="truncated or no Parquet file"):
        open_result(killed).table("tasks")


def test_truncated_table(tmp_path: Path) -> None:
    with ResultWriter(tmp_path / "r", info()) as writer:
        writer.append("tasks", tasks(0, 7))
    os.truncate(tmp_path / "r" / "tasks.parquet", 100)
    with pytest.raises(UserError, match=r"tasks\.parquet: truncated or no Parquet file"):
        open_result(tmp_path / "r").table("tasks")


def test_table_without_a_column(tmp_path: Path) -> None:
    with ResultWriter(tmp_path / "r", info()) as writer:
        writer.append("tasks", tasks(0, 1))
    path = tmp_path / "r" / "tasks.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["born_s"]), path)
    with pytest.raises(UserError, match="has no column born_s"):
        open_result(tmp_path / "r").table("tasks")


def test_folders_that_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no result folder"):
        open_result(tmp_path)
    for text, words in (
        ("{", "cannot be read"),
        ("[]", "is no manifest"),
        ('{"format": "other"}', "is no manifest"),
        (
            '{"format": "crowd-edge-lab result", "schema_version": 99, "git": {"commit": "abc"}}',
            "has version 99 of the result format, this lab reads version 1; use the lab of .* abc",
        ),
    ):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UserError, match=words):
            open_result(tmp_path)
    with pytest.raises(UserError, match="there is no such folder"):
        find_results(tmp_path / "nowhere")


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ResultWriter(tmp_path / "r", info())
    writer.append("tasks", tasks(0, 5))
    writer.flush()

    class FullDisk(pq.ParquetWriter):  # type: ignore[misc]
        def write_table(self, *_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("records.writer.pq.ParquetWriter", FullDisk)
    writer.append("tasks", tasks(5, 5))
    with pytest.raises(UserError, match="No space left on device; what was written before stays"):
        writer.flush()
    with pytest.raises(UserError, match="No space left"):
        writer.close()
    monkeypatch.undo()
    result = open_result(tmp_path / "r")
    assert result.table("tasks").num_rows == 5
    assert result.manifest["exit_status"] == 1
    assert "No space left" in result.notes[0]
    assert not list((tmp_path / "r").rglob(".*.tmp"))


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        ResultWriter(tmp_path / "file" / "r", info())


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    with ResultWriter(tmp_path / "r", info()) as writer:
        with pytest.raises(ValueError, match="tasks: no column"):
            writer.append("tasks", [{"tsk": 1}])
        with pytest.raises(ValueError, match="tasks: no column"):
            writer.append_columns("tasks", {"tsk": [1]})
    writer.close()  # A second time does nothing.


def test_policy_that_is_no_folder_name(tmp_path: Path) -> None:
    folder = result_folder(tmp_path, info("../../my.mod:Class k=1"))
    assert folder.relative_to(tmp_path).parts[1] == "my.mod-Class-k=1"
    assert result_folder(tmp_path, info("..")).relative_to(tmp_path).parts[1] == "policy"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_belong_to_the_user_behind_sudo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "12345")
    monkeypatch.setenv("SUDO_GID", "12346")
    root = tmp_path / "results"
    with ResultWriter(root / "a" / "r", info()) as writer:
        writer.append("tasks", tasks(0, 1))
        writer.flush()
        owners = {(p.stat().st_uid, p.stat().st_gid) for p in (root, *root.rglob("*"))}
        assert owners == {(12345, 12346)}
    assert all(p.stat().st_uid == 12345 for p in root.rglob("*"))
    assert tmp_path.stat().st_uid == 0
    (root / "late").write_text("")
    give_tree_to_user(root)
    assert (root / "late").stat().st_uid == 12345


def test_without_sudo_nothing_changes_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_UID", raising=False)
    monkeypatch.setattr("records.ownership.os.chown", lambda *_, **__: pytest.fail("chown"))
    make_folder(tmp_path / "a" / "b")
    give_tree_to_user(tmp_path)

"""The verbs `scenario` and `trace`."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli import main
from model.scenario.load import load_scenario
from model.shipped_scenarios import SCENARIO_FOLDER, scenario_names
from model.workload import generate_trace


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["scenario", "list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in scenario_names())


def test_show_prints_what_load_reads_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["scenario", "show", "case1-cloud", "--set", "slots=9"]) == 0
    path = tmp_path / "again.yaml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_scenario(path) == load_scenario("case1-cloud", {"slots": 9})
    assert main.main(["scenario", "show", "mini", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["slots"] == 30


def test_mistakes_are_lines_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("extends: case1\nslots: x\nslotz: 3\n", encoding="utf-8")
    assert main.main(["scenario", "check", str(path), "mini"]) == 1
    shown = capsys.readouterr()
    assert "mini: good (4 devices, 1 edge server, 30 slots of 1 s)" in shown.out
    assert shown.err.count("\n") == 2
    assert main.main(["scenario", "show", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("lab: ") == error.count("\n") == 2


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["scenario", "schema", "--stdout"]) == 0
    written = (SCENARIO_FOLDER / "schema.json").read_text(encoding="utf-8")
    assert capsys.readouterr().out == written


def test_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "trace.parquet"
    assert main.main(["trace", "mini", "--seed", "3", "--out", str(path), "--devices"]) == 0
    text = capsys.readouterr().out
    assert "cell bs1" in text
    assert "c2d2" in text
    table = pq.read_table(path)
    assert table.column_names == ["task", "device", "born_s", "work_ghz_s", "data_mb"]
    trace = generate_trace(load_scenario("mini"), 3)
    assert table["data_mb"].to_pylist() == trace.data_mb.tolist()
    assert table["task"].to_pylist() == list(range(len(trace)))
    assert set(table["device"].to_pylist()) == {"c1d1", "c1d2", "c2d1", "c2d2"}


def test_trace_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["trace", "mini", "--out", "/proc/no/such.parquet"]) == 2
    assert "cannot be written" in capsys.readouterr().err

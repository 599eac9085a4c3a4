"""The example that reads results agrees with the lab's own metrics."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from experiments.simulated import simulate_to_folder
from metrics.summary import summarise
from model.scenario.load import load_scenario
from records.reader import open_result

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "read_results.py"


def test_it_finds_what_the_lab_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("read_results", EXAMPLE)
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    folder = simulate_to_folder(load_scenario("mini"), "own-edge", {}, 1, tmp_path)
    table = example.main(tmp_path)
    summary = summarise(open_result(folder))
    # Everything went to one kind of target, so that its row is the whole run.
    (row,) = table.iter_rows(named=True)
    assert row["target_kind"] == "edge"
    assert row["tasks"] == summary.generated
    assert row["unit_delay_s_per_mb"] == pytest.approx(summary.unit_delay)
    assert row["median_delay_s"] == pytest.approx(summary.delay_p50)
    links = example.fullest_links(open_result(folder))
    loads = links["mean_load_s"].to_list()
    assert loads == sorted(loads, reverse=True)
    assert str(folder) in capsys.readouterr().out

"""`./lab results`: filters, order, and output for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from metrics import listing
from model.scenario.load import load_scenario
from records.writer import ResultWriter, RunInfo, result_folder

BEGUN = "2026-0{}-01T10:00:00.000Z"


def written(root: Path, name: str, policy: str, seed: int, month: int, **entries: Any) -> Path:
    """Write a result that began in a month of 2026; its task takes ``seed`` s per MB."""
    scenario = load_scenario(name)
    info = RunInfo(scenario, policy, seed, entries.pop("world", "simulation"))
    with ResultWriter(result_folder(root, info), info) as writer:
        row = {"task": 0, "device": "c1d1", "born_s": 0.0, "known_s": float(seed), "data_mb": 1.0,
               "work_ghz_s": 1.0, "outcome": "done", "target_kind": "self"}  # fmt: skip
        writer.append("tasks", [row])
        began = BEGUN.format(month)
        writer.update_manifest(complete=True, ran_s=30.0, started_utc=began, **entries)
    return writer.folder


def fidelity(*, valid: bool) -> dict[str, Any]:
    text = "no idle CPU in 3 seconds"
    checks = [{"name": "idle CPU", "ok": valid, "value": 0.0, "limit": 0.01, "text": text}]
    return {"verdict": "valid" if valid else f"invalid: {text}", "valid": valid, "checks": checks}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four results, the newest last."""
    monkeypatch.setattr(listing, "cache_folder", lambda: None)
    root = tmp_path / "results"
    written(root, "mini", "local", 3, 1)
    written(root, "mini", "own-edge", 2, 2, world="emulation", fidelity=fidelity(valid=False))
    written(root, "case3", "local", 1, 3, world="emulation", fidelity=fidelity(valid=True))
    written(root, "mini", "m2ppo", 4, 4)
    monkeypatch.chdir(tmp_path)
    return root


def seeds(capsys: pytest.CaptureFixture[str], *options: str) -> list[int]:
    """Seeds of what is listed, which name the results here."""
    assert main(["results", "--json", *options]) == 0
    return [row["seed"] for row in json.loads(capsys.readouterr().out)["results"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [4, 1, 2, 3]),
        (["--sort", "delay"], [1, 2, 3, 4]),
        (["--sort", "scenario"], [1, 4, 2, 3]),
        (["--sort", "verdict"], [1, 2, 4, 3]),
        (["--policy", "local"], [1, 3]),
        (["--policy", "m*", "--policy", "own-edge"], [4, 2]),
        (["--scenario", "case?"], [1]),
        (["--world", "simulator"], [4, 3]),
        (["--verdict", "invalid"], [2]),
        (["--verdict", "none"], [4, 3]),
        (["--since", "2026-03-01"], [4, 1]),
        (["--since", "2026-03-01T12:00+01:00"], [4]),
        (["-n", "1"], [4]),
        (["--policy", "nothing"], []),
    ],
)
def test_filters_and_order(
    root: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: list[int]
) -> None:
    assert seeds(capsys, *options) == expected


def test_an_age_counts_from_now(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seeds(capsys, "--since", "1min") == []
    assert seeds(capsys, "--since", "5000w") == [4, 1, 2, 3]


def test_json_has_what_a_script_needs(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "--json", "--verdict", "invalid"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    assert row["reasons"] == ["no idle CPU in 3 seconds"]
    assert (row["world"], row["unit_delay"], row["slots"]) == ("emulation", 2.0, 30)
    assert Path(row["folder"]).is_dir()


def test_the_table_keeps_every_number_on_a_narrow_screen(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli import results
    from records.console import Screen

    monkeypatch.setattr(results, "screen_of_tables", lambda: Screen(width=80))
    assert main(["results"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert "idle CPU" in " ".join(shown.split())
    assert "4 results" in shown


def test_paths_are_folders_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results", "--paths", "--scenario", "mini"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(Path(line, "manifest.json").is_file() for line in lines)


def test_broken_folders_take_a_line_each(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "a").mkdir()
    (root / "a" / "manifest.json").write_text("[red]")
    (root / "b").mkdir()
    (root / "b" / "tasks.parquet").touch()
    assert main(["results"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line for line in shown if line.startswith(("results/a: ", "results/b: "))] == shown[5:7]


@pytest.mark.parametrize("arguments", [["--since", "soon"], ["--paths", "--json"], ["nowhere"]])
def test_wrong_input_takes_a_line(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["results", *arguments]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_where_nothing_has_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["results"]) == 0
    assert capsys.readouterr().out.startswith("No results here.")

"""The verbs that read results, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from tests.analysis.results import edited, killed, simulated


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    for policy in ("own-edge", "local"):
        simulated(root, policy, 1)
    return root


@pytest.mark.parametrize(
    ("verb", "files"),
    [
        (["table3"], ["table3.csv", "table3.md"]),
        (["figure", "4"], ["fig-4.csv", "fig-4.png", "fig-4.svg"]),
        (["figure", "6"], ["fig-6.csv", "fig-6.png", "fig-6.svg"]),
        (["figure", "7"], ["fig-7.csv", "fig-7.png", "fig-7.svg"]),
        (["links"], ["links"]),
        (["compare"], ["compare.csv", "compare.md"]),
    ],
)
def test_files_go_below_the_working_folder(
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verb: list[str],
    files: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*verb, str(results)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert sorted(p.name for p in (tmp_path / "results" / "analysis").iterdir()) == files
    named = said.out.splitlines()[-1].removeprefix("files: ").split()
    assert all((tmp_path / name).stat().st_size for name in named)


def test_report_of_a_result_lies_in_it(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = next((results / "mini" / "local" / "seed1").iterdir())
    folder = killed(one, tmp_path / "killed")
    assert main(["report", str(folder)]) == 0
    assert (folder / "report.html").is_file()
    assert (folder / "report.pdf").is_file()
    assert "was killed before its end" in capsys.readouterr().out


def test_report_of_a_folder(results: Path, tmp_path: Path) -> None:
    assert main(["report", str(results), "--out", str(tmp_path / "all")]) == 0
    assert "2 runs: mini" in (tmp_path / "all.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table3", "nowhere"], "does not exist"),
        (["table3", "."], "no result lies below"),
        (["figure", "3", "."], "no training run lies below"),
        (["figure", "99", "."], "is not one of"),
        (["compare", "old"], "no result can be used"),
    ],
)
def test_mistakes_take_a_line(
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    if "old" in arguments:
        edited(next(results.glob("mini/local/seed1/*")), tmp_path / "old", schema_version=0)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_one_result_is_nothing_to_compare(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(results / "mini" / "local")]) == 2
    assert "name two" in capsys.readouterr().err

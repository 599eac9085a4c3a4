"""Reports: everything in one file, and honest about what the run was."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from analysis.collection import collect
from analysis.report import overview, run
from analysis.report.document import Report, Section, html, write
from analysis.tables import Table
from metrics.summary import summarise
from records.reader import open_result
from records.writer import ResultWriter, RunInfo
from tests.analysis.results import emulated, killed, mini, simulated


def page_of(folder: Path, tmp_path: Path) -> str:
    (one,) = collect([folder], keep_invalid=True, partial=True).runs
    paths = write(run.report_of(one), tmp_path / "out" / "report")
    assert paths[1].read_bytes().startswith(b"%PDF")
    assert paths[1].stat().st_size > 10_000
    return paths[0].read_text(encoding="utf-8")


def test_a_page_needs_nothing_else(one: Path, tmp_path: Path) -> None:
    page = page_of(one, tmp_path)
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 5
    assert all(s.startswith("data:image/") for s in sources)
    assert "<script" not in page
    assert "url(" not in page
    pictures = [base64.b64decode(s.partition("base64,")[2]) for s in sources]
    assert all(b"<svg" in p[:600] or p.startswith(b"\x89PNG") for p in pictures)
    assert not plt.get_fignums()


def test_a_page_says_what_the_run_was(one: Path, tmp_path: Path) -> None:
    page = page_of(one, tmp_path)
    manifest = open_result(one).manifest
    for words in (
        "mini: own edge, simulator, seed 1",
        "Simulated: no packets, and so no verdict",
        manifest["git"]["commit"],
        "T = 20 s of 20 s; the run ended by itself",
        "Where it was full",
        "Where tasks went",
        "centralised, computed",
    ):
        assert words in page
    for _, value, _ in summarise(open_result(one)).rows():
        assert f"<td>{value}</td>" in page


def test_a_killed_run_has_a_page_that_says_so(one: Path, tmp_path: Path) -> None:
    page = page_of(killed(one, tmp_path / "killed"), tmp_path)
    assert "the run was killed; its last seconds may be missing" in page
    assert "the run was killed. Tasks" in page


def test_a_verdict_stands_at_the_top(one: Path, tmp_path: Path) -> None:
    page = page_of(emulated(one, tmp_path / "e", "invalid: no idle CPU"), tmp_path)
    assert 'class="verdict bad">Fidelity, the run on its own numbers: invalid: no idle CPU' in page
    page = page_of(emulated(one, tmp_path / "v", "valid"), tmp_path)
    assert 'class="verdict ">Fidelity, the run on its own numbers: valid' in page


def test_a_run_in_which_nothing_happened(tmp_path: Path) -> None:
    quiet = mini(slots=2, **{"workload.tasks_per_epoch": 0.001})
    assert "tasks generated" in page_of(simulated(tmp_path, "local", 1, quiet), tmp_path)


def test_overview_of_a_folder(results: Path, one: Path, tmp_path: Path) -> None:
    emulated(one, tmp_path / "e", "invalid: late")
    found = collect([results, tmp_path])
    paths = write(overview.report_of(found, results), tmp_path / "all")
    page = paths[0].read_text(encoding="utf-8")
    assert "4 runs: mini" in page
    assert page.count('<td class="word">own edge</td>') >= 3
    assert "left out: the run says of itself: invalid: late." in page


@pytest.mark.parametrize("text", ["<b>", "a & b"])
def test_text_is_escaped(text: str) -> None:
    table = Table(text, ("h",), ((text,),))
    page = html(Report(text, text, (Section(text, (text,), (table,)),), notes=(text,)))
    assert text not in page.partition("<title>")[2]


def test_a_run_that_was_killed_before_it_wrote_anything(tmp_path: Path) -> None:
    ResultWriter(tmp_path / "r", RunInfo(mini(), "local", 1, "simulation"))
    page = page_of(tmp_path / "r", tmp_path)
    assert "the run was killed. Tasks" in page
    assert "Where it was full" not in page

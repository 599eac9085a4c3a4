"""The demonstration: two runs and a page that stands for itself."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from cli import demo
from cli.main import main
from emulation.options import RunOptions
from metrics.summary import summarise
from model.errors import UserError
from model.scenario.load import load_scenario
from records.reader import find_results, open_result


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a demonstration in the simulator, and what it printed."""
    root = tmp_path_factory.mktemp("demo")
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(["demo", "--world", "simulator", "--out", str(root)]) == 0
    (folder,) = root.iterdir()
    return folder, printed.getvalue()


@pytest.fixture(scope="module")
def shown(told: tuple[Path, str]) -> Path:
    """The folder of a demonstration in the simulator."""
    return told[0]


@pytest.mark.slow
def test_its_last_words_are_its_result(told: tuple[Path, str]) -> None:
    folder, printed = told
    last = " ".join(printed.rpartition("files: ")[2].split()[2:])
    found = re.search(
        r"A MB of task data took ([\d.]+) s under own edge and ([\d.]+) s under", last
    )
    assert found is not None
    assert float(found[1]) > float(found[2])
    assert last.endswith(" s faster.")
    assert f"took {found[1]} s under own edge" in (folder / "demo.html").read_text("utf-8")


@pytest.mark.slow
def test_the_page_stands_for_itself_and_says_what_was_measured(shown: Path) -> None:
    page = (shown / "demo.html").read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    first, second = sorted(find_results(shown))
    assert {open_result(f).manifest["policy"] for f in (first, second)} == {
        "own-edge", "self-biased",
    }  # fmt: skip
    said = re.search(r"took ([\d.]+) s under own edge and ([\d.]+) s under self-biased", page)
    assert said is not None
    measured = [summarise(open_result(folder)).unit_delay for folder in (first, second)]
    assert [float(word) for word in said.groups()] == pytest.approx(measured, rel=1e-2)


@pytest.mark.slow
def test_compare_writes_the_same_page_and_json(
    shown: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(shown / "mini" / p) for p in ("own-edge", "self-biased")]
    assert main(["compare", *folders, "--page", "--json", "--out", str(tmp_path / "c")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [c["label"] for c in told["columns"]] == ["own edge", "self-biased"]
    first, second = (c["runs"][0]["metrics"]["unit_delay"] for c in told["columns"])
    (difference,) = told["differences"]
    assert difference["unit_delay"]["value"] == pytest.approx(second - first)
    text = (tmp_path / "c.html").read_text("utf-8")
    assert "for the very same tasks" in text


def test_it_says_why_it_only_simulates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> None:
        raise UserError("this machine cannot emulate now: privilege: not root")

    monkeypatch.setattr("emulation.run.require_machine", refuse)
    options = RunOptions(load_scenario("mini"))
    assert demo._can_emulate(options, insist=False) is False
    assert capsys.readouterr().out.count("\n") == 1
    with pytest.raises(UserError, match="privilege"):
        demo._can_emulate(options, insist=True)

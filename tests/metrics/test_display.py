"""What is printed of a result, whatever its processes have said."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from emulation.host import processes
from emulation.host.commands import ProcessError
from metrics import display
from metrics.display import fidelity_line
from metrics.summary import summarise
from model.scenario.load import load_scenario
from model.text import safe_line
from records.console import Screen
from records.reader import open_result
from records.writer import ResultWriter, RunInfo


def test_a_verdict_shows_what_a_node_said_and_does_not_obey() -> None:
    said = "invalid: at 1.0 s c1d1 [/][green]valid[/]\x1b[2J\nfidelity: valid"
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    console.print(fidelity_line({"valid": False, "verdict": said}), highlight=False)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[/][green]valid[/]?[2J fidelity: valid" in shown
    assert "\x1b[2J" not in shown
    assert shown.count("\n") == 1


def test_the_last_line_of_a_log_is_shown_as_text(tmp_path: Path) -> None:
    log = tmp_path / "spawner.log"
    log.write_text("\x1b]0;mine\x07\x1b[31mlab: all is well\n")
    child = processes.start([sys.executable, "-c", "raise SystemExit(3)"], environment={}, log=log)
    child.wait()
    with pytest.raises(ProcessError) as caught:
        processes.check_alive(child, "spawner", log)
    assert str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "text", ["", "plain", "\x00\x7f\x9b\u202e\ud800", "a\r\nb\u2028c", "x" * 9000]
)
def test_one_line_is_one_line(text: str) -> None:
    shown = safe_line(text)
    assert shown.isprintable()
    assert len(shown) == min(len(text), 4000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A result with a task, loads of every class and a verdict that no line holds."""
    scenario = load_scenario("case3-cloud")
    info = RunInfo(scenario, "local", 2**128 - 1, "emulation")
    classes = (
        ("bs1>bs2", "e2e"),
        ("c1d1>bs1", "e2d"),
        ("bs1>e1", "access"),
        ("bs1>core", "backbone"),
    )
    with ResultWriter(tmp_path / "r", info) as writer:
        kinds = ("self", "device", "edge", "cloud")
        writer.append("tasks", [
            {"task": k, "device": "c1d1", "born_s": 0.0, "known_s": 123456.789, "data_mb": 1.0,
             "work_ghz_s": 1.0, "outcome": "done", "target_kind": kind}
            for k, kind in enumerate(kinds)])  # fmt: skip
        writer.append("links", [
            {"slot": 0, "time_s": 1.0, "link": link, "link_class": name, "rate_mbps": 30.0,
             "load_s": 1.23456, "drops": 7, "virtual_backlog_bytes": 1.0, "sent_bytes": 1.0,
             "utilisation": 0.5} for link, name in classes])  # fmt: skip
        writer.append(
            "units", [{"slot": 0, "time_s": 1.0, "unit": "e1", "kind": "edge", "load_s": 4.0}]
        )
        text = "no idle CPU in 12 seconds; " * 5
        verdict = {"verdict": f"invalid: {text}", "valid": False, "checks": []}
        writer.update_manifest(complete=True, ran_s=300.0, fidelity=verdict)
    return writer.folder


def shown(folder: Path, monkeypatch: pytest.MonkeyPatch, width: int, **options: bool) -> list[str]:
    """The lines of a summary on a terminal with this many columns, without colours."""
    file = io.StringIO()
    screen = Screen(width=width)
    screen.file = file
    monkeypatch.setattr(display, "Screen", lambda: screen)
    display.print_summary(folder, **options)
    return file.getvalue().splitlines()


def test_the_unit_delay_and_the_verdict_are_the_last_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(folder, monkeypatch, 80)
    assert lines[-1] == "unit delay UD = ΣE/Σo: 123457 s/MB (invalid)"
    assert len(lines) < 24  # and a line for the shell
    assert any(line.startswith("result: ") for line in lines)
    whole = shown(folder, monkeypatch, 80, show_all=True)
    assert whole[-1] == lines[-1]
    assert len(whole) > len(lines)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_number_is_cut(folder: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    lines = shown(folder, monkeypatch, width, show_all=True)
    text = "".join(lines)
    assert "…" not in text
    for _, value, _ in summarise(open_result(folder)).rows():
        assert any(value in line for line in lines), value


def test_a_simulation_has_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = RunInfo(load_scenario("mini"), "local", 1, "simulation")
    with ResultWriter(tmp_path / "r", info) as writer:
        writer.update_manifest(complete=True, ran_s=30.0)
    display.print_summary(writer.folder)
    assert capsys.readouterr().out.splitlines()[-1] == "unit delay UD = ΣE/Σo: – (simulated)"

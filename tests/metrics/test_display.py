"""What is printed of a result, whatever its processes have said."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from emulation.host import processes
from emulation.host.commands import ProcessError
from metrics.display import fidelity_line
from model.text import safe_line


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

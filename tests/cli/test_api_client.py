"""The verbs that look at a running experiment, as far as they need none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console, RenderableType

from cli import api, api_client, watch
from model.errors import UserError


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Runs that are alive."""
    living: list[str] = []
    monkeypatch.setattr(api_client, "living_runs", lambda: living)
    monkeypatch.setattr(api_client, "RUNS_DIR", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return living


def test_a_run_is_found_by_its_id_or_alone(runs: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run is under way"):
        api_client.find_run(None)
    runs.append("ab12")
    assert api_client.find_run(None) == api_client.find_run("ab12")
    assert api_client.find_run(None).socket == tmp_path / "ab12" / "api.sock"
    runs.append("cd34")
    with pytest.raises(UserError, match="name one: ab12, cd34"):
        api_client.find_run(None)
    with pytest.raises(UserError, match=r"no run '\.\./x' is under way"):
        api_client.find_run("../x")


def test_it_says_who_may_ask(runs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="use sudo"):
        api_client.find_run(None)


def test_api_prints_where_it_is(runs: list[str], tmp_path: Path) -> None:
    runs.append("ab12")
    with pytest.raises(UserError, match="has no API"):
        CliRunner().invoke(api.api, catch_exceptions=False)
    (tmp_path / "ab12").mkdir()
    (tmp_path / "ab12" / "api.token").write_text("secret\n")
    said = CliRunner().invoke(api.api, catch_exceptions=False).output
    assert f"curl --unix-socket {tmp_path}/ab12/api.sock" in said
    assert "secret" not in said


def _text(table: RenderableType) -> str:
    console = Console(width=100)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_watch_reads_events_and_shows_the_heaviest() -> None:
    lines = [": slots follow", "", "event: links", "id: 1", 'data: {"slot":1,"links":[]}', ""]
    assert list(watch.events(lines)) == [("links", {"slot": 1, "links": []})]
    link = {"backlog_bytes": 5e5, "utilisation": 0.5, "drops": 3, "up": False}
    rows = [{"link": f"c1d{k}>bs1", "load_s": float(k), **link} for k in range(9)]
    shown = _text(watch.links_table({"links": rows}, 2)).splitlines()
    assert [row.split()[0] for row in shown[1:]] == ["c1d8>bs1", "c1d7>bs1"]
    assert shown[1].split()[1:] == ["500.0", "8.000", "50%", "3", "down"]
    unit = {"unit": "e1", "queue_ghz_s": 1.0, "load_s": None, "busy_share": 0.0}
    assert "–" in _text(watch.units_table({"units": [unit]}, 2))

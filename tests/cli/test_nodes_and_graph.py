"""`./lab nodes` and `./lab graph`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main


def test_nodes_as_json_and_as_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nodes", "mini", "--json", "--set", "network.e2d.rate_mbps=3.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {n["name"] for n in found["nodes"]} == {"c1d1", "c1d2", "c2d1", "c2d2", "e1", "bs1"}
    rates = {link["name"]: link["rate_mbps"] for link in found["links"]}
    assert (rates["c1d1>bs1"], rates["bs1>e1"], len(rates)) == (3.5, 20.0, 10)
    assert main(["nodes", "mini"]) == 0
    shown = capsys.readouterr().out
    assert "6 nodes, 5 cables" in shown
    assert all(word in shown for word in ("bs1-c1d1", "10.2.0.1", "datapath 1", "ACCESS"))


@pytest.mark.parametrize(
    ("name", "begins"),
    [("m.png", b"\x89PNG"), ("m.svg", b"<?xml"), ("m.pdf", b"%PDF"), ("m.dot", b"graph"),
     ("m.mmd", b"graph LR")],
)  # fmt: skip
def test_the_suffix_says_what_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, begins: bytes
) -> None:
    path = tmp_path / "new" / name
    assert main(["graph", "mini", "--out", str(path)]) == 0
    assert path.read_bytes().startswith(begins)
    assert capsys.readouterr().out == f"written: {path}\n"


def test_text_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "mini", "--format", "dot"]) == 0
    assert capsys.readouterr().out.startswith('graph "mini" {')


def test_a_picture_has_a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["graph", "mini"]) == 0
    assert (tmp_path / "results" / "analysis" / "graph-mini.png").is_file()


@pytest.mark.parametrize(
    "arguments",
    [["graph", "mini", "--out", "m.gif"], ["graph", "nowhere"], ["nodes", "nowhere"],
     ["graph", "mini", "--out", "/proc/none/m.png"]],
)  # fmt: skip
def test_wrong_input_takes_a_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)

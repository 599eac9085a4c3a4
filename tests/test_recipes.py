"""The how-to pages for a verb, a figure, a fault and a learner: followed to the letter."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cli.main import main
from tests.documented import ROOT, commands
from tests.recipes import (
    REGISTRIES,
    extend_package,
    follow,
    forget_module,
    line_of,
    register,
    write_files,
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, as a reader has one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def walk(page: str) -> None:
    """Type what a page says, but for what needs root."""
    for command in commands(ROOT / "docs" / "howto" / page):
        if command.whole and not command.sudo:
            assert main(list(command.words[1:])) == 0, str(command)


def test_a_verb_is_added(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    follow("verb.md", here, monkeypatch)
    walk("verb.md")
    said = capsys.readouterr().out
    assert re.search(r"  count +Count the devices and links of a scenario\.\n", said)
    assert "4 devices, 10 links\n" in said
    assert "c1d1>bs1" in said
    assert main(["count", "minni"]) == 2
    assert "did you mean 'mini'" in capsys.readouterr().err


def test_a_figure_is_added(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    follow("figure.md", here, monkeypatch)
    walk("figure.md")
    said = capsys.readouterr().out
    assert "mini: own-edge: " in said
    written = {path.name for path in (here / "results" / "analysis").iterdir()}
    assert written == {"fig-open.svg", "fig-open.png", "fig-open.csv"}


def with_fault(here: Path, patch: pytest.MonkeyPatch) -> Any:
    """Follow the page of faults; return ``experiments.chaos.fault``."""
    fault = importlib.import_module("experiments.chaos.fault")
    patch.setattr(fault, "_FAULTS", dict(fault.all_faults()))
    follow("fault.md", here, patch)
    return fault


def test_a_fault_is_added(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_fault(here, monkeypatch)
    walk("fault.md")
    assert "switches-stopped" in capsys.readouterr().out


@pytest.mark.ovs
@pytest.mark.slow
def test_the_fault_that_was_added_is_done(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.chaos.loop import run_fault

    found = with_fault(here, monkeypatch).all_faults()["switches-stopped"]
    outcome = run_fault(found, Random(7))
    assert not outcome.broken, f"{outcome.said}\n{outcome.kept}"


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learner's module is imported for this test alone; the user is not root."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    forget_module("my_learner", monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("forgotten")
def test_a_learner_of_ones_own_trains(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files("learner.md", here)
    walk("learner.md")
    said = capsys.readouterr().out
    assert "options.entropy_coefficient" in said
    (folder,) = (here / "results" / "training" / "mini").glob("*/seed1")
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert {"policy_loss", "value_loss", "unit_delay"} <= rows[1].keys()
    (manifest,) = (here / "results" / "mini" / "learned").rglob("manifest.json")
    trained = json.loads(manifest.read_text())["checkpoint"]
    assert trained["algorithm"] == "my_learner:Reinforce"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_learner_of_the_labs_is_added(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rl import policies
    from rl.learning.registry import algorithms

    ((name, _),) = line_of("learner.md").items()
    for path in write_files("learner.md", here):
        path.rename(path.with_stem(name))
    extend_package("rl.learning", here, monkeypatch)
    register("learner.md", monkeypatch)
    assert name in algorithms()
    assert name in policies.names()
    assert main(["train", "mini", "--algo", name, "--slots", "400"]) == 0
    best = capsys.readouterr().out.strip()
    assert best == f"results/training/mini/{name}/seed1/best.npz"
    words = ["run", "mini", "--policy", name, "--param", f"checkpoint={best}", "--slots", "20"]
    assert main([*words, "--world", "simulator"]) == 0
    sweep = here / "sweep.yaml"
    sweep.write_text(f"train:\n  a: {{algorithms: [{name}], scenarios: [mini], seeds: 1}}\n")
    assert main(["sweep", str(sweep), "--dry-run"]) == 0


def test_pages_add_what_is_not_there() -> None:
    assert {page: bool(line_of(page)) for page in REGISTRIES} == dict.fromkeys(REGISTRIES, True)

"""Each fault done to a real run; the same code as ``./lab chaos``, which draws them."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from emulation.host.ledger import RUNS_DIR, Ledger, clean
from experiments.chaos import snapshot
from experiments.chaos.fault import all_faults
from experiments.chaos.loop import bring_ups, draw, run_fault

LEFT_OUT = {
    "none": "every test of a run",
    "policy-raises": "tests/emulation/test_nodes.py",
    "policy-garbage": "tests/emulation/test_nodes.py",
    "policy-leaks": "tests/emulation/attacks/test_attacks.py",
    "interrupted-in-run": "tests/emulation/test_run.py",
    "interrupted-in-bring-up": "tests/emulation/test_run.py",
    "interrupted-twice": "tests/emulation/test_run.py",
    "device-stopped-for-good": "policy-hangs is the same to who waits for it",
    "controller-stopped": "a lesser controller-killed",
    "link-down-and-up": "a lesser link-flapping",
    "namespace-lost": "a lesser fabric-lost",
}
"""Faults that something else tests already; ``./lab chaos`` does them, too."""


@pytest.mark.ovs
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in all_faults() if name not in LEFT_OUT])
def test_a_run_that_is_hurt(name: str) -> None:
    fault = all_faults()[name]
    if what := fault.lacking():
        pytest.skip(what)
    outcome = run_fault(fault, Random(7))
    assert not outcome.broken, f"{outcome.said}\n{outcome.kept}"


def test_the_same_seed_draws_the_same_fault() -> None:
    names = list(all_faults())
    drawn = [(name, rng.random()) for name, rng in (draw(3, k, names) for k in range(50))]
    again = [(name, rng.random()) for name, rng in (draw(3, k, names[::-1]) for k in range(50))]
    assert drawn == again
    assert len({name for name, _ in drawn}) > len(names) / 2
    other = [(name, rng.random()) for name, rng in (draw(4, k, names) for k in range(50))]
    assert drawn != other


@pytest.mark.ovs
@pytest.mark.slow
def test_a_network_that_comes_and_goes_leaves_no_descriptors() -> None:
    before = snapshot.take()
    descriptors = [number for _, number, _ in bring_ups(3)]
    assert descriptors[-1] == descriptors[1]
    assert not before.changes(snapshot.take())


@pytest.mark.root
def test_a_snapshot_tells_what_came_and_what_went() -> None:
    before = snapshot.take()
    ledger = Ledger.open_new()
    try:
        ledger.create_namespaces(["fabric"])
        alive = snapshot.take()
        name = f"ce{ledger.run_id}-fabric"
        # A living run is somebody's, not something that has stayed.
        assert not before.changes(alive)
        assert f"namespace {name}" in alive.of_run(ledger.run_id)
        assert not clean()
        ledger._lock.close()  # as if its orchestrator had been killed
        dead = snapshot.take()
        assert f"+ namespace {name}" in before.changes(dead)
        assert f"- namespace {name}" in dead.changes(before)
    finally:
        clean()
    assert not before.changes(snapshot.take())


@pytest.mark.root
def test_a_snapshot_is_taken_while_other_runs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a run goes between any two looks into it."""
    ledger = Ledger.open_new()
    ledger.directory.joinpath("deep").mkdir()
    look = os.scandir

    def scandir(path: str) -> object:
        if str(path) == str(ledger.directory):
            ledger.remove_all()
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(Path, "_scandir", lambda path: scandir(str(path)), raising=False)
    taken = snapshot.take()
    assert not ledger.directory.exists()
    assert f"file {ledger.directory}/deep" not in taken.things


@pytest.mark.root
def test_a_run_that_begins_while_another_cleans_up_gets_a_place_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its directory may be removed between any two steps of making it."""
    tokens = iter(["aaaa", "bbbb", "cccc"])
    monkeypatch.setattr("emulation.host.ledger.draw_run_id", lambda: next(tokens))
    made = Path.mkdir

    def mkdir(path: Path, *arguments: object, **options: object) -> None:
        made(path, *arguments, **options)  # type: ignore[arg-type]
        if path.name == "aaaa":
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", mkdir)
    ledger = Ledger.open_new()
    assert ledger.run_id == "bbbb"
    ledger.remove_all()
    assert not (RUNS_DIR / "bbbb").exists()

"""Side by side: same tasks are told from others, and differences have the right sign."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis import compare
from analysis.collection import Collection, collect
from metrics.summary import summarise
from records.reader import open_result
from tests.analysis.results import emulated, mini, simulated


def read(*folders: Path) -> list[tuple[Path, Collection]]:
    return [(f, collect([f], keep_invalid=True, partial=True)) for f in folders]


def of(results: Path, policy: str, seed: int) -> Path:
    return next((results / "mini" / policy / f"seed{seed}").iterdir())


def test_two_runs_of_the_same_tasks(results: Path) -> None:
    first, second = of(results, "self-biased", 1), of(results, "own-edge", 1)
    listed = compare.columns(read(first, second))
    assert [c.label for c in listed] == ["self-biased", "own edge"]
    (found,), said = compare.differences(listed)
    assert said == []
    column, difference = found
    assert column is listed[1]
    ours, theirs = (summarise(open_result(p)) for p in (second, first))
    assert difference.episodes == 1
    assert difference.unit_delay.value == pytest.approx(ours.unit_delay - theirs.unit_delay)
    assert difference.delay.value == pytest.approx(ours.delay_mean - theirs.delay_mean)
    assert difference.unit_delay.low < difference.unit_delay.value < difference.unit_delay.high
    assert 0 < difference.faster + difference.slower <= 1


def test_a_run_and_its_copy_do_not_differ(one: Path, tmp_path: Path) -> None:
    shutil.copytree(one, tmp_path / "copy")
    listed = compare.columns(read(one, tmp_path / "copy"))
    assert [c.label for c in listed] == ["own edge #1", "own edge #2"]
    ((_, difference),), _ = compare.differences(listed)
    assert (difference.faster, difference.slower) == (0, 0)
    assert difference.unit_delay.value == difference.unit_delay.high == 0


def test_folders_are_paired_by_episode(results: Path) -> None:
    listed = compare.columns(read(results))
    ((_, difference),), _ = compare.differences(listed)
    assert difference.episodes == 2
    table = compare.difference_table(listed[0], [(listed[1], difference)])
    assert table.title == "the same tasks: difference to self-biased"
    assert table.rows[0][:2] == ("own edge", "2")


def test_other_tasks_are_not_paired(results: Path, tmp_path: Path) -> None:
    first = of(results, "self-biased", 1)
    other = simulated(tmp_path, "self-biased", 1, mini(slots=10))
    listed = compare.columns(read(first, of(results, "self-biased", 2), other))
    assert [c.label for c in listed] == [
        "self-biased T=20 seed 1", "self-biased T=20 seed 2", "self-biased T=10 seed 1"
    ]  # fmt: skip
    found, said = compare.differences(listed)
    assert found == []
    assert len(said) == 2


def test_side_by_side_has_every_metric_and_marks_the_invalid(one: Path, tmp_path: Path) -> None:
    bad = emulated(one, tmp_path / "e", "invalid: late")
    listed = compare.columns(read(one, bad))
    assert [c.label for c in listed] == ["own edge simulator", "own edge† emulation"]
    table = compare.side_by_side(listed)
    rows = {row[0]: row[2:] for row in table.rows}
    expected = {name: value for name, value, _ in summarise(open_result(one)).rows()}
    assert rows == {name: (value, value) for name, value in expected.items()}
    assert {r["column"] for r in compare.records(listed)} == {c.label for c in listed}

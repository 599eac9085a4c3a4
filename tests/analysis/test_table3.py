"""Table III: the paper's numbers, ours, and the words between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import table3
from analysis.collection import collect
from analysis.paper import agreement, ordered, printed
from analysis.paper import table3 as paper_table3
from analysis.style import LEARNERS
from analysis.tables import digits, write
from metrics.summary import summarise
from model.scenario.load import load_scenario
from records.reader import open_result
from tests.analysis.results import edited, simulated


def test_the_paper_has_sixteen_numbers_a_case() -> None:
    rows = printed()["table3"]
    assert sorted(rows) == ["case1", "case2", "case3"]
    for case in rows.values():
        assert sorted(case) == sorted(LEARNERS)
        assert all(sorted(row) == ["ad", "anlr", "e2d", "e2e"] for row in case.values())
    # Spot checks against the printed page.
    assert paper_table3("case1", "ad")["madqn"] == 220
    assert paper_table3("case2", "e2e")["madqn"] == 58.26
    assert paper_table3("case3", "anlr")["m2ppo"] == 0.0307
    assert paper_table3("mini", "ad") == {}


def test_the_same_order_is_called_so() -> None:
    (said,) = agreement("AD", {"madqn": 9, "maa3c": 3, "mappo": 2, "m2ppo": 1},
                        {"madqn": 8, "maa3c": 7, "mappo": 6, "m2ppo": 5})  # fmt: skip
    assert "same order of the four learners: yes" in said
    assert "smallest: M2PPO, as in the paper" in said


def test_another_order_is_counted_in_pairs() -> None:
    (said,) = agreement("E2D", {"maa3c": 3, "mappo": 2, "m2ppo": 1, "own-edge": 0},
                        {"madqn": 9, "maa3c": 3, "mappo": 1, "m2ppo": 2})  # fmt: skip
    assert "same order of the 3 learners that are here: no, 2 of 3 pairs are" in said
    assert "(here M2PPO < MAPPO < MAA3C; paper MAPPO < M2PPO < MAA3C)" in said
    assert "smallest: M2PPO, in the paper MAPPO" in said


def test_a_tie_of_the_paper_agrees_with_either_order() -> None:
    for ours in ({"mappo": 1, "m2ppo": 2}, {"mappo": 2, "m2ppo": 1}):
        (said,) = agreement("AD", ours, {"mappo": 3, "m2ppo": 3})
        assert "yes" in said
        assert "as in the paper" in said
    assert ordered({"a": 1, "b": 1, "c": 2}) == "a = b < c"


def test_a_tie_of_ours_agrees_with_no_order() -> None:
    (said,) = agreement("AD", {"mappo": 1, "m2ppo": 1}, {"mappo": 3, "m2ppo": 2})
    assert "no, 0 of 1 pairs are" in said


def test_one_learner_has_no_order() -> None:
    assert agreement("AD", {"m2ppo": 1}, {"m2ppo": 1, "mappo": 2}) == []


def test_table_of_a_single_result_has_its_metrics(one: Path) -> None:
    found = collect([one])
    (table,) = table3.tables(found)
    summary = summarise(open_result(one))
    assert table.title == "mini, simulator, T = 20 s"
    assert table.rows == (
        ("own edge", "1", digits(summary.unit_delay), digits(summary.anlr), "–",
         digits(summary.link_load["e2d"]), digits(summary.link_load["access"])),
    )  # fmt: skip
    assert table3.sentences(found) == []


def test_learners_stand_beside_the_paper(tmp_path: Path) -> None:
    """Results of other policies under the learners' names: their numbers are known."""
    case = load_scenario("case1", {"slots": 15})
    names = ("own-edge", "self-biased")
    source = [simulated(tmp_path / "source", name, 1, case) for name in names]
    better, worse = sorted(source, key=lambda p: summarise(open_result(p)).unit_delay)
    edited(better, tmp_path / "results" / "a", policy="m2ppo")
    edited(worse, tmp_path / "results" / "b", policy="mappo")
    found = collect([tmp_path / "results"])
    (table,) = table3.tables(found)
    assert [row[0] for row in table.rows] == [
        "M2PPO", "  M2PPO in the paper", "MAPPO", "  MAPPO in the paper"
    ]  # fmt: skip
    assert table.rows[1][2:] == ("1.080", "3.569", "0.0050", "0.103", "")
    said = table3.sentences(found)
    assert "AD: same order of the 2 learners that are here: yes" in said[0]
    (difference,) = [s for s in said if "M2PPO − MAPPO" in s]
    gap = summarise(open_result(better)).unit_delay - summarise(open_result(worse)).unit_delay
    assert f"= {digits(gap, '+')} s/MB over 1 common episodes" in difference
    assert "in the paper -0.1000" in difference


def test_files(results: Path, tmp_path: Path) -> None:
    found = collect([results])
    paths = write(table3.tables(found), ["yes"], list(table3.records(found)), tmp_path / "x" / "t")
    assert [p.name for p in paths] == ["t.md", "t.csv"]
    assert "| own edge | 2 |" in paths[0].read_text()
    lines = paths[1].read_text().splitlines()
    assert lines[0].startswith("world,scenario,duration_s,policy,valid,runs")
    assert len(lines) == 1 + 2 * len(table3.COLUMNS)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1.0801, "1.080"), (220.0, "220.0"), (5839.45, "5839"),
                        (0.005, "0.0050"), (3.2e-5, "3.20e-05"), (float("nan"), "–")]
)  # fmt: skip
def test_digits(value: float, text: str) -> None:
    assert digits(value) == text

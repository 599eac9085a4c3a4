"""Logs of training runs: read whole, interrupted, gone on with; Figs. 3 and 5 from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.figures import Source, draw
from analysis.style import save
from analysis.training import curve, find_trainings
from model.errors import UserError
from tests.analysis.results import training


def test_a_log_is_read(tmp_path: Path) -> None:
    training(tmp_path, "case1", "m2ppo", 3, [5.0, 4.0])
    (run,) = find_trainings([tmp_path]).runs
    assert (run.case, run.algorithm, run.seed) == ("case1", "m2ppo", 3)
    slots, delay = run.series("unit_delay")
    assert (slots.tolist(), delay.tolist()) == ([100, 200], [5, 4])
    assert [a.tolist() for a in run.held_out] == [[0], [8]]


def test_the_card_names_the_scenario_wherever_the_folder_lies(tmp_path: Path) -> None:
    folder = training(tmp_path, "sweep-cell", "m2ppo", 3, [5.0])
    (folder / "card.json").write_text(json.dumps({"scenario": "case2", "seed": 8}))
    (run,) = find_trainings([tmp_path]).runs
    assert (run.case, run.seed) == ("case2", 8)


def test_a_run_that_went_on_from_an_earlier_state_has_its_second_try(tmp_path: Path) -> None:
    folder = training(tmp_path, "case1", "m2ppo", 1, [5.0, 4.0, 3.0])
    with (folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"slots": 200, "unit_delay": 7.0}) + "\n")
        log.write('{"slots": 300, "unit')
    (run,) = find_trainings([tmp_path]).runs
    assert [a.tolist() for a in run.series("unit_delay")] == [[100, 200], [5, 7]]


def test_broken_logs_take_a_sentence_each(tmp_path: Path) -> None:
    training(tmp_path, "case1", "m2ppo", 1, [5.0])
    training(tmp_path, "case1", "m2ppo", 2, [])
    bad = training(tmp_path, "case1", "m2ppo", 3, [5.0])
    (bad / "log.jsonl").write_text('nonsense\n{"slots": 1}\n')
    found = find_trainings([tmp_path])
    assert [r.seed for r in found.runs] == [1]
    assert len(found.left_out) == 2
    assert "no chunk of training" in found.left_out[0]
    assert "line 1 of log.jsonl is no JSON" in found.left_out[1]
    with pytest.raises(UserError, match="no training run lies below"):
        find_trainings([bad])


def test_a_curve_is_the_mean_as_far_as_all_have_come(tmp_path: Path) -> None:
    training(tmp_path, "case1", "m2ppo", 1, [4.0, 2.0, 1.0])
    training(tmp_path, "case1", "m2ppo", 2, [6.0, 4.0])
    line = curve(find_trainings([tmp_path]).runs, "unit_delay")
    assert line.slots.tolist() == [100, 200]
    assert line.value.tolist() == [5, 3]
    assert (line.low >= [4, 2]).all()
    assert (line.high <= [6, 4]).all()
    assert line.last == 3.0


def test_fig3(tmp_path: Path) -> None:
    fall = [9.0, 5.0, 2.0] + [1.0] * 17
    training(tmp_path, "case1", "m2ppo", 1, fall)
    training(tmp_path, "case1", "mappo", 1, [2 * d for d in fall], "single")
    drawing = draw("3", Source((tmp_path,)))
    assert set(drawing.data["algorithm"]) == {"m2ppo", "mappo"}
    mine = drawing.data.filter(pl.col("algorithm") == "m2ppo")
    np.testing.assert_allclose(mine["unit_delay_s_per_mb"], fall)
    assert drawing.said[0] == (
        "case1: M2PPO stays within 5% of its last level, 1.000 s/MB, from slot 400 of 2000 on; "
        "the paper: after 8000 s."
    )
    paths = save(drawing, tmp_path / "out" / "fig3")
    assert [p.name for p in paths] == ["fig3.svg", "fig3.png", "fig3.csv"]
    assert (
        paths[2].read_text().startswith("case,algorithm,seeds,slots,unit_delay_s_per_mb,low,high")
    )


def test_variants_of_an_algorithm_are_curves_of_their_own(tmp_path: Path) -> None:
    for critics in ("single", "min", "mean"):
        training(tmp_path / critics, "case1", "m2ppo", 1, [8.0, 3.0], critics)
    training(tmp_path, "case1", "mappo", 1, [8.0, 3.0], "single")
    found = draw("3", Source((tmp_path,))).data["algorithm"].unique().sort().to_list()
    assert found == ["m2ppo", "m2ppo critics=min", "m2ppo critics=single", "mappo"]


def test_fig5(tmp_path: Path) -> None:
    for critics, level in (("single", 3.0), ("min", 4.0), ("mean", 2.0)):
        training(tmp_path / critics, "case2", "m2ppo", 1, [8.0, level], critics)
    training(tmp_path, "case2", "maa3c", 1, [8.0, 0.1], "single")  # nothing to compare it with
    drawing = draw("5", Source((tmp_path,)))
    assert drawing.said == (
        "case2: loss in the last tenth of training: M2PPO, average 1.000, M2PPO, single 1.500, "
        "M2PPO, minimum 2.000.",
    )
    assert set(drawing.data["critics"]) == {"single", "min", "mean"}

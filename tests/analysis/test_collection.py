"""Results put together: what belongs together, what is left out, and that it is said."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from analysis.collection import Collection, collect, paired, some
from metrics.summary import Summary, summarise
from model.errors import UserError
from records.reader import open_result
from tests.analysis.results import edited, emulated, killed, mini, simulated


def unit_delay(summary: Summary) -> float:
    return summary.unit_delay


def shape(found: Collection) -> list[tuple[str, str, str, int]]:
    return [(g.world, g.scenario, g.policy, len(g.runs)) for g in found.groups]


def test_runs_of_a_policy_belong_together(results: Path) -> None:
    found = collect([results])
    assert shape(found) == [
        ("simulation", "mini", "self-biased", 2),
        ("simulation", "mini", "own-edge", 2),
    ]
    assert len(found.panels) == 1
    assert found.said == ()
    values = [
        summarise(open_result(p)).unit_delay for p in sorted(results.glob("mini/own-edge/*/*"))
    ]
    figure = found.groups[1].estimate(unit_delay)
    assert figure.value == pytest.approx(sum(values) / 2)
    assert figure.low == pytest.approx(min(values), rel=1e-6)


def test_a_folder_named_twice_counts_once(results: Path) -> None:
    assert len(collect([results, results / "mini"]).runs) == 4


def test_paired_difference_of_a_policy_to_itself_is_zero(results: Path) -> None:
    first, second = collect([results]).groups
    assert paired(first, first, unit_delay)[0].value == 0.0
    figure, episodes = paired(second, first, unit_delay)
    assert episodes == 2
    assert figure.value == pytest.approx(
        second.estimate(unit_delay).value - first.estimate(unit_delay).value
    )
    assert math.isnan(
        paired(first, second.__class__(**{**vars(second), "runs": ()}), unit_delay)[0].value
    )


def test_worlds_lengths_and_variants_stay_apart(one: Path, tmp_path: Path) -> None:
    shutil.copytree(one, tmp_path / "a")
    emulated(one, tmp_path / "b", "valid")
    simulated(tmp_path / "c", "own-edge", 1, mini(slots=10))
    simulated(tmp_path / "d", "own-edge", 1, mini(**{"network.access.rate_mbps": 40}))
    found = collect([tmp_path])
    assert len(found.panels) == 4
    names = {g.scenario for g in found.groups}
    assert names == {"mini", "mini (network.access.rate_mbps=40.0)"}


def test_a_variant_alone_is_still_called_one(tmp_path: Path) -> None:
    simulated(tmp_path, "own-edge", 1, mini(**{"network.access.rate_mbps": 40}))
    (group,) = collect([tmp_path]).groups
    assert group.scenario == "mini (network.access.rate_mbps=40.0)"
    assert group.case == "mini"


def test_a_variant_in_devices_says_how_many(tmp_path: Path) -> None:
    clusters = [{"name": f"c{k}", "bs": "bs1", "devices": 1} for k in (1, 2, 3)]
    simulated(tmp_path, "local", 1, mini(**{"network.clusters": clusters}))
    assert collect([tmp_path]).groups[0].scenario == "mini (clusters of 1)"


def test_many_parameters_become_a_hash(one: Path, tmp_path: Path) -> None:
    many = {f"weight_{k}": 0.5 for k in range(9)}
    edited(one, tmp_path / "a", policy_params=many | {"checkpoint": "x.npz"})
    edited(one, tmp_path / "b", policy_params=many | {"weight_0": 0.6})
    edited(one, tmp_path / "c", policy_params={"v": 2})
    names = [g.policy for g in collect([tmp_path]).groups]
    assert len(set(names)) == 3
    assert "own-edge v=2" in names
    assert sum(name.startswith("own-edge (set ") for name in names) == 2


def test_a_whole_number_is_one_parameter_however_it_was_recorded(one: Path, tmp_path: Path) -> None:
    many = {f"weight_{k}": float(k) for k in range(9)}
    for name, params in (
        ("a", {"v": 2}),
        ("b", {"v": 2.0}),
        ("c", many),
        ("d", {k: int(v) for k, v in many.items()}),
    ):
        edited(one, tmp_path / name, policy_params=params)
    names = sorted({r.policy for g in collect([tmp_path]).groups for r in g.runs})
    assert [n.partition("set")[0] for n in names] == ["own-edge (", "own-edge v=2"]


def test_what_cannot_be_used_takes_a_sentence_each(one: Path, tmp_path: Path) -> None:
    shutil.copytree(one, tmp_path / "good")
    edited(one, tmp_path / "old", schema_version=0)
    killed(one, tmp_path / "killed")
    edited(one, tmp_path / "interrupted", exit_status=130, complete=False, ran_s=7.0)
    edited(one, tmp_path / "broke", exit_status=1, error="OSError: no")
    emulated(one, tmp_path / "invalid", "invalid: no idle CPU")
    shutil.copytree(one, tmp_path / "truncated")
    (tmp_path / "truncated" / "tasks.parquet").write_bytes(b"PAR1")
    shutil.copytree(one, tmp_path / "garbage")
    (tmp_path / "garbage" / "manifest.json").write_text("{")
    found = collect([tmp_path])
    assert [r.result.folder.name for r in found.runs] == ["good"]
    assert len(found.left_out) == 7
    for name, words in (
        ("old", "has version 0 of the result format"),
        ("killed", "was killed before its end"),
        ("interrupted", "interrupted after 7 s"),
        ("broke", "broke (OSError: no)"),
        ("invalid", "says of itself: invalid: no idle CPU"),
        ("truncated", "truncated or no Parquet file"),
        ("garbage", "cannot be read"),
    ):
        (sentence,) = [s for s in found.left_out if f"/{name}" in s]
        assert words in sentence
        assert "\n" not in sentence


def test_invalid_and_partial_ones_are_taken_if_asked_for_and_marked(
    one: Path, tmp_path: Path
) -> None:
    emulated(one, tmp_path / "invalid", "invalid: no idle CPU")
    killed(one, tmp_path / "killed")
    found = collect([tmp_path], keep_invalid=True, partial=True)
    assert [(g.world, g.mark) for g in found.groups] == [("emulation", "†"), ("simulation", "")]
    assert len(found.notes) == 2
    assert found.left_out == ()


def test_an_episode_that_was_run_again_counts_once(one: Path, tmp_path: Path) -> None:
    edited(one, tmp_path / "a", started_utc="2026-01-01T00:00:00Z")
    edited(one, tmp_path / "b", started_utc="2026-01-02T00:00:00Z", git={"commit": "other"})
    emulated(one, tmp_path / "c", "valid")
    found = collect([tmp_path])
    assert sorted(r.result.folder.name for r in found.runs) == ["b", "c"]
    assert found.said == (
        "Of an episode that was run again the last run counts: 1 earlier left out.",
        "The results are of 2 different commits of the lab.",
    )


def test_a_sped_up_run_stands_apart(one: Path, tmp_path: Path) -> None:
    emulated(one, tmp_path / "a", "valid")
    edited(tmp_path / "a", tmp_path / "b", speedup=2.0)
    assert [g.scenario for g in collect([tmp_path]).groups] == ["mini", "mini at speed-up 2"]


def test_nothing_to_read(tmp_path: Path, one: Path) -> None:
    with pytest.raises(UserError, match=r"no result lies below \(no manifest"):
        collect([tmp_path])
    edited(one, tmp_path / "old", schema_version=0)
    with pytest.raises(UserError, match=r"no result can be used: left out: .*version 0"):
        some(collect([tmp_path]))


def test_a_result_from_before_a_key_existed_belongs_to_those_of_today(
    results: Path, tmp_path: Path
) -> None:
    (source, *_) = results.glob("mini/own-edge/*/*")
    scenario = open_result(source).manifest["scenario"]
    decision = {k: v for k, v in scenario["decision"].items() if k != "limit_slots"}
    edited(source, tmp_path / "earlier", scenario={**scenario, "decision": decision})
    found = collect([source, tmp_path / "earlier"])
    assert [g.scenario for g in found.groups] == ["mini"]

"""The figures from results: what their data say, and that they are written."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import polars as pl
import pytest

from analysis.collection import collect
from analysis.figures import FIGURES, Source, draw, fig7
from analysis.overhead import overhead
from analysis.style import LEARNERS, POLICIES, look, rank, save
from metrics.summary import summarise
from model.errors import UserError
from model.network import build_network
from model.wire_format import HEADER, MAGIC, VERSION, Kind
from records.reader import open_result
from rl import policies
from rl.policies import learned
from tests.analysis.captures import ping, segment, write
from tests.analysis.results import edited, emulated, mini, simulated


def test_every_policy_of_the_lab_has_a_look_of_its_own() -> None:
    # A learner may do without: its look then depends on its name, as that of a user's policy.
    assert set(policies.names()) - set(learned.LEARNERS) <= set(POLICIES) <= set(policies.names())
    looks = {(v.colour, v.marker) for v in POLICIES.values()}
    assert len(looks) == len(POLICIES)
    assert set(LEARNERS) <= set(POLICIES)


def test_a_policy_of_ones_own_has_a_look_too() -> None:
    assert look("mine:Policy") == look("mine:Policy")
    assert look("greedy price=False").label == "greedy price=False"
    assert look("greedy price=False").colour == look("greedy").colour
    assert sorted(["mine", "own-edge", "m2ppo"], key=rank) == ["m2ppo", "own-edge", "mine"]


def test_fig4_has_every_run(results: Path, tmp_path: Path) -> None:
    drawing = draw("4", Source((results,)))
    assert len(drawing.data) == 4
    for row in drawing.data.iter_rows(named=True):
        (path,) = results.glob(f"mini/{row['policy']}/seed{row['seed']}/*")
        assert row["unit_delay_s_per_mb"] == summarise(open_result(path)).unit_delay
    svg, png, csv = save(drawing, tmp_path / "a.b" / "fig4.1")
    assert svg.name == "fig4.1.svg"
    assert svg.read_text().count("own edge") == 1
    assert matplotlib.image.imread(png).std() > 0.01
    assert len(csv.read_text().splitlines()) == 5


def test_fig6_has_the_loads_of_each_kind(results: Path) -> None:
    drawing = draw("6", Source((results,)))
    mine = drawing.data.filter(pl.col("policy") == "own-edge")
    loads = [summarise(open_result(p)).node_load for p in results.glob("mini/own-edge/*/*")]
    for kind in ("device", "edge"):
        (load,) = mine.filter(pl.col("kind") == kind)["load_s"]
        assert load == pytest.approx(np.mean([one[kind] for one in loads]))
    assert "smallest load of devices: own edge, 0.000 s" in drawing.said[0]


def test_fig7_over_numbers_of_devices(tmp_path: Path) -> None:
    for devices in (1, 2, 4):
        clusters = [{"name": f"c{k}", "bs": "bs1", "devices": devices} for k in (1, 2)]
        simulated(tmp_path, "local", 1, mini(**{"network.clusters": clusters}))
    drawing = draw("7", Source((tmp_path,)))
    data = drawing.data.sort("devices")
    assert data["devices"].to_list() == [2, 4, 8]
    for run in collect([tmp_path]).runs:
        counted = overhead(run.result, 20.0)
        (row,) = data.filter(pl.col("devices") == counted.devices).iter_rows(named=True)
        assert row["distributed"] == counted.distributed_kbps
        assert row["centralised"] == counted.centralised_kbps
        assert row["captured"] is None
    assert "distributed overhead grows as devices^" in drawing.said[0]
    assert "mini, simulator, 8 devices: distributed" in drawing.said[-1]


@pytest.mark.parametrize(
    ("scenario", "panel"),
    [("case3", "case3"), ("case3 (clusters of 5)", "case3"),
     ("case3 (clusters of 16, 17)", "case3"), ("case3 (a.b=1)", "case3 (a.b=1)"),
     ("case3 (clusters of 1, 2, a.b=1)", "case3 (a.b=1)")],
)  # fmt: skip
def test_fig7_has_a_panel_for_what_differs_in_devices_only(scenario: str, panel: str) -> None:
    assert fig7._but_for_devices(scenario) == panel


def test_fig7_takes_each_scheme_from_its_own_runs(tmp_path: Path) -> None:
    for policy in ("local", "centralised"):
        simulated(tmp_path, policy, 1)
    rows = {r["policy"]: r for r in draw("7", Source((tmp_path,))).data.iter_rows(named=True)}
    assert rows["centralised"]["distributed"] is None
    assert rows["local"]["distributed"] > 0
    assert rows["centralised"]["centralised"] == rows["local"]["centralised"] > 0
    listed = list(rows.values())
    assert [r["policy"] for r in fig7._of_scheme(listed, "centralised")] == ["centralised"]
    assert [r["policy"] for r in fig7._of_scheme(listed, "distributed")] == ["local"]


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.5, 0.9, "sub-linearly"), (0.9, 1.1, "linearly within the error"),
     (1.02, 1.1, "more than linearly"), (0.9996, 0.9999, "linearly within the error"),
     (np.nan, np.nan, "from two numbers of devices only")],
)  # fmt: skip
def test_words_for_growth(low: float, high: float, word: str) -> None:
    assert fig7._word(low, high) == word


def test_captures_of_all_links_count_what_deciding_took(one: Path, tmp_path: Path) -> None:
    folder = emulated(one, tmp_path / "e", "valid")
    clocks = {"begin_unix_s": 1000.0, "monotonic_s": 20.0, "wall_s": 20.0}
    edited(folder, tmp_path / "c", clocks=clocks)
    pcap = tmp_path / "c" / "pcap"
    pcap.mkdir()
    header = HEADER.pack(MAGIC, VERSION, Kind.ARRIVED, 3, 1, 1, 0, 0.5)
    during = [(1001.0, ping(1)), (1002.0, segment(0, header)), (1003.0, segment(32, bytes(1000)))]
    packets = [(999.0, ping(0)), *during, (1021.0, ping(2))]
    names = [k.name.replace(">", "-") for k in build_network(mini()).shaped_links]
    for name in names:
        write(pcap / f"{name}.pcap", packets)
        write(pcap / f"{name}.in.pcap", packets)

    def captured() -> float | None:
        (run,) = [r for r in collect([tmp_path]).runs if r.result.folder.name == "c"]
        return fig7.captured_kbps(run)

    shutil.rmtree(folder)
    ping_bytes, arrived_bytes = 14 + 20 + 8 + 16, 14 + 20 + 32 + 32
    assert captured() == pytest.approx(8e-3 * len(names) * (ping_bytes + arrived_bytes) / 20.0)
    (pcap / f"{names[0]}.pcap").unlink()
    assert captured() is None


def test_latency_of_devices_in_real_ms(one: Path, tmp_path: Path) -> None:
    emulated(one, tmp_path / "e", "valid")
    drawing = draw("latency", Source((tmp_path,)))
    assert sorted(drawing.data["device"]) == ["c1d1", "c1d2"]
    assert "in 2.000 ms (median), 99 % within 8.00 ms on the slowest device" in drawing.said[0]


def test_gap_pairs_the_worlds(one: Path, tmp_path: Path) -> None:
    shutil.copytree(one, tmp_path / "s")
    emulated(one, tmp_path / "e", "valid")
    drawing = draw("gap", Source((tmp_path,)))
    # The same run under both names: all quantiles are alike.
    assert drawing.data["emulation_s"].to_list() == drawing.data["simulation_s"].to_list()
    assert drawing.said == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [("latency", "measured by the devices of emulations"), ("gap", "in both worlds"),
     ("eq14", "4 results lie below"), ("3", "no training run"), ("5", "no training run")],
)  # fmt: skip
def test_what_is_not_there_is_said(results: Path, name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        draw(name, Source((results,)))


def test_eq14_needs_a_real_run(one: Path) -> None:
    with pytest.raises(UserError, match="needs a run"):
        draw("eq14", Source((one,)))


def test_invalid_emulations_are_left_out_and_marked_where_asked_for(
    one: Path, tmp_path: Path
) -> None:
    shutil.copytree(one, tmp_path / "s")
    emulated(one, tmp_path / "e", "invalid: late")
    assert set(draw("4", Source((tmp_path,))).data["world"]) == {"simulation"}
    drawing = draw("4", Source((tmp_path,), keep_invalid=True))
    assert drawing.data.filter(~pl.col("valid"))["world"].to_list() == ["emulation"]
    assert any("marked †: invalid: late" in s for s in drawing.said)


def test_every_figure_has_a_module() -> None:
    folder = Path(fig7.__file__).parent
    assert all((folder / f"{module}.py").is_file() for module, _ in FIGURES.values())

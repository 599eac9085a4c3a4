"""Figs. 8 to 11, from results with tables of real work that are known in every row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.figures import Source, draw
from analysis.prototype import prototype_of
from model.errors import UserError
from model.scenario.load import load_scenario
from records.reader import open_result
from records.schema import RESOURCES, TRANSCODES
from tests.analysis.results import emulated, simulated

SECONDS, DEVICES = 20.0, 3


def prototype(root: Path, policy: str, seed: int, megabytes: float) -> Path:
    """A result of livecast-mini, as of an emulation, in which so many MB went everywhere."""
    scenario = load_scenario("livecast-mini")
    source = simulated(root / "simulated", policy, seed, scenario)
    folder = emulated(source, root / "emulated" / f"{policy}{seed}", "valid")
    clips = [
        {"task": k, "unit": "c1d1", "target_kind": kind, "cpu_s": cpu_s, "clip": 0,
         "data_bytes": 1e6 * megabytes, "result_bytes": 0.5e6 * megabytes}
        for k, (kind, cpu_s) in enumerate((("self", 1.0), ("device", 2.0), ("edge", 3.0)))
    ]  # fmt: skip
    used = [
        {"slot": s, "node": node, "kind": kind, "cpu_s": cpu_s, "memory_mb": memory,
         "received_bytes": 1e6 * megabytes, "sent_bytes": 0.0}
        for s in range(int(SECONDS))
        for node, kind, cpu_s, memory in (("c1d1", "device", 0.1, 20.0), ("e1", "edge", 0.3, 60.0))
    ]  # fmt: skip
    for name, rows, schema in (
        ("transcodes", clips, TRANSCODES),
        ("resources", used, RESOURCES),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prototype")
    for policy, megabytes in (("self-biased", 0.9), ("ago-random", 1.0), ("random", 1.2)):
        for seed in (1, 2, 3):
            prototype(root, policy, seed, megabytes)
    return root


def test_roles_are_told_apart(results: Path) -> None:
    found = prototype_of(open_result(results / "emulated" / "ago-random1"), SECONDS)
    per_device = 8.0 / (DEVICES * SECONDS)
    assert found.out_mbps == pytest.approx(
        {"client": 2.0 * per_device, "md": 0.5 * per_device, "edge": 0.5 * 8 / SECONDS}
    )
    assert found.in_mbps == pytest.approx(
        {"client": 1.0 * per_device, "md": 1.0 * per_device, "edge": 8 / SECONDS}
    )
    assert found.coder_share == pytest.approx(
        {"client": 1 / (DEVICES * SECONDS), "md": 2 / (DEVICES * SECONDS), "edge": 3 / SECONDS}
    )
    assert found.cpu_share == pytest.approx({"device": 0.1, "edge": 0.3})
    assert found.memory_mb == pytest.approx({"device": 20.0, "edge": 60.0})
    assert found.traffic_mbps == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("name", "rows"),
    [("8", 3 * 3), ("9", 3 * 3 * 2), ("10", 3 * 5), ("11", 3 * 2)],
)
def test_each_figure_has_a_bar_for_each_policy_and_role(
    results: Path, name: str, rows: int
) -> None:
    drawing = draw(name, Source((results / "emulated",)))
    assert len(drawing.data) == rows
    assert set(drawing.data["policy"]) == {"self-biased", "ago-random", "random"}
    # A role in which a run had no clips has no delay in it.
    assert set(drawing.data["runs"]) == {3} if name != "8" else drawing.data["runs"].max() == 3


def test_delays_are_those_of_the_tasks(results: Path) -> None:
    drawing = draw("8", Source((results / "emulated",)))
    mine = drawing.data.filter((pl.col("policy") == "random") & (pl.col("kind") == "edge"))
    means = []
    for seed in (1, 2, 3):
        tasks = pl.read_parquet(results / "emulated" / f"random{seed}" / "tasks.parquet")
        at_edge = tasks.filter(pl.col("target_kind") == "edge")
        end = pl.col("known_s").fill_null(SECONDS)
        means.append(at_edge.select((end - pl.col("born_s")).mean()).item())
    assert mine["value"].item() == pytest.approx(sum(means) / 3)


def test_fig9_says_how_traffic_differs_beside_the_paper(results: Path) -> None:
    said = draw("9", Source((results / "emulated",))).said
    assert said[0].startswith(
        "self-biased: traffic -10.0 % [-10.0, -10.0] against ago-random over 3"
    )
    assert said[0].endswith("(the paper's M2PPO: -5 %).")
    assert said[1].startswith("self-biased: traffic -25.0 %")


def test_other_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="emulations that transcode"):
        draw("8", Source((simulated(tmp_path, "local", 1),)))

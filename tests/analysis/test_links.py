"""Loads of links by class, against the table that they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from analysis import links
from analysis.collection import collect
from analysis.frames import frame
from analysis.report.figures import read_loads
from analysis.style import save
from metrics.summary import summarise
from tests.analysis.results import edited


def test_numbers_of_a_class(one: Path) -> None:
    (group,) = collect([one]).groups
    table = frame(group.runs[0].result, "links").filter(pl.col("link_class") == "access")
    load = table["load_s"].to_numpy()
    found = links.class_loads(group)
    assert list(found) == ["e2d", "access"]  # one cell: no E2E
    access = found["access"]
    assert access.mean == pytest.approx(load.mean())
    assert access.waiting == pytest.approx((load > 1e-6).mean())
    assert access.utilisation == pytest.approx(table["utilisation"].mean())
    assert access.quantile(0.95) == pytest.approx(np.quantile(load, 0.95))
    assert access.quantile(1.0) == load.max()
    # Everything goes to the edge server.
    assert access.heaviest[0] == "bs1>e1"
    limit_s = 8 * 4 / 20  # 4 MB before a link of 20 Mbps
    assert access.full == pytest.approx((load > 0.98 * limit_s).mean())


def test_over_time_is_the_mean_over_links(one: Path) -> None:
    (group,) = collect([one]).groups
    found = links.class_loads(group)["e2d"]
    table = frame(group.runs[0].result, "links").filter(pl.col("link_class") == "e2d")
    by_slot = table.group_by("slot").agg(pl.col("load_s").mean()).sort("slot")
    assert found.time_s.tolist() == list(range(1, 21))
    np.testing.assert_allclose(found.over_time, [by_slot["load_s"].to_numpy()])


def test_seeds_are_pooled(results: Path) -> None:
    group = collect([results]).groups[1]
    both = links.class_loads(group)["access"]
    assert both.over_time.shape == (2, 20)
    each = [frame(r.result, "links").filter(pl.col("link_class") == "access") for r in group.runs]
    assert both.mean == pytest.approx(np.mean([t["load_s"].mean() for t in each]))


def test_slots_in_which_nobody_looked_count_for_nothing(one: Path, tmp_path: Path) -> None:
    blind = edited(one, tmp_path / "blind")
    table = pl.read_parquet(one / "links.parquet")
    values = ("backlog_bytes", "virtual_backlog_bytes", "sent_bytes", "load_s", "utilisation", "up")
    seen = pl.col("slot") != 5
    changed = table.with_columns(pl.when(seen).then(pl.col(c)).alias(c) for c in values)
    schema = pq.read_schema(one / "links.parquet")
    pq.write_table(changed.to_arrow().cast(schema), blind / "links.parquet")
    (group,) = collect([blind]).groups
    access = links.class_loads(group)["access"]
    expected = table.filter((pl.col("link_class") == "access") & seen)
    assert access.mean == pytest.approx(expected["load_s"].mean())
    assert access.utilisation == pytest.approx(expected["utilisation"].mean())
    assert np.isnan(access.over_time).sum() == 1
    loads = read_loads(group.runs[0].result, "links")
    assert loads["load_s"].null_count() == 0
    summary = summarise(group.runs[0].result)
    assert summary.link_load["access"] == pytest.approx(expected["load_s"].mean())


def test_table_figure_and_words(results: Path, tmp_path: Path) -> None:
    (panel,) = collect([results]).panels
    loads = [links.class_loads(group) for group in panel]
    table = links.table(panel, loads)
    assert [row[:2] for row in table.rows] == [
        ("self-biased", "E2D"), ("", "ACCESS"), ("own edge", "E2D"), ("", "ACCESS")
    ]  # fmt: skip
    drawing = links.draw(panel, loads)
    assert set(drawing.data["link_class"]) == {"e2d", "access"}
    shares = drawing.data.filter(pl.col("curve").str.starts_with("share"))
    assert shares["y"].min() == 0.0
    assert all(p.stat().st_size > 1000 for p in save(drawing, tmp_path / "links"))
    said = list(links.sentences(panel, loads))
    assert len(said) == 2
    assert "own edge: " in said[1]
    assert said[1].count(" < ") == 1

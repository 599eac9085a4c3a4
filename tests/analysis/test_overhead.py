"""The signalling of a run, counted by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from analysis.overhead import growth, overhead
from model.scenario.load import load_scenario
from records.reader import Result
from records.schema import TABLES

CLUSTERS = [
    {"name": "c1", "bs": "bs1", "devices": 2},
    {"name": "c2", "bs": "bs3", "devices": 1},
]
CASE = load_scenario("case1", {"network.clusters": CLUSTERS})


def result(scenario: Any, **rows: list[dict[str, object]]) -> Result:
    class Memory(Result):
        def table(self, name: str, columns: Any = None, *, packed: bool = False) -> pa.Table:
            whole = pa.Table.from_pylist(rows.get(name, []), schema=TABLES[name])
            return whole.select(columns or whole.column_names)

    return Memory(Path("memory"), {"scenario": scenario.model_dump(mode="json")})


def test_pings_cross_links_there_and_back() -> None:
    probes: list[dict[str, object]] = [
        {"device": "c1d1", "target": "c1d2", "rtt_s": 0.01},  # two links
        {"device": "c1d1", "target": "e1", "rtt_s": 0.01},  # two links
        {"device": "c1d1", "target": "e3", "rtt_s": 0.01},  # three: bs1 and bs3 are joined
        {"device": "c1d1", "target": "e3", "rtt_s": None},  # nobody answered: three, once
    ]
    found = overhead(result(CASE, probes=probes), 10.0)
    assert found.pings == (56 + 42) * (2 * 2 + 2 * 2 + 2 * 3 + 3)
    assert found.devices == 3
    assert found.distributed_kbps == pytest.approx(8e-3 * found.pings / 10.0)


def test_units_acknowledge_the_tasks_that_reached_them() -> None:
    def task(target: str, kind: str, arrived: float | None) -> dict[str, object]:
        return {"device": "c2d1", "target": target, "target_kind": kind, "arrived_s": arrived,
                "born_s": 1.0}  # fmt: skip

    tasks = [
        task("c2d1", "self", 1.0),
        task("e3", "edge", 2.0),
        task("e1", "edge", 3.0),
        task("e1", "edge", None),
    ]
    assert overhead(result(CASE, tasks=tasks), 10.0).acknowledgements == (66 + 32) * (2 + 3)


def test_a_coordinator_hears_of_every_queue_and_places_every_task() -> None:
    born: list[dict[str, object]] = [
        {"device": "c1d1", "born_s": 1.0},
        {"device": "c2d1", "born_s": 2.0},
        {"device": "c2d1", "born_s": 11.0},  # after the end
    ]
    found = overhead(result(CASE, tasks=born), 10.0)
    # It sits at bs1: two devices and e1 are one link away, c2d1, e2 and e3 two; bs2 and bs3 one.
    # A unit has Q, F and its own link; bs2 feeds two base stations and e2, bs3 also c2d1.
    units = (3 * 1 + 3 * 2) * (42 + 32 + 3 * 8)
    switches = (42 + 32 + 3 * 8) + (42 + 32 + 4 * 8)
    assert found.status == 10 * (units + switches)
    assert found.decisions == 2 * (42 + 32 + 2 * 8) * (1 + 2)


def test_a_cloud_is_heard_too() -> None:
    there = load_scenario("case1-cloud", {"network.clusters": CLUSTERS})
    without, found = (overhead(result(s), 1.0) for s in (CASE, there))
    # The cloud (Q, F) and its core (three backbone links) are one shaped link away; every base
    # station has a backbone link more, of which the coordinator's own crosses nothing.
    cloud, core = 42 + 32 + 2 * 8, 42 + 32 + 3 * 8
    assert found.status - without.status == cloud + core + 2 * 8


def test_devices_that_share_a_radio_are_two_links_apart() -> None:
    shared = CASE.model_copy(
        update={"network": CASE.network.model_copy(update={"wireless_scope": "cluster"})}
    )
    probes: list[dict[str, object]] = [
        {"device": "c1d1", "target": "c1d2", "rtt_s": 0.01},
        {"device": "c1d1", "target": "e1", "rtt_s": 0.01},
    ]
    assert overhead(result(shared, probes=probes), 10.0).pings == 98 * 2 * (2 + 2)


def test_growth_finds_the_exponent() -> None:
    devices = np.array([10.0, 20.0, 40.0, 80.0])
    exponent, low, high = growth(devices, 3.0 * devices**0.7)
    assert exponent == pytest.approx(0.7)
    assert low == pytest.approx(0.7, abs=1e-6)
    assert high == pytest.approx(0.7, abs=1e-6)
    noisy = 3.0 * devices * np.array([1.1, 0.9, 1.05, 1.0])
    exponent, low, high = growth(devices, noisy)
    assert low < exponent < high
    assert np.isnan(growth(devices[:2], devices[:2])[1])
    with pytest.raises(ValueError, match="two numbers"):
        growth(devices[:1], devices[:1])

"""The closed form (22)-(24) against minimisation by trying."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.compute import price
from model.cost import (
    Estimates,
    best_known,
    best_rate_mbps,
    path_delay_s,
    penalised_cost,
    processing_delay_s,
    solve,
    task_cost,
)
from model.errors import ScenarioError
from model.network import build_network
from model.observation import DeviceProfile, TaskView
from model.profile import device_profile
from model.scenario.load import load_scenario


def profile(name: str = "mini") -> DeviceProfile:
    scenario = load_scenario(name)
    return device_profile(scenario, build_network(scenario), "c1d1")


PROFILE = profile()
TARGETS = len(PROFILE.targets)
delays = st.lists(st.floats(0, 20), min_size=TARGETS, max_size=TARGETS)


@given(delays, delays, st.integers(0, 12), st.integers(0, 40))
def test_closed_form_is_the_minimum(
    processing: list[float], delay: list[float], data_mb: int, work: int
) -> None:
    task = TaskView(float(work), float(data_mb))
    estimates = Estimates(np.array(processing), np.array(delay))
    found = solve(PROFILE, task, estimates)
    grid = np.linspace(PROFILE.min_rate_mbps, PROFILE.max_rate_mbps, 2001)
    tried = np.array([penalised_cost(PROFILE, task, estimates, np.full(TARGETS, x)) for x in grid])
    assert (found.values <= tried.min(axis=0) + 1e-9).all()
    assert found.values == pytest.approx(tried.min(axis=0), abs=1e-3, rel=1e-4)
    assert found.values[found.target] == found.values.min()
    assert PROFILE.min_rate_mbps <= found.rate_mbps <= PROFILE.max_rate_mbps


def test_best_rate() -> None:
    # √(1 · 6 MB / 6 s) = 1 MB/s = 8 Mbps; empty path: all; loaded path, no data: least.
    assert best_rate_mbps(6.0, [6.0, 0.0, 1e6, 0.01], 1.0, 1.0, 10.0).tolist() == [8, 10, 1, 10]
    assert best_rate_mbps(0.0, [0.0, 1.0], 1.0, 1.0, 10.0).tolist() == [10, 1]
    assert np.isnan(best_rate_mbps(1.0, [np.nan], 1.0, 1.0, 10.0)).all()


def test_own_device_crosses_no_link() -> None:
    estimates = Estimates(np.full(TARGETS, 2.0), np.full(TARGETS, 3.0))
    rates = np.full(TARGETS, 8.0)
    values = penalised_cost(PROFILE, TaskView(10.0, 4.0), estimates, rates)
    assert values[0] == pytest.approx(2.0 + 0.01 * 1 * 10)
    edge = PROFILE.own_edge
    assert values[edge] == pytest.approx(2.0 + 4.0 / 1.0 + 3.0 + 0.01 * 2 * 10 + 3.0 * 1.0)
    greedy = penalised_cost(PROFILE, TaskView(10.0, 4.0), estimates, rates, congestion_price=False)
    assert values[edge] - greedy[edge] == pytest.approx(3.0)


def test_unknown_targets_are_not_chosen() -> None:
    processing = np.full(TARGETS, np.nan)
    processing[2] = 1e6
    found = solve(PROFILE, TaskView(1.0, 1.0), Estimates(processing, np.full(TARGETS, np.nan)))
    assert found.target == 0  # Nothing is known for certain: stay at home.
    found = solve(PROFILE, TaskView(1.0, 1.0), Estimates(processing, np.zeros(TARGETS)))
    assert found.target == 2
    assert best_known(np.array([3.0, np.nan, 1.0, 1.0])) == 2
    assert best_known(np.full(3, np.nan)) == 0


def test_without_congestion_price_the_rate_is_full() -> None:
    estimates = Estimates(np.full(TARGETS, 2.0), np.full(TARGETS, 9.0))
    found = solve(PROFILE, TaskView(1.0, 1.0), estimates, congestion_price=False)
    assert (found.rates_mbps == 10.0).all()


def test_small_equations() -> None:
    assert processing_delay_s([0.0, 30.0], 6.0, [3.0, 6.0]).tolist() == [2.0, 6.0]
    assert path_delay_s([1.25e6, 3.75e6], [10.0, 30.0]) == pytest.approx(2.0)
    assert path_delay_s([], []) == 0.0
    assert task_cost(2.0, 4.0, 10.0, 1.0, 0.01) == pytest.approx(2.4)


def test_profile() -> None:
    scenario = load_scenario("case1-cloud")
    network = build_network(scenario)
    found = device_profile(scenario, network, "c3d2")
    assert found.targets[0] == "c3d2"
    assert found.kinds[0] == "self"
    assert found.targets[found.own_edge] == "e2"
    assert found.kinds[-4:] == ("edge", "edge", "edge", "cloud")
    assert found.prices[0] == 1
    assert found.prices[-2:] == (2, 4)
    peers = {t for t, kind in zip(found.targets, found.kinds, strict=True) if kind == "device"}
    assert peers == {d.name for d in network.devices if d.cell == "bs2"} - {"c3d2"}
    assert price(scenario, network.nodes["cloud"]) == 4


@pytest.mark.parametrize("mode", ["none", "overflow"])
def test_cloud_is_a_target_only_where_agents_may_choose_it(mode: str) -> None:
    scenario = load_scenario("case1", {"cloud.mode": mode})
    found = device_profile(scenario, build_network(scenario), "c1d1")
    assert "cloud" not in found.kinds


def test_profile_of_something_else() -> None:
    scenario = load_scenario("mini")
    with pytest.raises(ScenarioError, match="'e1' is no device of mini"):
        device_profile(scenario, build_network(scenario), "e1")

"""F_u(t) and the queue of a unit, against integration in small steps and the Lindley recursion."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.compute import (
    FifoUnit,
    FrequencyTrace,
    device_max_ghz,
    frequency_trace,
    mean_frequency_ghz,
)
from model.network import build_network
from model.scenario.load import load_scenario

STEP_S = 1e-3
times = st.floats(0, 30, allow_nan=False)


@st.composite
def traces(draw: st.DrawFn) -> FrequencyTrace:
    steps = draw(st.lists(st.floats(0.05, 8), max_size=6))
    start = np.concatenate([[0.0], np.cumsum(steps)])
    ghz = draw(st.lists(st.floats(0.3, 10), min_size=len(start), max_size=len(start)))
    return FrequencyTrace(tuple(map(float, start)), tuple(ghz), 10.0)


@st.composite
def arrivals(draw: st.DrawFn) -> list[tuple[float, float]]:
    at = sorted(draw(st.lists(times, min_size=1, max_size=8)))
    return [(t, draw(st.floats(0, 40))) for t in at]


@given(traces(), times, times)
def test_served_is_the_integral(trace: FrequencyTrace, a: float, b: float) -> None:
    begin, end = min(a, b), max(a, b)
    grid = np.arange(begin, end, STEP_S)
    brute = sum(trace.at(t) for t in grid) * STEP_S if len(grid) < 3000 else None
    served = trace.served(begin, end)
    if brute is not None:
        assert served == pytest.approx(brute, abs=10 * STEP_S * (len(trace.ghz) + 1))
    middle = (begin + end) / 2
    assert served == pytest.approx(trace.served(begin, middle) + trace.served(middle, end))


@given(traces(), times, st.floats(0, 100))
def test_finish_is_the_inverse_of_served(trace: FrequencyTrace, begin: float, work: float) -> None:
    end = trace.finish(begin, work)
    assert end >= begin
    assert trace.served(begin, end) == pytest.approx(work, abs=1e-6)


@given(traces(), arrivals())
def test_queue_is_lindleys(trace: FrequencyTrace, jobs: list[tuple[float, float]]) -> None:
    unit = FifoUnit(trace)
    queue, now = 0.0, 0.0
    for at, work in jobs:
        # Eq. (4) with its positive part, exact between two arrivals.
        queue, now = max(0.0, queue - trace.served(now, at)), at
        assert unit.queue_ghz_s(at) == pytest.approx(queue, abs=1e-6)
        queue += work
        service = unit.admit(at, work)
        assert service.start_s >= at
        assert service.end_s == pytest.approx(trace.finish(at, queue), abs=1e-6)
        assert unit.queue_ghz_s(at) == pytest.approx(queue, abs=1e-6)


@given(traces(), arrivals())
def test_busy_time(trace: FrequencyTrace, jobs: list[tuple[float, float]]) -> None:
    unit = FifoUnit(trace)
    services = [unit.admit(at, work) for at, work in jobs]
    last = services[-1].end_s
    assert unit.queue_ghz_s(last) == 0.0
    total = sum(s.end_s - s.start_s for s in services)
    # Asking for the queue first must not lose what was served before.
    assert unit.busy_s(0.0, last + 1) == pytest.approx(total, abs=1e-6)
    halves = unit.busy_s(0.0, last / 2) + unit.busy_s(last / 2, last)
    assert halves == pytest.approx(total, abs=1e-6)
    assert unit.busy_s(3.0, 4.0) <= 1.0 + 1e-9


def test_devices_have_the_stated_frequencies() -> None:
    scenario = load_scenario("case1", {"slots": 100_000})
    devices = build_network(scenario).devices
    means, idle = [], []
    for node in devices:
        trace = frequency_trace(scenario, 1, node)
        assert 4 <= trace.max_ghz <= 10
        assert trace.max_ghz == device_max_ghz(scenario, node)
        assert set(trace.ghz) <= {trace.max_ghz, trace.max_ghz * 0.15}
        means.append(trace.served(0, 1e5) / 1e5 / trace.max_ghz)
        idle.append(trace.at(50_000.0) == trace.max_ghz)
    assert np.mean(means) == pytest.approx(0.65 + 0.35 * 0.15, abs=0.01)
    assert 0.4 < np.mean(idle) < 0.9
    assert mean_frequency_ghz(scenario) == pytest.approx(7 * (0.65 + 0.35 * 0.15))


def test_length_of_busy_periods() -> None:
    scenario = load_scenario("mini", {"slots": 200_000, "compute.device.busy_dwell_s": 40})
    node = build_network(scenario).devices[0]
    trace = frequency_trace(scenario, 1, node)
    dwell = np.diff(trace.start_s)
    busy = np.array(trace.ghz[:-1]) < trace.max_ghz
    assert dwell[busy].mean() == pytest.approx(40, rel=0.1)
    assert dwell[~busy].mean() == pytest.approx(40 * 0.65 / 0.35, rel=0.1)


def test_longer_run_has_the_same_beginning() -> None:
    short, long = load_scenario("case1"), load_scenario("case1", {"slots": 900})
    node = build_network(short).devices[3]
    one, two = frequency_trace(short, 5, node), frequency_trace(long, 5, node)
    assert two.start_s[: len(one.start_s)] == one.start_s
    assert two.ghz[: len(one.ghz)] == one.ghz


def test_edges_and_the_cloud_are_constant() -> None:
    scenario = load_scenario("case1-cloud")
    network = build_network(scenario)
    assert frequency_trace(scenario, 1, network.nodes["e2"]).ghz == (30.0,)
    assert frequency_trace(scenario, 1, network.nodes["cloud"]).ghz == (200.0,)

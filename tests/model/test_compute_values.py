"""F_u(t), queues and fees in numbers, at the times where a slip by one would show."""

from __future__ import annotations

import pytest

from model.compute import FifoUnit, FrequencyTrace, frequency_trace, price, worker_count
from model.network import build_network
from model.scenario.load import load_scenario

STEPS = FrequencyTrace((0.0, 10.0, 20.0), (2.0, 1.0, 4.0), 4.0)


@pytest.mark.parametrize(
    ("time_s", "ghz"), [(0.0, 2.0), (9.99, 2.0), (10.0, 1.0), (19.99, 1.0), (20.0, 4.0), (1e6, 4.0)]
)
def test_a_step_begins_at_its_own_time(time_s: float, ghz: float) -> None:
    assert STEPS.at(time_s) == ghz


@pytest.mark.parametrize(
    ("begin_s", "work", "end_s"),
    [
        (0.0, 0.0, 0.0), (0.0, 20.0, 10.0), (0.0, 22.0, 12.0), (5.0, 20.0, 20.0),
        (5.0, 24.0, 21.0), (10.0, 10.0, 20.0), (30.0, 8.0, 32.0),
    ],
)  # fmt: skip
def test_work_ends_and_what_was_served_by_then_is_it(
    begin_s: float, work: float, end_s: float
) -> None:
    assert STEPS.finish(begin_s, work) == pytest.approx(end_s)
    assert STEPS.served(begin_s, end_s) == pytest.approx(work)


def test_a_queue_in_numbers() -> None:
    unit = FifoUnit(STEPS)
    assert unit.queue_ghz_s(0.0) == 0.0
    first, second = unit.admit(2.0, 8.0), unit.admit(3.0, 6.0)
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (2.0, 6.0, 6.0, 9.0)
    assert [unit.queue_ghz_s(t) for t in (3.0, 6.0, 8.0, 9.0, 50.0)] == [12.0, 6.0, 2.0, 0.0, 0.0]
    third = unit.admit(15.0, 1.0)
    assert (third.start_s, third.end_s) == (15.0, 16.0)
    spans = ((0.0, 2.0), (0.0, 4.0), (4.0, 8.0), (8.0, 15.5), (16.0, 99.0), (0.0, 99.0))
    assert [unit.busy_s(*span) for span in spans] == [0.0, 2.0, 4.0, 1.5, 0.0, 8.0]


def test_a_device_that_is_always_idle_has_its_whole_frequency() -> None:
    scenario = load_scenario("mini", {"compute.device.idle_probability": 1.0})
    for node in build_network(scenario).devices:
        trace = frequency_trace(scenario, 1, node)
        assert trace == FrequencyTrace((0.0,), (trace.max_ghz,), trace.max_ghz)
        low, high = scenario.compute.device.max_ghz
        assert low <= trace.max_ghz <= high


def test_every_trace_begins_with_the_run_and_steps_until_its_end() -> None:
    scenario = load_scenario("case1", {"slots": 2000})
    network = build_network(scenario)
    for node in network.units:
        trace = frequency_trace(scenario, 1, node)
        assert trace.start_s[0] == 0.0
        assert trace.start_s[-1] < scenario.duration_s
        assert len(trace.start_s) == len(trace.ghz) > 10 * (node.kind == "device")
        # Idle and busy take turns.
        assert all(a != b for a, b in zip(trace.ghz, trace.ghz[1:], strict=False))


def test_fees_are_those_of_the_scenario() -> None:
    prices = {"compute.device_price": 1.5, "compute.edge_price": 2.5, "compute.cloud_price": 3.5}
    scenario = load_scenario("case1-cloud", prices)
    network = build_network(scenario)
    assert [price(scenario, network.nodes[u]) for u in ("c1d1", "e2", "cloud")] == [1.5, 2.5, 3.5]


def test_a_unit_serves_one_task_at_once_unless_the_work_is_real() -> None:
    timed = load_scenario("mini", {"compute.workers.edge": 3})
    real = load_scenario("livecast", {"compute.workers.edge": 3})
    assert [worker_count(timed, kind) for kind in ("device", "edge", "cloud")] == [1, 1, 1]
    assert worker_count(real, "edge") == 3
    assert worker_count(real, "bs") == 1

"""Times, rates and names of events at the edges of a run."""

from __future__ import annotations

import pytest

from model.events import CableEvent, CapacityEvent, timeline
from model.network import build_network
from model.scenario.load import load_scenario


@pytest.mark.parametrize(
    ("every_s", "times"),
    [(5, [5, 10, 15, 20, 25]), (7, [7, 14, 21, 28]), (30, []), (29, [29]), (16, [16])],
)
def test_capacities_change_after_every_period_within_the_run(
    every_s: float, times: list[float]
) -> None:
    process = [{"link_class": "access", "every_s": every_s, "factor": [0.5, 0.8]}]
    scenario = load_scenario("mini", {"events.capacity_process": process})
    assert scenario.duration_s == 30
    found = timeline(scenario, build_network(scenario), 1)
    for link in ("bs1>e1", "e1>bs1"):
        assert [e.at_s for e in found if getattr(e, "link", "") == link] == times
    assert len(found) == 2 * len(times)


def test_every_link_of_a_class_draws_for_itself_from_its_own_rate() -> None:
    process = [
        {"link_class": "access", "every_s": 10, "factor": [0.5, 0.5]},
        {"link_class": "e2d", "every_s": 10, "factor": [2.0, 3.0]},
    ]
    scenario = load_scenario("mini", {"events.capacity_process": process})
    network = build_network(scenario)
    found = [e for e in timeline(scenario, network, 1) if isinstance(e, CapacityEvent)]
    drawn = []
    for event in found:
        link = network.links[event.link]
        assert link.spec is not None
        if link.link_class == "access":
            assert event.rate_mbps == 0.5 * link.spec.rate_mbps
        else:
            assert 2 * link.spec.rate_mbps <= event.rate_mbps <= 3 * link.spec.rate_mbps
            drawn.append(event.rate_mbps)
    assert len(drawn) == len(set(drawn)) == 2 * 2 * len(network.devices)


@pytest.mark.parametrize("name", ["bs1>e1", "e1>bs1", "bs1-e1", "e1-bs1"])
def test_a_failure_takes_the_whole_cable_by_any_of_its_names(name: str) -> None:
    failure = [{"at_s": 5, "link": name, "down_s": 2.5}]
    scenario = load_scenario("mini", {"events.failures": failure})
    assert timeline(scenario, build_network(scenario), 1) == (
        CableEvent(5, "bs1-e1", up=False),
        CableEvent(7.5, "bs1-e1", up=True),
    )

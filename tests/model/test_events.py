"""What happens to the network during a run."""

from __future__ import annotations

import pytest

from model.errors import ScenarioError
from model.events import CableEvent, CapacityEvent, timeline
from model.network import build_network
from model.scenario import CapacityChange, EventsSpec
from model.scenario.load import load_scenario


def test_timeline_is_ordered_and_names_links() -> None:
    events = {
        "events.capacity": [
            {"at_s": 9, "link": "bs1-c1d1", "rate_mbps": 2},
            {"at_s": 4, "link": "bs1>e1", "rate_mbps": 3},
        ],
        "events.failures": [{"at_s": 5, "link": "e1-bs1", "down_s": 2}],
    }
    scenario = load_scenario("mini", events)
    assert list(timeline(scenario, build_network(scenario), 1)) == [
        CapacityEvent(4, "bs1>e1", 3),
        CableEvent(5, "bs1-e1", up=False),
        CableEvent(7, "bs1-e1", up=True),
        CapacityEvent(9, "bs1>c1d1", 2),
        CapacityEvent(9, "c1d1>bs1", 2),
    ]


def test_random_capacities_stay_in_their_range_and_depend_on_the_seed() -> None:
    process = [{"link_class": "access", "every_s": 5, "factor": [0.5, 0.8]}]
    scenario = load_scenario("mini", {"events.capacity_process": process})
    network = build_network(scenario)
    found = timeline(scenario, network, 1)
    assert len(found) == 2 * 5
    assert all(isinstance(e, CapacityEvent) and 10 <= e.rate_mbps <= 16 for e in found)
    assert timeline(scenario, network, 1) == found != timeline(scenario, network, 2)


def test_unknown_link() -> None:
    # The loader finds this first; scenarios can also be built in code.
    change = CapacityChange(at_s=1, link="bs1-bs9", rate_mbps=1)
    scenario = load_scenario("mini").model_copy(update={"events": EventsSpec(capacity=(change,))})
    with pytest.raises(ScenarioError, match="there is no shaped link 'bs1-bs9'"):
        timeline(scenario, build_network(scenario), 1)

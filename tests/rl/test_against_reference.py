"""The fast simulator equals the slow one."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.scenario import (
    CapacityChange,
    CapacityProcess,
    CloudSpec,
    EventsSpec,
    LinkSpec,
    Scenario,
    WorkloadSpec,
)
from tests.rl.agreement import agree
from tests.rl.worlds import small


def test_the_paper_s_network() -> None:
    work = WorkloadSpec(tasks_per_epoch=12, work_ghz_s=3, data_mb=0.5)
    agree(Scenario(name="case3", slots=15, workload=work), [3, 4])


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Networks of all kinds, small and loaded."""
    network: dict[str, Any] = {
        "wireless_scope": draw(st.sampled_from(["device", "cluster"])),
        "e2d": LinkSpec(
            rate_mbps=draw(st.sampled_from([4.0, 10.0])),
            delay_ms=draw(st.sampled_from([0.0, 3.0])),
            buffer_mb=draw(st.sampled_from([0.5, 4.0])),
        ),
        "e2e": LinkSpec(rate_mbps=draw(st.sampled_from([5.0, 30.0]))),
        "topology_seed": draw(st.integers(0, 5)),
    }
    events = EventsSpec(
        capacity=draw(
            st.lists(
                st.builds(
                    CapacityChange,
                    at_s=st.sampled_from([0.0, 2.5, 7.0, 100.0]),
                    link=st.sampled_from(["bs1-bs2", "bs1>e1"]),
                    rate_mbps=st.sampled_from([1.0, 50.0]),
                ),
                max_size=2,
            ).map(tuple)
        ),
        capacity_process=draw(
            st.sampled_from([(), (CapacityProcess(link_class="e2d", every_s=1.7),)])
        ),
    )
    workload = WorkloadSpec(
        tasks_per_epoch=draw(st.sampled_from([1.0, 8.0, 20.0])),
        work_ghz_s=draw(st.sampled_from([1.0, 10.0])),
        data_mb=draw(st.sampled_from([0.3, 2.0])),
        arrival=draw(st.sampled_from(["spread", "burst"])),
    )
    mode = draw(st.sampled_from(["none", "overflow", "target"]))
    return small(
        devices=draw(st.integers(1, 3)),
        network=network,
        events=events,
        workload=workload,
        cloud=CloudSpec(mode=mode, overflow_queue_s=0.3),
        slot_s=draw(st.sampled_from([0.5, 1.0])),
    )


@given(scenarios(), st.integers(0, 100), st.sampled_from([0.02, 0.125, 10.0]))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_network(scenario: Scenario, seed: int, piece_mb: float) -> None:
    agree(scenario, [seed, seed + 1], piece_mb)

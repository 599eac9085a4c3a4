"""Small scenarios for the emulation's tests."""

from __future__ import annotations

from model.scenario import (
    BaseStationSpec,
    ClusterSpec,
    LinkSpec,
    NetworkSpec,
    Scenario,
    WorkloadSpec,
)


def small_scenario(**network: object) -> Scenario:
    """Two base stations, two clusters of two devices; ``network`` overrides fields."""
    fields: dict[str, object] = {
        "base_stations": tuple(BaseStationSpec(name=f"bs{k}", edge=f"e{k}") for k in (1, 2)),
        "clusters": tuple(ClusterSpec(name=f"c{k}", bs=f"bs{k}", devices=2) for k in (1, 2)),
        "e2d": LinkSpec(rate_mbps=10, buffer_mb=1.5),
    }
    return Scenario(
        name="small",
        slots=5,
        network=NetworkSpec(**{**fields, **network}),
        workload=WorkloadSpec(tasks_per_epoch=6, work_ghz_s=6, data_mb=1),
    )

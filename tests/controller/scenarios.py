"""Small scenarios for the controller's tests."""

from __future__ import annotations

from typing import Any

from model.network import Network, build_network
from model.scenario import (
    BaseStationSpec,
    CloudSpec,
    ClusterSpec,
    NetworkSpec,
    Scenario,
    WorkloadSpec,
)


def scenario(
    stations: int = 3, devices: int = 2, clusters: int = 1, cloud: str = "none", **network: Any
) -> Scenario:
    """``stations`` base stations with ``clusters`` clusters of ``devices`` devices each."""
    names = [f"bs{k}" for k in range(1, stations + 1)]
    cells = [bs for bs in names for _ in range(clusters)]
    return Scenario(
        name="small",
        slots=5,
        workload=WorkloadSpec(tasks_per_epoch=6, work_ghz_s=6, data_mb=1),
        cloud=CloudSpec.model_validate({"mode": cloud}),
        network=NetworkSpec(
            base_stations=tuple(
                BaseStationSpec(name=bs, edge=f"e{k}") for k, bs in enumerate(names, 1)
            ),
            clusters=tuple(
                ClusterSpec(name=f"c{k}", bs=bs, devices=devices) for k, bs in enumerate(cells, 1)
            ),
            **network,
        ),
    )


def network(**fields: Any) -> Network:
    """The network of ``scenario(**fields)``."""
    return build_network(scenario(**fields))


def paper_scenario(**network: Any) -> Scenario:
    """The network of the paper: 3 base stations, 6 clusters of 5 to 10 devices."""
    return Scenario(
        name="paper",
        workload=WorkloadSpec(tasks_per_epoch=6, work_ghz_s=6, data_mb=1),
        network=NetworkSpec(**network),
    )


SHAPES: dict[str, dict[str, Any]] = {
    "one cell": {"stations": 1, "devices": 3},
    "mesh": {},
    "line": {"stations": 4, "backbone_topology": "line"},
    "ring": {"stations": 5, "backbone_topology": "ring", "devices": 1},
    "two clusters a cell": {"clusters": 2},
    "shared radio": {"clusters": 2, "wireless_scope": "cluster"},
    "cloud": {"cloud": "target"},
    "cloud behind a line, shared radio": {
        "stations": 4,
        "cloud": "overflow",
        "backbone_topology": "line",
        "wireless_scope": "cluster",
    },
}
"""Fields of ``scenario`` for every kind of network."""

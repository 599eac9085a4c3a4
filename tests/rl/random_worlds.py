"""Random scenarios of all sizes, one a number: long lines, many failures, crowds, large tasks.

Each kind is large in one way, so that plain Python can play it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.network import build_network
from model.scenario import (
    BaseStationSpec,
    CapacityChange,
    CapacityProcess,
    CloudSpec,
    ClusterSpec,
    ComputeSpec,
    DeviceCompute,
    EventsSpec,
    LinkFailure,
    LinkSpec,
    NetworkSpec,
    ProbeSpec,
    Scenario,
    TransferSpec,
    WorkloadSpec,
)
from model.scenario.consistency import mistakes

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class World:
    """A scenario, the size of its parts, and how far two computations of it may differ, s or MB."""

    scenario: Scenario
    piece_mb: float = 0.125
    tolerance: float = 1e-8


def random_world(number: int) -> World:
    """The world of a number; the same on every machine."""
    rng = np.random.default_rng(number)
    world = KINDS[number % len(KINDS)](rng)
    assert not mistakes(world.scenario), (number, mistakes(world.scenario))
    return world


def _scenario(
    rng: Rng,
    *,
    stations: int,
    clusters: int,
    devices: tuple[int, int],
    slots: int,
    failures: int = 0,
    cables: int = 3,
    changes: int = 0,
    tasks: float = 4.0,
    data_mb: float = 1.0,
    topology: str = "",
    slot_s: float = 1.0,
) -> Scenario:
    network = NetworkSpec(
        base_stations=tuple(BaseStationSpec(name=f"b{k}", edge=f"e{k}") for k in range(stations)),
        clusters=tuple(
            ClusterSpec(
                name=f"c{k}",
                bs=f"b{rng.integers(stations)}",
                devices=int(rng.integers(devices[0], devices[1] + 1)),
            )
            for k in range(clusters)
        ),
        backbone_topology=topology or str(rng.choice(["mesh", "line", "ring"])),
        wireless_scope=str(rng.choice(["device", "cluster"])),
        e2d=LinkSpec(
            rate_mbps=float(rng.choice([4.0, 10.0])),
            delay_ms=float(rng.choice([0.0, 3.0])),
            buffer_mb=float(rng.choice([0.05, 4.0])),
        ),
        e2e=LinkSpec(rate_mbps=float(rng.choice([5.0, 30.0])), delay_ms=float(rng.choice([0, 2]))),
        topology_seed=int(rng.integers(1000)),
    )
    low = float(rng.uniform(0.2, 3.0))
    scenario = Scenario(
        name="random",
        slots=slots,
        slot_s=slot_s,
        network=network,
        workload=WorkloadSpec(
            tasks_per_epoch=tasks,
            work_ghz_s=float(rng.choice([1.0, 10.0])),
            data_mb=data_mb,
            epoch_gap_s=(low, low * float(rng.uniform(1.0, 4.0))) if slots < 200 else (20.0, 90.0),
            arrival=str(rng.choice(["spread", "burst"])),
        ),
        cloud=CloudSpec(mode=str(rng.choice(["none", "overflow", "target"])), overflow_queue_s=0.3),
        compute=ComputeSpec(device=DeviceCompute(busy_dwell_s=float(rng.choice([0.7, 40.0])))),
        probes=ProbeSpec(edge_every_slots=int(rng.integers(1, 9))),
        transfer=TransferSpec(stall_timeout_s=float(rng.choice([0.5, 60.0]))),
    )
    return scenario.model_copy(update={"events": _events(rng, scenario, failures, cables, changes)})


def _events(rng: Rng, scenario: Scenario, failures: int, cables: int, changes: int) -> EventsSpec:
    links = build_network(scenario).shaped_links
    some = [links[k] for k in rng.integers(len(links), size=max(1, cables))]
    end = scenario.duration_s
    fails: list[dict[str, Any]] = []
    names = sorted({link.cable for link in some})
    for name in names if failures else []:
        count = max(1, failures // len(names))
        gaps = rng.uniform(0.1, 1.0, 2 * count + 1)
        times = np.cumsum(gaps) / gaps.sum() * end
        fails += [
            {"at_s": float(a), "link": name, "down_s": float(b - a)}
            for a, b in zip(times[:-1:2], times[1::2], strict=True)
        ]
    return EventsSpec(
        failures=tuple(LinkFailure(**f) for f in fails),
        capacity=tuple(
            CapacityChange(
                at_s=float(rng.uniform(0.0, 0.99 * end)),
                link=some[int(rng.integers(len(some)))].name,
                rate_mbps=float(rng.uniform(1.0, 50.0)),
            )
            for _ in range(changes)
        ),
        capacity_process=(
            (CapacityProcess(link_class="e2d", every_s=max(0.1, end / 50)),)
            if rng.random() < 0.3
            else ()
        ),
    )


def _anything(rng: Rng) -> World:
    """Small in every way."""
    scenario = _scenario(
        rng,
        stations=int(rng.integers(1, 6)),
        clusters=int(rng.integers(1, 4)),
        devices=(1, 4),
        slots=int(rng.integers(1, 40)),
        failures=int(rng.choice([0, 1, 10])),
        changes=int(rng.choice([0, 5])),
        data_mb=float(rng.choice([0.3, 2.0])),
        slot_s=float(rng.choice([0.3, 1.0])),
    )
    return World(scenario, float(rng.choice([0.02, 0.125, 10.0])))


def _long_way(rng: Rng) -> World:
    """More base stations in a line or a ring than a path had room for in 5 bits."""
    scenario = _scenario(
        rng,
        stations=int(rng.integers(33, 90)),
        clusters=int(rng.integers(1, 3)),
        devices=(1, 2),
        slots=int(rng.integers(4, 12)),
        failures=int(rng.choice([0, 4])),
        cables=1,
        topology=str(rng.choice(["line", "ring"])),
    )
    return World(scenario)


def _outages(rng: Rng) -> World:
    """Hundreds of failures: more epochs of the paths than there was room for in 8 bits."""
    scenario = _scenario(
        rng,
        stations=int(rng.integers(1, 5)),
        clusters=int(rng.integers(1, 3)),
        devices=(1, 3),
        slots=int(rng.integers(60, 150)),
        failures=int(rng.integers(130, 700)),
        changes=int(rng.choice([0, 300])),
        tasks=2.0,
    )
    return World(scenario)


def _crowd(rng: Rng) -> World:
    """Many devices in few cells, many targets each."""
    scenario = _scenario(
        rng,
        stations=int(rng.integers(1, 4)),
        clusters=int(rng.integers(2, 6)),
        devices=(8, 14),
        slots=int(rng.integers(3, 8)),
        failures=int(rng.choice([0, 3])),
        cables=1,
        tasks=float(rng.choice([2.0, 20.0])),
        data_mb=0.4,
    )
    return World(scenario, 0.5)


def _bulk(rng: Rng) -> World:
    """Tasks of more parts than there was room for in 14 bits."""
    scenario = _scenario(
        rng,
        stations=2,
        clusters=1,
        devices=(1, 1),
        slots=int(rng.integers(30, 90)),
        changes=int(rng.choice([0, 20])),
        tasks=0.3,
        data_mb=float(rng.integers(20, 60)),
    )
    # The reference and the simulator add up the times of some ten thousand parts.
    return World(scenario, 0.0015, 1e-6)


def _long_run(rng: Rng) -> World:
    """Many slots, many changes of capacity and of owners' use of their devices."""
    scenario = _scenario(
        rng,
        stations=int(rng.integers(1, 3)),
        clusters=1,
        devices=(1, 2),
        slots=int(rng.integers(1000, 4000)),
        failures=int(rng.choice([0, 40])),
        changes=int(rng.choice([0, 200])),
        tasks=1.0,
    )
    return World(scenario, tolerance=1e-7)


KINDS: tuple[Callable[[Rng], World], ...] = (
    _anything, _long_way, _outages, _crowd, _bulk, _long_run,
)  # fmt: skip

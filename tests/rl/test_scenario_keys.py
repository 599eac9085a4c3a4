"""Each key of a scenario: it changes a simulation, is refused there, or says of what it is a label.

A new key of the schema fails here until it is written into the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from model.errors import ScenarioError
from model.observation import Decision, Observation, TaskView
from model.scenario import Scenario
from model.scenario.load import load_scenario
from model.worlds import require_simulable, simulator_note
from rl.policies.base import Policy
from rl.simulator.run import simulate

CLOUD = {"cloud.mode": "target"}
OVERFLOW = {"cloud.mode": "overflow", "cloud.overflow_queue_s": 0.01, "compute.edge_ghz": 2.0}
TWO_CELLS = {
    "network.base_stations": [{"name": "bs1", "edge": "e1"}, {"name": "bs2", "edge": "e2"}],
    "network.clusters": [
        {"name": "c1", "bs": "bs1", "devices": 2}, {"name": "c2", "bs": "bs2", "devices": 2},
    ],
}  # fmt: skip
THREE_CELLS = {
    "network.base_stations": [{"name": f"bs{k}", "edge": f"e{k}"} for k in (1, 2, 3, 4)],
    "network.clusters": [{"name": "c1", "bs": "bs1", "devices": 2}],
}
CAPACITY = {"events.capacity": [{"at_s": 1.0, "link": "c1d1>bs1", "rate_mbps": 5.0}]}
PROCESS = {"events.capacity_process": [{"link_class": "e2d", "every_s": 2.0, "factor": [0.3, 0.9]}]}
FAILURE = {"events.failures": [{"at_s": 2.0, "link": "c1d1-bs1", "down_s": 3.0}]}


@dataclass(frozen=True)
class Used:
    """The simulation of ``mini`` with ``base`` changes where the key has ``value``.

    ``at`` is the key to set, if the schema's has lists on its way.
    """

    value: Any
    base: dict[str, Any] = field(default_factory=dict)
    at: str = ""


@dataclass(frozen=True)
class Refused:
    """The simulator refuses the value."""

    value: Any
    base: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Noted:
    """Only the emulation uses the value, as a line of the simulator says."""

    value: Any


@dataclass(frozen=True)
class Clip:
    """Used with livecast-mini; ``noted``: only in the emulation, as a line says."""

    value: Any
    at: str = ""
    noted: bool = False


class Label:
    """No world computes with it: a name, a description, a drawing."""


def link_class(name: str, base: dict[str, Any]) -> dict[str, object]:
    return {
        f"network.{name}.rate_mbps": Used(3.0, base),
        f"network.{name}.delay_ms": Used(170.0, base),
        f"network.{name}.loss_percent": Refused(2.0, base),
        f"network.{name}.buffer_mb": Used(0.01, {**base, f"network.{name}.rate_mbps": 0.3}),
    }


KEYS: dict[str, object] = {
    "name": Label(),
    "description": Label(),
    "slots": Used(12),
    "slot_s": Used(0.5),
    "network.base_stations.name": Label(),
    "network.base_stations.edge": Label(),
    "network.clusters.name": Label(),
    "network.clusters.bs": Used("bs2", TWO_CELLS, "network.clusters.0.bs"),
    "network.clusters.devices": Used(3, at="network.clusters.0.devices"),
    "network.backbone_topology": Used("line", THREE_CELLS),
    "network.wireless_scope": Used("cluster"),
    **link_class("e2e", TWO_CELLS),
    **link_class("access", {}),
    **link_class("e2d", {}),
    **link_class("backbone", CLOUD),
    "network.area_m": Label(),
    "network.topology_seed": Used(5),
    "workload.tasks_per_epoch": Used(9),
    "workload.work_ghz_s": Used(7),
    "workload.data_mb": Used(3),
    "workload.epoch_gap_s": Used([2, 3]),
    "workload.arrival": Used("burst"),
    "clips.representations.name": Label(),
    "clips.representations.height": Clip(500, "clips.representations.0.height", noted=True),
    "clips.representations.fps": Clip(50, "clips.representations.0.fps"),
    "clips.representations.rate_mbps": Clip(8.2, "clips.representations.0.rate_mbps"),
    "clips.representations.to": Clip("480p30", "clips.representations.0.to"),
    "clips.representations.start_ghz_s": Clip(9.9, "clips.representations.0.start_ghz_s"),
    "clips.representations.ghz": Clip(5.3, "clips.representations.0.ghz"),
    "clips.duration_s": Clip([2, 4.1]),
    "clips.versions": Clip(3),
    "clips.picture_scale": Clip(0.505),
    "compute.work": Clip("timed", noted=True),
    "compute.core_ghz": Clip(90.0, noted=True),
    "compute.workers.device": Clip(3, noted=True),
    "compute.workers.edge": Clip(5, noted=True),
    "compute.device.max_ghz": Used([1, 2]),
    "compute.device.busy_fraction": Used(0.5),
    "compute.device.idle_probability": Used(0.3),
    "compute.device.busy_dwell_s": Used(2.0),
    "compute.edge_ghz": Used(5.0),
    "compute.cloud_ghz": Used(5.0, CLOUD),
    "compute.device_price": Used(3.0),
    "compute.edge_price": Used(3.0),
    "compute.cloud_price": Used(9.0, CLOUD),
    "cloud.mode": Used("target"),
    "cloud.overflow_queue_s": Used(1e6, OVERFLOW),
    "decision.rates_mbps": Used([1, 2]),
    "decision.min_rate_mbps": Used(0.5),
    "decision.max_rate_mbps": Used(20.0),
    "decision.alpha": Used(0.5),
    "decision.beta": Used(0.5),
    "decision.compute_status": Used("observed"),
    "decision.limit_slots": Noted(0.5),
    "probes.edge_every_slots": Used(4),
    "probes.peers_per_slot": Used(0),
    "probes.ping_bytes": Used(1400),
    "transfer.attempts": Used(1, {**FAILURE, "transfer.stall_timeout_s": 0.7}),
    "transfer.stall_timeout_s": Used(0.3, FAILURE),
    "transfer.result_bytes": Used(60_000),
    "events.capacity.at_s": Used(3.0, CAPACITY, "events.capacity.0.at_s"),
    "events.capacity.link": Used("c1d2>bs1", CAPACITY, "events.capacity.0.link"),
    "events.capacity.rate_mbps": Used(2.0, CAPACITY, "events.capacity.0.rate_mbps"),
    "events.capacity_process.link_class": Used(
        "access", PROCESS, "events.capacity_process.0.link_class"
    ),
    "events.capacity_process.every_s": Used(1.0, PROCESS, "events.capacity_process.0.every_s"),
    "events.capacity_process.factor": Used([0.1, 0.2], PROCESS, "events.capacity_process.0.factor"),
    "events.failures.at_s": Used(3.0, FAILURE, "events.failures.0.at_s"),
    "events.failures.link": Used("c1d2-bs1", FAILURE, "events.failures.0.link"),
    "events.failures.down_s": Used(5.0, FAILURE, "events.failures.0.down_s"),
}


def leaves(section: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, info in section.model_fields.items():
        kinds = list(_sections(info.annotation))
        if not kinds:
            yield f"{above}{name}"
        for kind in kinds:
            yield from leaves(kind, f"{above}{name}.")


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is tuple or isinstance(annotation, UnionType):
        for inner in get_args(annotation):
            if inner not in (Ellipsis, NoneType):
                yield from _sections(inner)


def test_every_key_of_the_schema_is_in_the_table() -> None:
    assert set(leaves(Scenario)) == set(KEYS)


class Everywhere(Policy):
    """Sends tasks to each target in turn; how fast depends on all that it is given."""

    def decide(self, observation: Observation, task: TaskView) -> Decision:
        """To a random target, at one of the rates."""
        profile = self.profile
        rates = (*profile.rates_mbps, profile.min_rate_mbps, profile.max_rate_mbps)
        seen = observation.status_ghz is not None
        rate = profile.min_rate_mbps if seen else rates[int(self.rng.integers(len(rates)))]
        costs = profile.alpha + profile.beta + sum(profile.prices)
        rate = max(profile.min_rate_mbps, rate * (1.0 - costs / 1000.0))
        return Decision(int(self.rng.integers(len(profile.targets))), rate)


def outcome(scenario: Scenario) -> list[Any]:
    run = simulate(scenario, Everywhere, 1)
    return [run.tables[name].to_pylist() for name in ("tasks", "links", "probes", "units")]


def scenario_of(kind: object, key: str, *, changed: bool) -> Scenario:
    assert isinstance(kind, Used | Refused | Noted | Clip)
    at = getattr(kind, "at", "") or key
    value = {at: kind.value} if changed else {}
    if isinstance(kind, Clip):
        found = load_scenario("livecast-mini", {"slots": 12})
        sections = found.model_dump(mode="json")
        _put(sections, at, value.get(at))
        return found if not value else Scenario.model_validate(sections)
    return load_scenario("mini", {"slots": 10, **getattr(kind, "base", {}), **value})


def _put(data: Any, at: str, value: object) -> None:
    *above, last = at.split(".")
    for part in above:
        data = data[int(part)] if isinstance(data, list) else data[part]
    data[last] = value


@pytest.mark.parametrize("key", [k for k, v in KEYS.items() if not isinstance(v, Label)])
def test_a_key_changes_the_simulation_or_is_refused(key: str) -> None:
    kind = KEYS[key]
    before, after = (scenario_of(kind, key, changed=c) for c in (False, True))
    require_simulable(before)
    if isinstance(kind, Refused):
        with pytest.raises(ScenarioError, match=rf"{key}=2: no meaning in the simulator") as error:
            simulate(after, Everywhere, 1)
        assert "\n" not in str(error.value)
        return
    same = outcome(before) == outcome(after)
    if isinstance(kind, Noted):
        assert same
        assert simulator_note(before) == ""
        assert f"{key}={kind.value}" in simulator_note(after)
    elif isinstance(kind, Clip) and kind.noted:
        assert same
        assert key.removesuffix(".device").removesuffix(".edge").rpartition(".")[2] in (
            simulator_note(before)
        )
    else:
        assert not same


def test_what_a_network_lacks_asks_nothing() -> None:
    require_simulable(load_scenario("mini", {"network.backbone.loss_percent": 2.0}))

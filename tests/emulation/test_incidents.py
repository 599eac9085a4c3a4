"""What is told of processes and cables that the scenario does not say."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from emulation.host.commands import ProcessError
from emulation.orchestrator.incidents import Incidents
from emulation.orchestrator.network_events import NetworkChanges
from emulation.orchestrator.supervisor import Guard
from model.controller_messages import CableChanged, RateChanged, SwitchChanged
from model.errors import RunError
from model.network import build_network
from model.scenario.load import load_scenario


@dataclass
class Stage:
    """A network without processes: what is recorded, told and sent."""

    notes: list[str] = field(default_factory=list)
    cables: list[tuple[str, bool]] = field(default_factory=list)
    sent: list[RateChanged] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.incidents = Incidents(lambda event, _: self.logged.append(event), self.notes.append)
        network = build_network(load_scenario("case3"))
        rates = {k.name: k.spec.rate_mbps for k in network.shaped_links if k.spec is not None}
        self.recorder = SimpleNamespace(
            rates=rates,
            cable=lambda _, links, up: self.cables.append((links[0], up)),
        )
        machinery = SimpleNamespace(
            options=SimpleNamespace(speedup=1.0),
            network=network,
            controller=SimpleNamespace(send=self.sent.append),
        )
        self.changes = NetworkChanges(machinery, self.recorder, self.incidents)  # type: ignore[arg-type]

    def cable(self, name: str, *, up: bool) -> None:
        self.changes.heard(CableChanged(name, up))

    def switch(self, name: str, *, up: bool) -> None:
        self.changes.heard(SwitchChanged(name, up))


def test_a_cable_that_fails_by_mishap_is_an_incident_and_so_is_its_return() -> None:
    stage = Stage()
    for up in (False, False, True, True):
        stage.cable("bs1-bs2", up=up)
    assert [up for _, up in stage.cables] == [False, True]
    texts = [e["text"] for e in stage.incidents.entries]
    assert texts == [
        "cable bs1-bs2 has failed, which the scenario does not say",
        "cable bs1-bs2 is up again",
    ]
    assert stage.logged == ["incident"] * 2
    assert stage.notes[0].startswith("note: at 0.0 s: cable bs1-bs2 has failed")


def test_cables_of_a_switch_that_is_away_have_not_failed() -> None:
    stage = Stage()
    stage.switch("bs1", up=False)
    stage.cable("bs1-bs2", up=False)
    stage.switch("bs1", up=True)
    stage.cable("bs1-bs2", up=True)
    assert not stage.cables
    assert not stage.incidents.entries


def test_what_came_back_while_nobody_could_tell_is_seen_by_the_first_look() -> None:
    stage = Stage()
    stage.cable("bs1-bs2", up=False)
    stage.cable("bs1-bs3", up=False)
    every = set(stage.recorder.rates)
    stage.changes.seen(every - {"bs1>bs3"})
    assert stage.cables[2:] == [(stage.cables[0][0], True)]


def test_a_new_controller_is_told_the_capacities_that_have_changed() -> None:
    stage = Stage()
    stage.changes.tell_rates()
    assert not stage.sent
    stage.recorder.rates["bs1>bs2"] = 12.5
    stage.changes.tell_rates()
    assert stage.sent == [RateChanged("bs1>bs2", 12.5)]


class Machines:
    """Processes of which those named in ``dying`` are found dead, one a look."""

    def __init__(self, *dying: str):
        self.dying, self.started = list(dying), []  # type: list[str], list[str]

    def ended(self) -> dict[str, int]:
        return {self.dying.pop(0): -signal.SIGKILL} if self.dying else {}

    def restart(self, name: str) -> None:
        self.started.append(name)

    def check_alive(self) -> None:
        if self.started[-1:] != ["e1"]:
            raise ProcessError("controller", "ended by itself with status 1", "no such namespace")


async def guarded(machines: Machines, stage: Stage) -> list[str]:
    """What came back, until nobody dies any more."""
    back: list[str] = []
    guard = Guard(machines, stage.incidents, back.append)  # type: ignore[arg-type]
    watching = asyncio.create_task(guard.watch())
    while machines.dying and not watching.done():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=not watching.done())
    return back


def test_incidents_have_scenario_times() -> None:
    incidents = Incidents(lambda *_: None, lambda _: None)
    incidents.add("c1d1", "c1d1 failed before the start")
    incidents.begin(time.monotonic() - 2.0, 4.0, 12.0)
    incidents.add("c1d1", "c1d1 failed")
    incidents.begin(time.monotonic() - 9.0, 4.0, 12.0)
    incidents.add("c1d1", "c1d1 did not come to an end")
    assert [e["at_s"] for e in incidents.entries] == pytest.approx([0.0, 8.0, 12.0], abs=0.2)


def test_what_dies_is_started_again() -> None:
    stage, machines = Stage(), Machines("controller", "ovs-vswitchd", "controller")
    back = asyncio.run(guarded(machines, stage))
    assert back == machines.started == ["controller", "ovs-vswitchd", "controller"]
    texts = [e["text"] for e in stage.incidents.entries]
    assert texts[0] == "controller was killed by SIGKILL and is started again"


def test_what_dies_again_and_again_is_not() -> None:
    machines = Machines(*["controller"] * 4)
    with pytest.raises(ProcessError, match="no such namespace"):
        asyncio.run(guarded(machines, Stage()))
    assert machines.started == ["controller"] * 3
    machines = Machines(*["e1"] * 4)
    with pytest.raises(RunError, match="e1 was killed by SIGKILL again and again"):
        asyncio.run(guarded(machines, Stage()))


def test_nobody_starts_the_nodes_parent_again() -> None:
    machines = Machines("spawner")
    with pytest.raises(ProcessError):
        asyncio.run(guarded(machines, Stage()))
    assert not machines.started

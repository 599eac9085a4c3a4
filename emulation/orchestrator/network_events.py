"""Changes of the network while a run goes on: made for the scenario, or noticed and recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from itertools import groupby

from emulation.orchestrator.deployment import Machinery
from emulation.orchestrator.incidents import Incidents
from emulation.orchestrator.recorder import Recorder
from model.controller_messages import CableChanged, Event, RateChanged, SwitchChanged
from model.events import CableEvent, CapacityEvent, timeline
from model.network import Link


class _Cables:
    """Which cables are down: by the scenario, which is as planned, or by mishap.

    ``write(cable, up)`` is called once for each change, whoever has noticed it first.
    """

    def __init__(self, write: Callable[[str, bool], None], incidents: Incidents):
        self._write, self._incidents = write, incidents
        self._down: set[str] = set()
        self._planned: set[str] = set()
        self._mishaps: set[str] = set()
        self._unreachable: set[str] = set()

    def plan(self, cable: str, *, up: bool) -> None:
        """The scenario is about to do this; the switches may notice before it says that it has."""
        if up:
            self._planned.discard(cable)
        else:
            self._planned.add(cable)

    def switch(self, name: str, *, up: bool) -> None:
        """A switch has come to the controller, or gone from it with all that it could tell."""
        if up:
            self._unreachable.discard(name)
        else:
            self._unreachable.add(name)

    def changed(self, cable: str, *, up: bool) -> None:
        """Somebody says that a cable is down, or up again."""
        if up != (cable in self._down) or self._unreachable & set(cable.split("-")):
            return
        self._write(cable, up)
        if up:
            self._down.discard(cable)
            if cable in self._mishaps:
                self._mishaps.discard(cable)
                self._incidents.add(cable, f"cable {cable} is up again")
            return
        self._down.add(cable)
        if cable not in self._planned:
            self._mishaps.add(cable)
            text = f"cable {cable} has failed, which the scenario does not say"
            self._incidents.add(cable, text)

    def seen_up(self, cables: set[str]) -> None:
        """These are up now: what nobody could tell while there was no controller."""
        for cable in sorted(self._down & cables):
            self.changed(cable, up=True)


class NetworkChanges:
    """Applies the scenario's events to the real network, and records all that becomes of it."""

    def __init__(self, machinery: Machinery, recorder: Recorder, incidents: Incidents):
        self._machinery, self._recorder = machinery, recorder
        self._options = machinery.options
        self._cables = _Cables(self._write_cable, incidents)
        self._begin = 0.0

    def begin(self, begin: float) -> None:
        """Scenario time 0 is at this ``time.monotonic()``."""
        self._begin = begin

    def heard(self, event: Event) -> None:
        """The controller tells of a switch or of a cable."""
        match event:
            case SwitchChanged(name, up):
                self._cables.switch(name, up=up)
            case CableChanged(cable, up):
                self._cables.changed(cable, up=up)

    def seen(self, links_up: Iterable[str]) -> None:
        """The links that are up, as a controller finds them that has just been started again."""
        up = set(links_up)
        cables: dict[str, list[Link]] = {}
        for link in self._machinery.network.shaped_links:
            cables.setdefault(link.cable, []).append(link)
        self._cables.seen_up({c for c, links in cables.items() if {k.name for k in links} <= up})

    def tell_rates(self) -> None:
        """Tell the controller of capacities that are not those of the scenario's beginning."""
        for link in self._machinery.network.shaped_links:
            rate_mbps = self._recorder.rates[link.name]
            if link.spec is not None and rate_mbps != link.spec.rate_mbps:
                self._tell_rate(link.name, rate_mbps)

    def _tell_rate(self, link: str, rate_mbps: float) -> None:
        self._machinery.controller.send(RateChanged(link, rate_mbps))

    async def follow_scenario(self) -> None:
        """Apply the scenario's events to the real network when their time has come."""
        options = self._options
        events = timeline(options.scenario, self._machinery.network, options.seed)
        for at_s, together in groupby(events, key=lambda event: event.at_s):
            await asyncio.sleep(self._begin + at_s / options.speedup - time.monotonic())
            now = list(together)
            rates = {e.link: e.rate_mbps for e in now if isinstance(e, CapacityEvent)}
            if rates:
                await self._change_rates(rates)
            for event in now:
                if isinstance(event, CableEvent):
                    await self._set_cable(event)

    async def _change_rates(self, rates: dict[str, float]) -> None:
        # In a thread: a slot may end while tc is at it.
        await asyncio.to_thread(self._machinery.fabric.change_rates, rates)
        time_s = self._now_s()
        for link, rate_mbps in rates.items():
            self._recorder.capacity(time_s, link, rate_mbps)
            self._tell_rate(link, rate_mbps)

    async def _set_cable(self, event: CableEvent) -> None:
        self._cables.plan(event.cable, up=event.up)
        link = self._links_of(event.cable)[0]
        await asyncio.to_thread(self._machinery.fabric.set_cable, link, up=event.up)
        self._cables.changed(event.cable, up=event.up)

    def _links_of(self, cable: str) -> list[Link]:
        return [k for k in self._machinery.network.links.values() if k.cable == cable]

    def _write_cable(self, cable: str, up: bool) -> None:
        links = [k.name for k in self._links_of(cable)]
        self._recorder.cable(self._now_s(), links, up=up)

    def _now_s(self) -> float:
        return (time.monotonic() - self._begin) * self._options.speedup

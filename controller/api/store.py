"""What the API knows: the channel's events and commands, folded into one state.

One thread does everything here, that of the API's event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from pydantic import TypeAdapter

from controller.api.answers import (
    FlowEntry,
    Health,
    History,
    Links,
    LinkState,
    SlotState,
    Topology,
    TopologyLink,
    TopologyNode,
    Units,
    UnitState,
)
from model import controller_messages as messages
from model.controller_messages import ApiMessage, LinkSample, UnitSample
from model.link_row import LinkCounters
from model.network import build_network
from model.scenario import Scenario

HISTORY_SLOTS = 300
MAX_STREAMS = 8
_STREAM_BACKLOG = 16
"""Messages that wait for a slow client before it is dropped: some eight slots."""

_LINKS, _UNITS = TypeAdapter(Links), TypeAdapter(Units)


class TooManyStreams(Exception):  # noqa: N818 - said to a client, in words of its own
    """No further client of the stream is taken."""


class Store:
    """The experiment as far as its controller has seen it.

    Attributes:
        network: of the scenario.
        history: the last slots, oldest first, at most ``HISTORY_SLOTS``.
        flows: switch → its flows.
        connected: switch → whether it is.
    """

    def __init__(self, scenario: Scenario):
        self.network = build_network(scenario)
        self._scenario = scenario
        self.history: deque[SlotState] = deque(maxlen=HISTORY_SLOTS)
        self.flows: dict[str, list[FlowEntry]] = {s.name: [] for s in self.network.switches}
        self.connected = {s.name: False for s in self.network.switches}
        self._down: set[str] = set()
        self._links = {k.name: k for k in self.network.shaped_links}
        self._rates = {n: k.spec.rate_mbps for n, k in self._links.items() if k.spec is not None}
        self._counters = LinkCounters(scenario.slot_s)
        self._speedup: float | None = None
        self._looked_at: float | None = None
        self._reroutes = 0
        self._streams: set[asyncio.Queue[bytes | None]] = set()

    def fold(self, message: ApiMessage) -> None:
        """Take an event or a command of the channel into account; others mean nothing here."""
        match message:
            case messages.Start(slot_s=slot_s):
                self._speedup = self._counters.speedup = self._scenario.slot_s / slot_s
            case messages.RateChanged(link, rate_mbps):
                self._rates[link] = rate_mbps
            case messages.LinksSampled(boundary, sampled_at, rows, virtual):
                self._fold_links(boundary - 1, sampled_at, rows, virtual)
            case messages.UnitsReported(boundary, units):
                self._fold_units(boundary - 1, units)
            case _:
                self._fold_switches(message)

    def _fold_switches(self, message: ApiMessage) -> None:
        match message:
            case messages.FlowsInstalled(name, connected, flows):
                self.connected[name] = connected
                self.flows[name] = [FlowEntry(name, **row) for row in flows]
            case messages.SwitchChanged(name, up):
                self.connected[name] = up
                if not up:
                    self.flows[name] = []
            case messages.CableChanged(cable, up):
                (self._down.discard if up else self._down.add)(cable)
            case messages.CablesDown(down):
                self._down = set(down)
            case messages.Rerouted():
                self._reroutes += 1

    def _fold_links(self, slot: int, at: float, rows: list[LinkSample], virtual: list[int]) -> None:
        self._looked_at = at
        states = [self._link(row, v) for row, v in zip(rows, virtual, strict=True)]
        self.history.append(SlotState(slot, states, []))
        if self._streams:
            self._publish("links", slot, _LINKS.dump_json(Links(slot, states)))

    def _link(self, sample: LinkSample, virtual: float) -> LinkState:
        name, *_ = sample
        row = self._counters.row(sample, virtual, self._rates[name])
        return LinkState(name, self._links[name].link_class, *row)

    def _fold_units(self, slot: int, rows: list[UnitSample]) -> None:
        record = next((s for s in reversed(self.history) if s.slot == slot), None)
        if record is None:
            return  # the slot's links were never seen: this process began later
        nodes = self.network.nodes
        record.units = [
            UnitState(name, nodes[name].kind, queue, ghz, queue / ghz if ghz else None, busy)
            for name, queue, ghz, busy in rows
        ]
        if self._streams:
            self._publish("units", slot, _UNITS.dump_json(Units(slot, record.units)))

    @property
    def drops_total(self) -> dict[str, int]:
        """Link → packets refused since the first slot began."""
        return self._counters.drops()

    def topology(self) -> Topology:
        """The graph of the scenario."""
        nodes = [
            TopologyNode(n.name, n.kind, n.cell, n.cluster, n.position_m)
            for n in self.network.nodes.values()
        ]
        links = [
            TopologyLink(
                k.name,
                k.source,
                k.target,
                k.cable,
                k.link_class,
                None if k.spec is None else k.spec.rate_mbps,
            )
            for k in self.network.links.values()
        ]
        return Topology(self._scenario.name, nodes, links)

    def links(self) -> Links:
        """The links when the last slot ended."""
        last = self.history[-1] if self.history else None
        return Links(None, []) if last is None else Links(last.slot, last.links)

    def units(self) -> Units:
        """The units when the last slot that they have reported on ended."""
        last = next((s for s in reversed(self.history) if s.units), None)
        return Units(None, []) if last is None else Units(last.slot, last.units)

    def last_slots(self, count: int, link: str | None, unit: str | None) -> History:
        """The last ``count`` slots; with ``link`` or ``unit`` of these only."""
        everything = link is None and unit is None
        return History(
            [
                SlotState(
                    s.slot,
                    [k for k in s.links if everything or k.link == link],
                    [u for u in s.units if everything or u.unit == unit],
                )
                for s in list(self.history)[-count:]
            ]
        )

    def health(self) -> Health:
        """How the experiment stands."""
        slot = self.history[-1].slot if self.history else None
        ended = slot is not None and slot + 1 >= self._scenario.slots
        return Health(
            status="waiting" if slot is None else "ended" if ended else "running",
            scenario=self._scenario.name,
            slot=slot,
            slots=self._scenario.slots,
            speedup=self._speedup,
            age_s=None if self._looked_at is None else time.monotonic() - self._looked_at,
            switches=dict(self.connected),
            cables_down=sorted(self._down),
            reroutes=self._reroutes,
            streams=len(self._streams),
        )

    def subscribe(self) -> asyncio.Queue[bytes | None]:
        """A queue of server-sent events from now on; None: the client was too slow.

        Raises ``TooManyStreams`` if there are ``MAX_STREAMS`` already.
        """
        if len(self._streams) >= MAX_STREAMS:
            raise TooManyStreams(f"there are {MAX_STREAMS} streams already")
        stream: asyncio.Queue[bytes | None] = asyncio.Queue(_STREAM_BACKLOG)
        self._streams.add(stream)
        return stream

    def unsubscribe(self, stream: asyncio.Queue[bytes | None]) -> None:
        """Forget a client; it may be forgotten already."""
        self._streams.discard(stream)

    def _publish(self, event: str, slot: int, data: bytes) -> None:
        text = b"event: %s\nid: %d\ndata: %s\n\n" % (event.encode(), slot, data)
        for stream in list(self._streams):
            if stream.full():
                # What waits is thrown away, so that the end can be said at once.
                while not stream.empty():
                    stream.get_nowait()
                stream.put_nowait(None)
                self._streams.discard(stream)
            else:
                stream.put_nowait(text)

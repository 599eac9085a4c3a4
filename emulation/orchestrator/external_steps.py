"""Steps through a run: tells a caller of every slot as it ends, and passes its decisions on.

The caller (``emulation.env``) is another process, at the other end of a socket, so that neither its
computing nor its end can hurt the run. Lines of JSON; from the run:

    {"folder": path}             the result folder
    {"boundary": b, "late": bool, "views": {device: [Q, F, targets]}, "links": [[V, c]],
     "units": [[Q, F]], "born": [[task, target]], "known": [[task, s]]}
                                 time b·Δt; ``late``: no decisions of the slot before came in time;
                                 of tasks what was reported since the last such line
    {"error": text}              there is no run, for a reason that the caller can mend

and from the caller ``{"slot": b, "devices": {device: {task: [target, rate]}}}``. Backlogs are in
MB, capacities in MB/s. When the caller's end closes the run ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from emulation.orchestrator.deployment import Machinery
from emulation.protocol.json_channel import Channel
from emulation.protocol.messages import Born, Known, Seen, TaskRecord
from emulation.protocol.orders import Decide
from rl.environment.encoding import COLUMNS

WAIT = 0.15
"""Share of a slot after its start at which the caller is told even if a report is missing."""
DUE = 0.25
"""Share of a slot after its start until which its decisions are passed on; devices wait a little
longer (``emulation.node.external_policy.PATIENCE``)."""


class Onlooker:
    """Is told what a run reports, as it comes; this one has no interest in it."""

    async def watch(self, stop: Callable[[], None]) -> None:
        """Runs as long as the run does; may ``stop`` it."""

    def begin(self, begin: float) -> None:
        """Scenario time 0 is at this ``time.monotonic()``."""

    def seen(self, name: str, view: Seen) -> None:
        """What a device sees. Raises ``ValueError`` if nobody wants to know."""
        raise ValueError("shows what nobody has asked for")

    def unit(self, name: str, boundary: int, queue_ghz_s: float, ghz: float) -> None:
        """A unit at a slot boundary."""

    def links(self, boundary: int, samples: list[Any], rates_mbps: Mapping[str, float]) -> None:
        """The links at a slot boundary, as the controller tells them, and their rates."""

    def heard(self, record: TaskRecord) -> None:
        """What became of a task."""

    def ended(self) -> None:
        """All slots have passed and everything is reported."""


class Stepper(Onlooker):
    """Onlooker for a caller.

    Attributes:
        late_steps: slots whose decisions did not come in time.
    """

    def __init__(self, caller: Channel, machinery: Machinery):
        self._caller, self._nodes = caller, machinery.nodes
        options, network = machinery.options, machinery.network
        self._speedup, self._slots = options.speedup, options.scenario.slots
        self._slot_real_s = options.scenario.slot_s / options.speedup
        self._sizes = {d.name: len(COLUMNS) * len(network.targets(d.name)) for d in network.devices}
        self._links = {
            k.name: [0.0, k.spec.rate_mbps / 8.0 if k.spec else 0.0] for k in network.shaped_links
        }
        self._units = {u.name: [0.0, 0.0] for u in network.units}
        self._views: dict[str, list[Any]] = {}
        self._news: dict[str, list[Any]] = {"born": [], "known": []}
        self._begin = 0.0
        self._next = 0
        self._missing: set[str] = set()
        self._decided = True
        self.late_steps = 0

    async def watch(self, stop: Callable[[], None]) -> None:
        """Take the caller's decisions until it goes."""
        try:
            await self._caller.listen(self._from_caller)
        finally:
            stop()

    def begin(self, begin: float) -> None:
        """Wait for the reports of the first boundary."""
        self._begin = begin
        self._await(0)

    def _await(self, boundary: int) -> None:
        """Wait for what is reported at a boundary; that the last one is over, ``ended`` tells."""
        self._next = boundary
        self._missing = {f"view {name}" for name in self._sizes}
        self._missing |= {f"unit {name}" for name in self._units} | (
            {"links"} if boundary else set()
        )
        if boundary < self._slots:
            at = self._begin + (boundary + WAIT) * self._slot_real_s
            asyncio.get_running_loop().call_at(at, self._tell, boundary)

    def _came(self, boundary: int, what: str) -> None:
        if boundary == self._next:
            self._missing.discard(what)
            if not self._missing and boundary < self._slots:
                self._tell(boundary)

    def seen(self, name: str, view: Seen) -> None:
        """What a device sees. Raises ``ValueError`` if it is no view of that device."""
        if len(view.targets) != self._sizes.get(name):
            raise ValueError(f"shows {len(view.targets)} numbers")
        self._views[name] = [view.queue_ghz_s, view.ghz, view.targets]
        self._came(view.boundary, f"view {name}")

    def unit(self, name: str, boundary: int, queue_ghz_s: float, ghz: float) -> None:
        """A unit at a slot boundary."""
        self._units[name] = [queue_ghz_s, ghz]
        self._came(boundary, f"unit {name}")

    def links(self, boundary: int, samples: list[Any], rates_mbps: Mapping[str, float]) -> None:
        """The links at a slot boundary; a link that is down has no capacity."""
        for name, backlog_bytes, _, _, up in samples:
            rate = rates_mbps[name] / 8.0 if up else 0.0
            self._links[name] = [backlog_bytes * self._speedup / 1e6, rate]
        self._came(boundary, "links")

    def heard(self, record: TaskRecord) -> None:
        """What became of a task."""
        match record:
            case Born(task, target, _, _):
                self._news["born"].append([task, target])
            case Known(task, at_s):
                self._news["known"].append([task, at_s])

    def ended(self) -> None:
        """Tell of the last boundary, by which all is known."""
        self._tell(self._slots)

    def _tell(self, boundary: int) -> None:
        """Tell the caller how things stand, once."""
        if boundary != self._next:
            return
        late = not self._decided
        self.late_steps += late
        state = {"links": list(self._links.values()), "units": list(self._units.values())}
        self._caller.send(
            {"boundary": boundary, "late": late, "views": self._views, **state, **self._news}
        )
        self._views, self._news, self._decided = {}, {"born": [], "known": []}, False
        self._await(boundary + 1)

    def _from_caller(self, _: str, value: dict[str, Any]) -> None:
        """Pass decisions on, unless their time is over; then devices have decided themselves."""
        slot = self._next - 1
        if value["slot"] != slot:
            return
        if time.monotonic() > self._begin + (slot + DUE) * self._slot_real_s:
            return
        self._decided = True
        for name in self._sizes:
            tasks = value["devices"].get(name, {})
            self._nodes[name].send(Decide(slot, tasks))

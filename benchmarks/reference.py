"""The simulator's model once more, slow and plain: lists, a heap and the model's own classes.

It shares no code with the fast one but the drawing of the trace, of F(t) and of events. What the
results of clips weigh is left out.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from model.compute import FrequencyTrace, frequency_trace
from model.events import CapacityEvent, timeline
from model.network import Network, build_network
from model.packet_sizes import PING_HEADERS_BYTES
from model.probing import pinged
from model.profile import device_profile
from model.scenario import Scenario
from model.workload import generate_trace
from rl.simulator.batch import RETRY_S

PART, ALL_IN, DELIVERED, SERVED, HOME_AGAIN = range(5)


@dataclass
class Fifo:
    """A link or a unit: work-conserving, first come first served."""

    speed: FrequencyTrace
    buffer_mb: float = math.inf
    delay_s: float = 0.0
    until_s: float = 0.0
    entered: float = 0.0

    def wait_s(self, now: float) -> float:
        """How long a packet would wait that comes now."""
        wait, speed = max(0.0, self.until_s - now), self.speed.at(now)
        return min(wait, self.buffer_mb / speed) if speed else wait

    def falls_s(self, now: float, start: float, size: float) -> float:
        """When the cable fails under a part that comes now and may start later; inf: it does not.

        Down already counts as now.
        """
        if self.speed.at(now) == 0.0:
            return now
        # A part without size takes no time, even where a cable is down.
        end = self.speed.finish(start, size) if size else start
        steps = zip(self.speed.start_s, self.speed.ghz, strict=True)
        return next((at for at, speed in steps if speed == 0.0 and now < at <= end), math.inf)

    def left(self, now: float) -> float:
        """Work or MB that is still here."""
        return self.speed.served(now, self.until_s) if self.until_s > now else 0.0


@dataclass
class Task:
    """A task and where it is."""

    device: str
    born: float
    work: float
    data: float
    target: str = ""
    unit: str = ""
    rate_mb_s: float = math.nan
    source: str = ""
    far_end: str = ""
    paths: dict[int, list[str]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    parts: int = 1
    launched: int = 0
    inside: int = 0
    latest: float = 0.0
    times: dict[str, float] = field(default_factory=dict)


class Reference:
    """One environment with given decisions."""

    def __init__(self, scenario: Scenario, seed: int, piece_mb: float, overhead: float):
        self.scenario, self.piece_mb, self.overhead = scenario, piece_mb, overhead
        self.network: Network = build_network(scenario)
        self.outages = [
            (f.at_s, f.at_s + f.down_s, "-".join(sorted(f.link.replace(">", "-").split("-"))))
            for f in scenario.events.failures
        ]
        self.turning_points = sorted({t for begin, end, _ in self.outages for t in (begin, end)})
        self._paths: dict[tuple[str, str, frozenset[str]], list[str] | None] = {}
        self.links = self._links(seed)
        self.units = {u.name: Fifo(frequency_trace(scenario, seed, u)) for u in self.network.units}
        self.profiles = [
            device_profile(scenario, self.network, d.name) for d in self.network.devices
        ]
        trace = generate_trace(scenario, seed)
        names = [d.name for d in self.network.devices]
        self.tasks = [
            Task(names[d], b, w, o)
            for d, b, w, o in zip(
                trace.device, trace.born_s, trace.work_ghz_s, trace.data_mb, strict=True
            )
        ]
        self.events: list[tuple[float, int, int, int, int, int, float]] = []
        self.delivered: dict[int, float] = {}
        self.rtts: dict[tuple[int, str, str], float] = {}

    def _links(self, seed: int) -> dict[str, Fifo]:
        shaped = [(link, link.spec) for link in self.network.shaped_links if link.spec]
        rates = {link.name: [(0.0, spec.rate_mbps / 8)] for link, spec in shaped}
        for event in timeline(self.scenario, self.network, seed):
            if isinstance(event, CapacityEvent):
                rates[event.link].append((event.at_s, event.rate_mbps / 8))
        links = {}
        for link, spec in shaped:
            mine = {t for begin, end, cable in self.outages if cable == link.cable
                    for t in (begin, end)}  # fmt: skip
            starts = sorted({at for at, _ in rates[link.name]} | mine)
            changes, rate, speeds = iter(rates[link.name]), 0.0, []
            change = next(changes, None)
            for start in starts:
                while change and change[0] <= start:
                    rate, change = change[1], next(changes, None)
                speeds.append(0.0 if link.cable in self.down(start) else rate)
            speed = FrequencyTrace(tuple(starts), tuple(speeds), max(speeds))
            links[link.name] = Fifo(speed, spec.buffer_mb, spec.delay_ms / 1e3)
        return links

    def down(self, now: float) -> frozenset[str]:
        """Cables that are out of service."""
        return frozenset(cable for begin, end, cable in self.outages if begin <= now < end)

    def path(self, source: str, target: str, now: float) -> list[str] | None:
        """Shaped links from one host to another; None where there is no way."""
        if source == target:
            return []
        key = (source, target, self.down(now))
        if key not in self._paths:
            try:
                hops = self.network.path(*key)
                self._paths[key] = [k.name for k in hops if k.spec]
            except nx.NetworkXNoPath:
                self._paths[key] = None
        return self._paths[key]

    def ways(self, source: str, target: str, now: float) -> Iterator[tuple[float, list[str]]]:
        """Moments from now on at which there is a way, and the way."""
        for at in (now, *(t for t in self.turning_points if t > now)):
            if (way := self.path(source, target, at)) is not None:
                yield at, way

    def run(self, targets: NDArray[np.int16], rates: NDArray[np.float64]) -> None:
        """Let all slots pass; decisions by task."""
        slot_s, order = self.scenario.slot_s, iter(range(len(self.tasks)))
        task = next(order, None)
        for slot in range(self.scenario.slots):
            self._ping(slot, slot * slot_s)
            while task is not None and self.tasks[task].born < (slot + 1) * slot_s:
                self._advance(self.tasks[task].born)
                self._dispatch(task, int(targets[task]), float(rates[task]))
                task = next(order, None)
            self._advance((slot + 1) * slot_s)

    def _push(self, time: float, kind: int, hop: int, part: int, task: int, since: float) -> None:
        # What falls on one moment goes by the epoch of its path, the link, the part, the task.
        epoch = self.tasks[task].epochs[part] if kind == PART else 0
        heapq.heappush(self.events, (time, kind, epoch, hop, part, task, since))

    def _advance(self, until: float) -> None:
        handlers: dict[int, Callable[[float, int, int, int, float], None]] = {
            PART: self._part,
            ALL_IN: lambda now, hop, part, task, since: self._arrive(now, task),
            DELIVERED: lambda now, hop, part, task, since: self.delivered.update({task: now}),
            SERVED: lambda now, hop, part, task, since: self._served(now, task),
            HOME_AGAIN: lambda now, hop, part, task, since: self._know(now, task),
        }
        while self.events and self.events[0][0] <= until:
            now, kind, _, hop, part, task, since = heapq.heappop(self.events)
            handlers[kind](now, hop, part, task, since)

    def _ping(self, slot: int, now: float) -> None:
        for profile in self.profiles:
            for t in pinged(profile, self.scenario.probes, slot):
                target = profile.targets[t]
                bits = (self.scenario.probes.ping_bytes + PING_HEADERS_BYTES) * 8
                there = self.path(profile.name, target, now)
                back = self.path(target, profile.name, now)
                if there is None or back is None:
                    self.rtts[(slot, profile.name, target)] = math.nan
                    continue
                specs = [self.network.links[n].spec for n in there + back]
                idle = sum(s.delay_ms / 1e3 + bits / 1e6 / s.rate_mbps for s in specs if s)
                waits = sum(self.links[n].wait_s(now) for n in there + back)
                self.rtts[(slot, profile.name, target)] = idle + waits

    def _dispatch(self, k: int, target: int, rate: float) -> None:
        task = self.tasks[k]
        profile = next(p for p in self.profiles if p.name == task.device)
        task.target = task.unit = profile.targets[target]
        task.far_end = task.target
        if task.target == task.device:
            self._admit(task.born, k)
        else:
            self._send(task.born, k, task.device, rate / 8)

    def _send(self, now: float, k: int, source: str, rate_mb_s: float) -> None:
        task = self.tasks[k]
        task.source, task.rate_mb_s = source, rate_mb_s
        wire = task.data * self.overhead
        # The last byte is a part of its own, without size.
        task.parts = math.ceil(wire / self.piece_mb - 1e-9) + 1
        task.inside, task.latest, task.launched = 0, now, 0
        self._launch(k, 0, now)

    def _launch(self, k: int, part: int, now: float) -> None:
        task = self.tasks[k]
        task.launched = max(task.launched, part + 1)
        transfer = self.scenario.transfer
        patience = transfer.stall_timeout_s * transfer.attempts
        at, way = next(self.ways(task.source, task.unit, now), (math.inf, []))
        if at - now > patience:
            task.times.setdefault("failed", now + patience)
            return
        task.paths[part], task.epochs[part] = way, bisect_right(self.turning_points, at)
        self._push(at + self._part_mb(task, part) / task.rate_mb_s / 2, PART, 0, part, k, at)

    def _part_mb(self, task: Task, part: int) -> float:
        return task.data * self.overhead / (task.parts - 1) if part + 1 < task.parts else 0.0

    def _part(self, middle: float, hop: int, part: int, k: int, since: float) -> None:
        task, now = self.tasks[k], 2 * middle - since
        size = self._part_mb(task, part)
        if hop == 0 and part + 1 == task.launched < task.parts:
            self._launch(k, part + 1, now)
        out, way = now, task.paths[part]
        if way:
            link = self.links[way[hop]]
            start = done = max(link.until_s, since)
            if (cut := link.falls_s(now, start, size)) < math.inf:
                link.until_s = min(start, cut)
                self._launch(k, part, cut + RETRY_S)
                return
            if size > 0:
                link.until_s = done = link.speed.finish(start, size)
                link.entered += size
            out = max(now, done) + link.delay_s
            if hop + 1 < len(way):
                first = start + link.delay_s
                self._push((first + out) / 2, PART, hop + 1, part, k, first)
                return
        task.inside += 1
        task.latest = max(task.latest, out)
        if task.inside == task.parts:
            self._push(task.latest, ALL_IN, 0, 0, k, 0.0)

    def _arrive(self, now: float, k: int) -> None:
        task, cloud = self.tasks[k], self.scenario.cloud
        if task.unit == task.target:
            self._push(now + self._home_s(now, task), DELIVERED, 0, 0, k, 0.0)
        unit = self.units[task.unit]
        is_edge = self.network.nodes[task.unit].kind == "edge"
        if cloud.mode == "overflow" and is_edge and unit.until_s - now > cloud.overflow_queue_s:
            edge, task.unit = task.unit, "cloud"
            task.far_end = "cloud"
            self._send(now, k, edge, self.scenario.network.overflow_rate_mbps / 8)
            return
        self._admit(now, k)

    def _admit(self, now: float, k: int) -> None:
        task, unit = self.tasks[k], self.units[self.tasks[k].unit]
        start = max(now, unit.until_s)
        unit.until_s = unit.speed.finish(start, task.work)
        unit.entered += task.work
        task.times.update(arrived=now, start=start, end=unit.until_s)
        self._push(unit.until_s, SERVED, 0, 0, k, 0.0)

    def _home_s(self, now: float, task: Task) -> float:
        size = self.scenario.transfer.result_bytes / 1e6
        at, way = next(self.ways(task.far_end, task.device, now), (math.inf, []))
        total = at - now
        for link in (self.links[n] for n in way):
            speed = link.speed.at(now)
            total += link.delay_s + link.wait_s(now) + (size / speed if speed else 0.0)
        return total

    def _served(self, now: float, k: int) -> None:
        task = self.tasks[k]
        if task.target == task.device:
            self._know(now, k)
        else:
            self._push(now + self._home_s(now, task), HOME_AGAIN, 0, 0, k, 0.0)

    def _know(self, now: float, k: int) -> None:
        self.tasks[k].times["known"] = now

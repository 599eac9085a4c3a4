"""The network of a scenario as arrays: who reaches whom over which links, and when that changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from model.aliases import FloatArray, Int32Array
from model.events import CableEvent, CapacityEvent, NetworkEvent, timeline
from model.network import Network, Node, build_network
from model.observation import DeviceProfile
from model.profile import device_profile
from model.scenario import Scenario
from rl.simulator import state_arrays as ix
from rl.simulator.limits import require_epochs, require_paths

_Ways = tuple[list[int] | None, list[int] | None]
"""Links there and back; None where there is no way."""


class Paths(NamedTuple):
    """Paths of every pair in every epoch, as indices of shaped links.

    Epochs in which the same cables are down share a table.

    Pairs: (device d, target t) is ``d * T + t``; then edge → cloud for every edge; then
    device → cloud for every device (used backwards only, by overflowed tasks).

    Attributes:
        start_s: when an epoch begins, (epochs,).
        table: which of the tables below holds in an epoch, (epochs,); the first one is of epoch 0.
        there, back: links, (tables, pairs, hops), padded with -1.
        there_len, back_len: number of links, (tables, pairs); -1 where there is no way.
        back_fixed_s: propagation on the way back, (tables, pairs), s.
    """

    start_s: FloatArray
    table: Int32Array
    there: Int32Array
    back: Int32Array
    there_len: Int32Array
    back_len: Int32Array
    back_fixed_s: FloatArray


@dataclass(frozen=True)
class Layout:
    """A scenario's network for the simulator; the same for all seeds."""

    scenario: Scenario
    network: Network

    @classmethod
    def of(cls, scenario: Scenario) -> Layout:
        """Return the layout of a scenario."""
        return cls(scenario, build_network(scenario))

    @cached_property
    def profiles(self) -> tuple[DeviceProfile, ...]:
        """Profiles of the devices, in order."""
        return tuple(
            device_profile(self.scenario, self.network, d.name) for d in self.network.devices
        )

    @cached_property
    def targets(self) -> int:
        """T: the largest number of targets of any device; shorter rows are padded."""
        return max(len(p.targets) for p in self.profiles)

    @cached_property
    def unit_index(self) -> dict[str, int]:
        """Position of each unit in ``network.units``."""
        return {node.name: k for k, node in enumerate(self.network.units)}

    @cached_property
    def link_index(self) -> dict[str, int]:
        """Position of each link in ``network.shaped_links``."""
        return {link.name: k for k, link in enumerate(self.network.shaped_links)}

    @cached_property
    def target_unit(self) -> Int32Array:
        """Unit of each target, (devices, T), -1 where padded."""
        table = np.full((len(self.profiles), self.targets), -1, dtype=np.int32)
        for d, profile in enumerate(self.profiles):
            table[d, : len(profile.targets)] = [self.unit_index[t] for t in profile.targets]
        return table

    @cached_property
    def ping_plan(self) -> NDArray[np.int64]:
        """Peers, peers a slot, far targets and their period, (devices, 4); see ``arrays``."""
        spec = self.scenario.probes
        peers = np.array([sum(kind == "device" for kind in p.kinds) for p in self.profiles])
        far = np.array([len(p.targets) - 1 for p in self.profiles]) - peers
        plan = np.zeros((len(self.profiles), ix.PING_PLAN_COLUMNS), dtype=np.int64)
        plan[:, ix.PEERS], plan[:, ix.FAR] = peers, far
        plan[:, ix.PEERS_A_SLOT] = np.minimum(spec.peers_per_slot, peers)
        plan[:, ix.FAR_EVERY] = spec.edge_every_slots
        return plan

    def pinged(self, slot: int) -> NDArray[np.bool_]:
        """Whether a target is pinged in a slot, (devices, T): ``model.probing.pinged`` of all."""
        peers, a_slot, far, every = self.ping_plan.T[:, :, None]
        peer = np.arange(self.targets) - 1
        turn = (peer - slot * a_slot) % np.maximum(peers, 1)
        is_peer, is_far = (peer >= 0) & (peer < peers), (peer >= peers) & (peer < peers + far)
        table: NDArray[np.bool_] = np.where(
            is_peer, turn < a_slot, is_far & ((slot + peer - peers) % every == 0)
        )
        return table

    @cached_property
    def failures(self) -> tuple[CableEvent, ...]:
        """Cables that go down or come up, in order of time; the same for all seeds."""
        events = timeline(self.scenario, self.network, 0)
        return tuple(e for e in events if isinstance(e, CableEvent))

    @cached_property
    def paths(self) -> Paths:
        """All paths in all epochs: a new epoch begins whenever a cable goes down or comes up."""
        starts, downs, down = [0.0], [frozenset[str]()], frozenset[str]()
        for event in self.failures:
            down = down - {event.cable} if event.up else down | {event.cable}
            if event.at_s > starts[-1]:
                starts.append(event.at_s)
                downs.append(down)
            else:
                downs[-1] = down
        require_epochs(len(starts))
        number: dict[frozenset[str], int] = {}
        index = [number.setdefault(closed, len(number)) for closed in downs]
        hops, tables = 0, []
        for closed in number:
            tables.append(self._table(closed, len(number), hops))
            hops = max(hops, _longest(tables[-1]))
        return _as_arrays(starts, index, tables, hops, self.delay_s)

    @cached_property
    def delay_s(self) -> FloatArray:
        """Propagation delay of each shaped link, s."""
        specs = [link.spec for link in self.network.shaped_links]
        return np.array([s.delay_ms / 1e3 if s else 0.0 for s in specs])

    @cached_property
    def buffer_mb(self) -> FloatArray:
        """Byte limit of each shaped link's FIFO, MB."""
        specs = [link.spec for link in self.network.shaped_links]
        return np.array([s.buffer_mb if s else np.inf for s in specs])

    def _table(self, down: frozenset[str], tables: int, hops: int) -> list[_Ways]:
        """(there, back) of every pair while the cables ``down`` are out of service.

        Raises ``ScenarioError`` as soon as so many tables, of paths with so many links at least,
        are larger than the simulator takes.
        """
        finder = _PathFinder(self.network, self.link_index, down)
        pairs = self._pairs()
        found: list[_Ways] = []
        require_paths(tables, len(pairs), hops)
        for a, b in pairs:
            found.append((finder.links(a, b), finder.links(b, a)))
            if (longest := _longest(found[-1:])) > hops:
                hops = longest
                require_paths(tables, len(pairs), hops)
        return found

    def _pairs(self) -> list[tuple[str, str]]:
        pairs = [
            (d.name, p.targets[t] if t < len(p.targets) else d.name)
            for d, p in zip(self.network.devices, self.profiles, strict=True)
            for t in range(self.targets)
        ]
        if self.network.of_kind("cloud"):
            pairs += [(e.name, "cloud") for e in self.network.of_kind("edge")]
            pairs += [(d.name, "cloud") for d in self.network.devices]
        return pairs

    def capacities(self, seed: int) -> list[list[tuple[float, float]]]:
        """c_l(t) of each shaped link as (from s, Mbps) steps; 0 while its cable is down."""
        links = self.network.shaped_links
        steps = [[(0.0, link.spec.rate_mbps if link.spec else np.inf)] for link in links]
        rate = [step[0][1] for step in steps]
        down: set[str] = set()
        for event in timeline(self.scenario, self.network, seed):
            for k in self._touched(event):
                if isinstance(event, CapacityEvent):
                    rate[k] = event.rate_mbps
                elif event.up:
                    down.discard(event.cable)
                else:
                    down.add(event.cable)
                now = 0.0 if links[k].cable in down else rate[k]
                steps[k].append((event.at_s, now))
        return [_last_of_each_time(s) for s in steps]

    def _touched(self, event: NetworkEvent) -> list[int]:
        if isinstance(event, CapacityEvent):
            return [self.link_index[event.link]]
        return self._links_of_cable[event.cable]

    @cached_property
    def _links_of_cable(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for k, link in enumerate(self.network.shaped_links):
            found.setdefault(link.cable, []).append(k)
        return found


def _longest(ways: list[_Ways]) -> int:
    return max(len(way) for pair in ways for way in (*pair, []) if way is not None)


def _as_arrays(
    starts: list[float], index: list[int], tables: list[list[_Ways]], hops: int, delay_s: FloatArray
) -> Paths:
    shape = (len(tables), len(tables[0]), max(hops, 1))
    there, back = np.full(shape, -1, dtype=np.int32), np.full(shape, -1, dtype=np.int32)
    there_len = np.full(shape[:2], -1, dtype=np.int32)
    back_len = np.full(shape[:2], -1, dtype=np.int32)
    fixed = np.zeros(shape[:2])
    for e, table in enumerate(tables):
        for p, ways in enumerate(table):
            for way, links, lengths in zip(ways, (there, back), (there_len, back_len), strict=True):
                if way is not None:
                    links[e, p, : len(way)] = way
                    lengths[e, p] = len(way)
            fixed[e, p] = sum(delay_s[k] for k in ways[1] or ())
    table_of = np.asarray(index, dtype=np.int32)
    return Paths(np.asarray(starts), table_of, there, back, there_len, back_len, fixed)


def _last_of_each_time(steps: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return sorted(dict(steps).items())


class _PathFinder:
    """Shortest paths of one epoch; hosts have one cable, so only switches' paths are searched."""

    def __init__(self, network: Network, index: dict[str, int], down: frozenset[str]):
        self._network, self._index, self._down = network, index, down
        self._cache: dict[tuple[str, str], list[str] | None] = {}

    def links(self, source: str, target: str) -> list[int] | None:
        """Shaped links from one host to another; None where there is no way."""
        if source == target:
            return []
        if self._network.shared_radio(source, target):
            names = self._search(source, target)
        else:
            names = self._through_switches(source, target)
        if names is None or any(self._network.links[n].cable in self._down for n in names):
            return None
        return [self._index[n] for n in names if n in self._index]

    def _through_switches(self, source: str, target: str) -> list[str] | None:
        first, last = self._attachment(source), self._attachment(target)
        middle = self._between(first, last)
        if middle is None:
            return None
        begin = [f"{source}>{first}"] if source != first else []
        return begin + middle + ([f"{last}>{target}"] if target != last else [])

    def _attachment(self, name: str) -> str:
        """The switch of a host; the cloud itself, for only its paths may cross the core."""
        node: Node = self._network.nodes[name]
        if node.kind == "cloud":
            return name
        return str(next(iter(self._network.graph.successors(name))))

    def _between(self, a: str, b: str) -> list[str] | None:
        if (a, b) not in self._cache:
            self._cache[(a, b)] = self._search(a, b) if a != b else []
        return self._cache[(a, b)]

    def _search(self, a: str, b: str) -> list[str] | None:
        try:
            return [link.name for link in self._network.path(a, b, self._down)]
        except nx.NetworkXNoPath:
            return None

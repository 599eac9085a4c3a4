"""What waited on the links of an emulation, from its own looks at them; pings against it.

All times are scenario s and all bytes scenario bytes, so a rate in Mbps is the link's own.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from model.aliases import BoolArray, FloatArray
from model.network import Link, Network
from model.rates import bytes_per_s
from records.reader import Result

_BUSY_BYTES = 30_000
"""Twenty full frames, two at ten-fold speed: with more at both of two looks, the link cannot have
run idle in between."""
_MISSING_STEPS = 2.5
"""Two looks at a link further apart than so many usual ones: it was empty in between."""
_NEVER_S = 1e7


def column(table: pa.Table, name: str) -> FloatArray:
    """A numeric column; null is NaN."""
    values: FloatArray = table[name].to_numpy().astype(np.float64)
    return values


class Capacity:
    """c_l(t) of one link as it was: a step function, and its integral.

    Args:
        rate_mbps: from the beginning.
        changes: (time s, Mbps from then on), in order of time.
    """

    def __init__(self, rate_mbps: float, changes: list[tuple[float, float]]):
        self._times = np.asarray([0.0, *(t for t, _ in changes), _NEVER_S])
        self._rates = bytes_per_s(np.asarray([rate_mbps, *(r for _, r in changes)]))
        self._totals = np.concatenate([[0.0], np.cumsum(np.diff(self._times) * self._rates)])

    def rate(self, time_s: FloatArray) -> FloatArray:
        """c_l(t), bytes/s."""
        at = np.searchsorted(self._times, time_s, side="right") - 1
        rate: FloatArray = self._rates[np.clip(at, 0, len(self._rates) - 1)]
        return rate

    @property
    def fastest_mbps(self) -> float:
        """The highest c_l(t) of the run, Mbps."""
        return float(self._rates.max()) * 8 / 1e6

    def served(self, begin_s: FloatArray, end_s: FloatArray) -> FloatArray:
        """Bytes that the link carries between two times, if it never runs idle."""
        total = np.interp([begin_s, end_s], self._times, self._totals)
        served: FloatArray = total[1] - total[0]
        return served

    def drain(self, time_s: FloatArray, backlog_bytes: FloatArray) -> FloatArray:
        """How long what waits at a time takes to leave, s: V/c_l where c_l stays as it is."""
        total = np.interp(time_s, self._times, self._totals) + backlog_bytes
        drained: FloatArray = np.interp(total, self._totals, self._times) - time_s
        return drained


class Changes:
    """What happened to the network while the run went on, from a result's table ``events``.

    Attributes:
        capacities: link → c_l(t).
        outages: (from when on, s; cables that are down from then on), in order of time.
    """

    def __init__(self, network: Network, events: pa.Table):
        rates: dict[str, list[tuple[float, float]]] = {}
        down: frozenset[str] = frozenset()
        self.outages: list[tuple[float, frozenset[str]]] = [(0.0, down)]
        for row in events.to_pylist():
            link, time_s = row["link"], row["time_s"]
            if row["rate_mbps"] is not None:
                rates.setdefault(link, []).append((time_s, row["rate_mbps"]))
            else:
                cable = {network.links[link].cable}
                down = down - cable if row["up"] else down | cable
                self.outages.append((time_s, down))
        self.capacities = {
            k.name: Capacity(k.spec.rate_mbps, rates.get(k.name, []))
            for k in network.shaped_links
            if k.spec is not None
        }

    def all_up(self, begin_s: float, end_s: float) -> bool:
        """Whether no cable was down at any time between two."""
        first, last = self.epoch(np.asarray([begin_s, end_s]))
        return not any(down for _, down in self.outages[first : last + 1])

    def epoch(self, time_s: FloatArray) -> NDArray[np.int64]:
        """Index of the outage that holds at a time."""
        begins = [begin for begin, _ in self.outages]
        return np.asarray(np.searchsorted(begins, time_s, side="right") - 1)


class Queues:
    """Backlogs between looks: linear interpolation, zero where no look told of any.

    Attributes:
        looks: link → (times, s; backlogs, bytes; totals sent, bytes), of the looks that tell of it.
        step_s: usual time between two looks, s.
        changes: of the network.
    """

    def __init__(self, table: pa.Table, changes: Changes):
        self.changes = changes
        names = np.asarray(table["link"].to_pylist(), dtype=object)
        columns = [column(table, c) for c in ("time_s", "backlog_bytes", "total_sent_bytes")]
        self.looks: dict[str, list[FloatArray]] = {}
        for name in dict.fromkeys(names):
            order = np.flatnonzero(names == name)
            self.looks[name] = [c[order] for c in columns]
        times = np.unique(columns[0]) if len(names) else np.zeros(0)
        self.step_s = float(np.median(np.diff(times))) if times.size > 2 else 0.0

    def delay(self, link: Link, time_s: FloatArray) -> FloatArray:
        """V_l(t)/c_l(t), s; 0 for ideal cables and where nothing waits."""
        if link.name not in self.looks or link.name not in self.changes.capacities:
            return np.zeros_like(time_s)
        time, backlog, _ = self.looks[link.name]
        value = np.interp(time_s, time, backlog, left=0.0, right=0.0)
        # A link that no look mentions near this time was empty, whatever lies far on both sides.
        at = np.clip(np.searchsorted(time, time_s), 1, len(time) - 1) if len(time) > 1 else None
        if at is not None:
            far = time[at] - time[at - 1] > _MISSING_STEPS * self.step_s
            value = np.where(far, 0.0, value)
        return self.changes.capacities[link.name].drain(time_s, value)

    def busy(self, link: str) -> BoolArray:
        """Of each stretch between two looks at a link: whether it had a queue all the while."""
        time, backlog, _ = self.looks[link]
        queue = backlog > _BUSY_BYTES
        near = np.diff(time) < _MISSING_STEPS * self.step_s
        return np.asarray(queue[:-1] & queue[1:] & near)

    def served(self) -> tuple[FloatArray, FloatArray]:
        """(bytes sent, bytes that the rate allowed) between looks with a queue at both."""
        sent, allowed = [np.zeros(0)], [np.zeros(0)]
        for link, (time, _, total) in self.looks.items():
            busy = self.busy(link)
            sent.append(np.diff(total)[busy])
            allowed.append(self.changes.capacities[link].served(time[:-1], time[1:])[busy])
        return np.concatenate(sent), np.concatenate(allowed)


def queues_of(result: Result, network: Network) -> Queues:
    """The backlogs that a result's looks tell of."""
    return Queues(result.table("queues"), Changes(network, result.table("events")))


def ping_comparison(
    probes: pa.Table, queues: Queues, network: Network
) -> tuple[FloatArray, FloatArray]:
    """(queueing measured by pings, ΣV_l/c_l on the way there and back), scenario s, eq. (14).

    A ping during whose flight a cable fails or comes back has no one way, and is left out.
    """
    measured, expected = [np.zeros(0)], [np.zeros(0)]
    devices = np.asarray(probes["device"].to_pylist(), dtype=object)
    targets = np.asarray(probes["target"].to_pylist(), dtype=object)
    time, rtt = column(probes, "time_s"), column(probes, "rtt_s")
    epoch = queues.changes.epoch
    one_way = np.isfinite(rtt) & (epoch(time) == epoch(time + np.nan_to_num(rtt)))
    for pair in dict.fromkeys(zip(devices, targets, strict=True)):
        mine = np.flatnonzero((devices == pair[0]) & (targets == pair[1]) & one_way)
        if mine.size < 2:
            continue
        measured.append(rtt[mine] - rtt[mine].min())
        expected.append(_waits(pair, time[mine], queues, network))
    return np.concatenate(measured), np.concatenate(expected)


def _waits(
    pair: tuple[str, str], sent_s: FloatArray, queues: Queues, network: Network
) -> FloatArray:
    """ΣV_l/c_l, s, met by pings sent at some times, on the way that led there then."""
    total = np.zeros(sent_s.size)
    epochs = queues.changes.epoch(sent_s)
    for k in np.unique(epochs):
        mine, down = np.flatnonzero(epochs == k), queues.changes.outages[k][1]
        try:
            links = (*network.path(*pair, down), *network.path(pair[1], pair[0], down))
        except nx.NetworkXNoPath:
            continue  # A cable failed in the very moment, and yet there was an answer.
        now = sent_s[mine].copy()
        for link in links:
            now += queues.delay(link, now)
        total[mine] = now - sent_s[mine]
    return total

"""Computation units: the available resources F_u(t) and the FIFO queue of eq. (4)/(20).

F_u(t) is piecewise constant. A device alternates between idle (F_max) and busy (a fraction of it),
as its owner uses it: a two-state Markov process with exponential dwell times, drawn beforehand.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from model.network import Node, NodeKind
from model.random_streams import stream
from model.scenario import Scenario


@dataclass(frozen=True, slots=True)
class FrequencyTrace:
    """F_u(t): ``ghz[k]`` holds from ``start_s[k]`` to ``start_s[k + 1]``; the last one for ever.

    ``start_s`` begins with 0 and increases; ``max_ghz`` is F_max.
    """

    start_s: tuple[float, ...]
    ghz: tuple[float, ...]
    max_ghz: float

    def at(self, time_s: float) -> float:
        """F_u at a time, GHz."""
        return self.ghz[max(0, bisect_right(self.start_s, time_s) - 1)]

    def finish(self, begin_s: float, work_ghz_s: float) -> float:
        """When work that is served alone from ``begin_s`` on is done, s."""
        k = max(0, bisect_right(self.start_s, begin_s) - 1)
        now, left = begin_s, work_ghz_s
        while k + 1 < len(self.start_s):
            span = self.start_s[k + 1] - now
            if left <= span * self.ghz[k]:
                break
            left -= span * self.ghz[k]
            now = self.start_s[k + 1]
            k += 1
        return now + left / self.ghz[k]

    def served(self, begin_s: float, end_s: float) -> float:
        """Work that can be served in [begin, end], GHz·s: the integral of F_u."""
        k = max(0, bisect_right(self.start_s, begin_s) - 1)
        now, total = begin_s, 0.0
        while now < end_s:
            until = self.start_s[k + 1] if k + 1 < len(self.start_s) else end_s
            until = min(until, end_s)
            total += (until - now) * self.ghz[k]
            now, k = until, k + 1
        return total


def device_max_ghz(scenario: Scenario, node: Node) -> float:
    """F_max of a device, GHz: a property of the machine, hence drawn by ``topology_seed``."""
    low, high = scenario.compute.device.max_ghz
    return float(stream(scenario.network.topology_seed, "max-ghz", node.name).uniform(low, high))


def _device_frequency(scenario: Scenario, seed: int, node: Node) -> FrequencyTrace:
    spec = scenario.compute.device
    max_ghz = device_max_ghz(scenario, node)
    rng = stream(seed, "frequency", node.name)
    if spec.idle_probability == 1.0:
        return FrequencyTrace((0.0,), (max_ghz,), max_ghz)
    idle_dwell_s = spec.busy_dwell_s * spec.idle_probability / (1.0 - spec.idle_probability)
    idle = bool(rng.random() < spec.idle_probability)
    start, ghz, now = [], [], 0.0
    # Tasks may still be served after the last slot; the last state then holds.
    while now < scenario.duration_s:
        start.append(now)
        ghz.append(max_ghz if idle else max_ghz * spec.busy_fraction)
        now += float(rng.exponential(idle_dwell_s if idle else spec.busy_dwell_s))
        idle = not idle
    return FrequencyTrace(tuple(start), tuple(ghz), max_ghz)


def frequency_trace(scenario: Scenario, seed: int, node: Node) -> FrequencyTrace:
    """F_u(t) of a unit; edges and the cloud are constant."""
    if node.kind == "device":
        return _device_frequency(scenario, seed, node)
    ghz = scenario.compute.edge_ghz if node.kind == "edge" else scenario.compute.cloud_ghz
    return FrequencyTrace((0.0,), (ghz,), ghz)


@dataclass(slots=True)
class ServiceTimes:
    """When a job began and ended service, s (scenario time)."""

    start_s: float
    end_s: float


class FifoUnit:
    """A unit's queue in continuous time: first come, first served at F_u(t).

    Between slots this is eq. (4) with its positive part: Q(t+Δt) = max(0, Q + Σs - ∫F dt), exactly.
    """

    def __init__(self, frequency: FrequencyTrace):
        self.frequency = frequency
        # One entry a job, in order of service; both lists of times never decrease.
        self._start_s: list[float] = []
        self._end_s: list[float] = []
        self._work_ghz_s: list[float] = []

    def admit(self, time_s: float, work_ghz_s: float) -> ServiceTimes:
        """A job whose last byte arrived at ``time_s`` joins the queue (times must not decrease)."""
        start = max(time_s, self._end_s[-1]) if self._end_s else time_s
        end = self.frequency.finish(start, work_ghz_s)
        self._start_s.append(start)
        self._end_s.append(end)
        self._work_ghz_s.append(work_ghz_s)
        return ServiceTimes(start, end)

    def queue_ghz_s(self, time_s: float) -> float:
        """Q_u: work that waits or is in service at a time not before the last ``admit``, GHz·s."""
        first = bisect_right(self._end_s, time_s)
        if first == len(self._end_s):
            return 0.0
        served = self.frequency.served(min(self._start_s[first], time_s), time_s)
        return float(max(0.0, sum(self._work_ghz_s[first:]) - served))

    def busy_s(self, begin_s: float, end_s: float) -> float:
        """Time in [begin, end] spent serving the jobs admitted so far, s."""
        total = 0.0
        for k in range(bisect_right(self._end_s, begin_s), len(self._end_s)):
            if self._start_s[k] >= end_s:
                break
            total += min(self._end_s[k], end_s) - max(self._start_s[k], begin_s)
        return total


def price(scenario: Scenario, node: Node) -> float:
    """R_u, the fee per GHz·s of a unit, eq. (7)."""
    compute = scenario.compute
    prices = {
        "device": compute.device_price,
        "edge": compute.edge_price,
        "cloud": compute.cloud_price,
    }
    return prices[node.kind]


def worker_count(scenario: Scenario, kind: NodeKind) -> int:
    """Tasks that a unit of a kind serves at once: one, unless work is really done."""
    if scenario.compute.work == "timed":
        return 1
    return int(getattr(scenario.compute.workers, kind, 1))


def mean_frequency_ghz(scenario: Scenario) -> float:
    """Expected F of a device over time and devices, GHz (for sizing and for tests)."""
    spec = scenario.compute.device
    mean_max = float(np.mean(spec.max_ghz))
    return mean_max * (spec.idle_probability + (1 - spec.idle_probability) * spec.busy_fraction)

"""Whether a report can be true, judged by what the orchestrator knows for itself.

The trace says when a task is born and what it takes, the scenario whom a device may send to and
ping, the seed what F_u(t) is. What contradicts them is refused and counted; it never ends a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from emulation.messages import (
    Arrived,
    Baseline,
    Born,
    Dispatched,
    Failed,
    Known,
    Log,
    Ping,
    Record,
    Seen,
    Service,
    Slot,
    Transcoded,
)
from model.compute import frequency_trace
from model.network import Network
from model.probing import pinged
from model.profile import device_profile
from model.scenario import Scenario
from model.text import safe_line
from model.workload import TaskTrace

_EARLY_S = 1e-3
"""Rounding of times; all processes read the same clock."""
_LESS_WORK = 1e-6
_MOST_REFUSED = 100


class Plausible:
    """Refuses what cannot be: raises ``ValueError``, and says why."""

    def __init__(
        self,
        scenario: Scenario,
        network: Network,
        trace: TaskTrace,
        seed: int,
        now_s: Callable[[], float],
    ):
        """``now_s``: scenario time."""
        self._scenario, self._trace, self._now_s = scenario, trace, now_s
        self._timed = scenario.compute.work == "timed"
        self._frequencies = {n.name: frequency_trace(scenario, seed, n) for n in network.units}
        self._profiles = {
            d.name: device_profile(scenario, network, d.name) for d in network.devices
        }
        self._index = {d.name: k for k, d in enumerate(network.devices)}
        self._work_ghz_s = float(trace.work_ghz_s.sum())
        self._pings: Counter[tuple[str, int]] = Counter()
        self._due: dict[str, list[Counter[int]]] = {name: [Counter()] for name in self._profiles}

    def require(self, name: str, record: Record) -> None:
        """Raise ``ValueError`` if ``record`` cannot be what the node ``name`` has seen."""
        if not isinstance(record, Log | Seen):
            self._require_past(record)
        match record:
            case Born() | Dispatched() | Arrived() | Known() | Failed():
                self._require_born(record.task, record.at_s)
                if isinstance(record, Born):
                    self._born(name, record)
            case Service():
                self._service(name, record)
            case Transcoded():
                self._require_born(record.task, record.start_s)
                self._require_order(record.start_s, record.end_s)
            case Slot():
                self._slot(name, record)
            case Ping():
                self._ping(name, record)
            case Baseline(rtt_s, unreachable):
                profile = self._profiles.get(name)
                if not {*rtt_s, *unreachable} <= {*(profile.targets[1:] if profile else ())}:
                    raise ValueError("has measured paths that it does not have")

    def _require_past(self, record: Record) -> None:
        now_s = self._now_s() + _EARLY_S
        for field in ("at_s", "start_s", "end_s"):
            if getattr(record, field, 0.0) > now_s:
                raise ValueError(f"reports what is {getattr(record, field) - now_s:g} s ahead")

    def _require_born(self, task: int, time_s: float) -> None:
        if task < len(self._trace) and time_s < self._trace.born_s[task] - _EARLY_S:
            raise ValueError(f"reports on task {task} before its birth")

    @staticmethod
    def _require_order(start_s: float, end_s: float) -> None:
        if end_s < start_s:
            raise ValueError("reports a service that ends before it begins")

    def _born(self, name: str, record: Born) -> None:
        profile = self._profiles.get(name)
        if profile is None or record.target not in profile.targets:
            raise ValueError(f"sends task {record.task} to {safe_line(record.target, 40)}")
        least, most = profile.min_rate_mbps, profile.max_rate_mbps
        if not least * (1 - 1e-9) <= record.rate_mbps <= most * (1 + 1e-9):
            raise ValueError(f"sends task {record.task} at {record.rate_mbps:g} Mbps")

    def _service(self, name: str, record: Service) -> None:
        self._require_born(record.task, record.start_s)
        self._require_order(record.start_s, record.end_s)
        if not self._timed or record.task >= len(self._trace):
            return
        could = self._frequencies[name].served(record.start_s, record.end_s)
        work = float(self._trace.work_ghz_s[record.task])
        if could < work * (1 - _LESS_WORK) - _LESS_WORK:
            raise ValueError(f"reports {could:g} GHz·s for task {record.task}, which is {work:g}")

    def _slot(self, name: str, slot: Slot) -> None:
        frequency, slot_s = self._frequencies[name], self._scenario.slot_s
        begin_s = slot.boundary * slot_s
        # It was looked at within the time that has passed since the boundary.
        end_s = max(begin_s, self._now_s())
        times = [begin_s, *(t for t in frequency.start_s if begin_s < t <= end_s)]
        if slot.ghz not in {frequency.at(t) for t in times}:
            raise ValueError(f"reports boundary {slot.boundary} with {slot.ghz:g} GHz")
        trusted = name not in self._profiles
        if (
            trusted
            and self._timed
            and slot.queue_ghz_s > self._work_ghz_s * (1 + _LESS_WORK) + _LESS_WORK
        ):
            raise ValueError(f"reports a queue of {slot.queue_ghz_s:g} GHz·s")

    def _ping(self, name: str, ping: Ping) -> None:
        profile = self._profiles.get(name)
        if profile is None or ping.target not in profile.targets[1:]:
            raise ValueError(f"pings {safe_line(ping.target, 40)}")
        if ping.at_s + (ping.rtt_s or 0.0) > self._now_s() + _EARLY_S:
            raise ValueError("reports a reply that is still under way")
        target = profile.targets.index(ping.target)
        if self._pings[name, target] >= self._due_until(name, ping.at_s)[target]:
            raise ValueError(f"pings {ping.target} more often than the scenario says")
        self._pings[name, target] += 1

    def _due_until(self, name: str, time_s: float) -> Counter[int]:
        """How often a device was to ping each target by the end of the slot of that time."""
        due = self._due[name]
        slot = min(int(time_s / self._scenario.slot_s + _EARLY_S), self._scenario.slots - 1)
        while len(due) <= slot + 1:
            now_due = pinged(self._profiles[name], self._scenario.probes, len(due) - 1)
            due.append(due[-1] + Counter(now_due))
        return due[slot + 1]


class Refused:
    """Reports of nodes that were refused, counted.

    Attributes:
        counts: node → how many of its records.
        reasons: node → why its first one was refused.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}

    def add(self, name: str, why: str) -> bool:
        """Count a record; whether so many are enough to cut the node off."""
        self.counts[name] += 1
        self.reasons.setdefault(name, why)
        return self.counts[name] > _MOST_REFUSED

    def texts(self) -> list[tuple[str, str]]:
        """A sentence for each node."""
        reasons = self.reasons
        return [(n, f"{n}: {k} records refused; the first one {reasons[n]}")
                for n, k in self.counts.items()]  # fmt: skip

    def to_dict(self) -> Mapping[str, dict[str, int | str]]:
        """For the manifest."""
        return {n: {"records": k, "first": self.reasons[n]} for n, k in self.counts.items()}

"""Audit of an emulation's records against what its scenario and seed allow.

The orchestrator runs it at the end of a run, with the verdict. It reads the tables alone: it trusts
no process that wrote them. It covers tasks, units, pings and the bytes of switch ports. It does not
cover the quality of the emulation (late processes, wrong rates): ``metrics.fidelity`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metrics.queues import Changes, column
from model.aliases import BoolArray, FloatArray
from model.compute import FrequencyTrace, frequency_trace, worker_count
from model.network import Network
from model.packet_sizes import (
    FRAME_BYTES,
    PING_HEADERS_BYTES,
    SEGMENT_BYTES,
    TCP_HEADERS_BYTES,
    WIRE_OVERHEAD,
)
from model.probing import pinged
from model.profile import device_profile
from model.workload import TaskTrace, generate_trace
from records.reader import Result
from records.schema import TASK_TIMES

CLOCK_S = 0.001
"""Two processes read one clock: what one of them records may be this much early, real s."""
SAMPLE_S = 0.5
"""A unit's sample is taken this much after the end of its slot, and the run's lateness, real s."""
RATE_SLACK = 0.01
"""Share of a transfer's least time that a queue's burst may save."""
BYTES_SLACK = 0.05
"""Of the bytes that tasks, pings and acknowledgements explain at a port."""
_ACK_SHARE = TCP_HEADERS_BYTES / SEGMENT_BYTES
"""Bytes of acknowledgements sent back per byte received, one for each segment at most."""
_MESSAGE_BYTES = 3000
"""Of a task's connection, headers and result message, each way."""
_PORT_BYTES = 200_000
"""Real bytes at a port that no task explains: checks at bring-up, ARP, retransmitted tails."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that records break, how many do, and the first of them."""

    rule: str
    count: int
    example: str


def audit(result: Result, network: Network) -> list[Finding]:
    """Find records that contradict the scenario, its trace, its units or each other.

    Raises ``UserError`` where a table cannot be read.
    """
    records = _Records(result, network)
    checks = (*_tasks(records), *_services(records), *_units(records), *_pings(records),
              *_ports(records))  # fmt: skip
    return [finding for finding in checks if finding is not None]


class _Records:
    """Tables of a run, with the trace, units and pings that its scenario and seed define."""

    def __init__(self, result: Result, network: Network):
        self.result, self.network, self.scenario = result, network, result.scenario
        self.seed, self.speedup = int(result.manifest["seed"]), float(result.manifest["speedup"])
        self.clock_s = CLOCK_S * self.speedup
        self.trace: TaskTrace = generate_trace(self.scenario, self.seed, network)
        tasks = result.table("tasks")
        known = column(tasks, "task").astype(np.int64)
        self.tasks = tasks.filter(pa.array((known >= 0) & (known < len(self.trace))))
        self.task = column(self.tasks, "task").astype(np.int64)
        self.time = {name: column(self.tasks, name) for name in TASK_TIMES}
        self.attempts = column(self.tasks, "attempts")
        self.device, self.target = self.texts("device"), self.texts("target")
        self.outcome = self.texts("outcome")
        self.sent = np.asarray(
            [t is not None and t != d for d, t in zip(self.device, self.target, strict=True)],
            dtype=bool,
        )
        """Tasks that another unit than their device serves."""
        self.units = {unit.name: unit.kind for unit in network.units}
        self.possible = np.asarray(
            [t is None or t in self.targets.get(d, ())
             for d, t in zip(self.device, self.target, strict=True)], dtype=bool,
        )  # fmt: skip
        """Tasks whose target the device may choose, or that have none."""

    @cached_property
    def targets(self) -> dict[str, frozenset[str]]:
        """Units that each device may choose."""
        return {d.name: frozenset(self.network.targets(d.name)) for d in self.network.devices}

    @cached_property
    def allowed_pings(self) -> dict[tuple[str, str], int]:
        """(device, target) → pings that the scenario asks for over the whole run."""
        allowed: dict[tuple[str, str], int] = {}
        for device in self.network.devices:
            profile = device_profile(self.scenario, self.network, device.name)
            for slot in range(self.scenario.slots):
                for k in pinged(profile, self.scenario.probes, slot):
                    pair = (device.name, profile.targets[k])
                    allowed[pair] = allowed.get(pair, 0) + 1
        return allowed

    def frequency(self, unit: str) -> FrequencyTrace:
        """F_u(t) as the seed draws it."""
        return frequency_trace(self.scenario, self.seed, self.network.nodes[unit])

    def texts(self, name: str) -> NDArray[np.object_]:
        """A column of text of the tasks; null is None."""
        return np.asarray(self.tasks[name].to_pylist(), dtype=object)

    def finding(self, rule: str, wrong: BoolArray) -> Finding | None:
        """The finding on tasks, if there is one."""
        if not wrong.any():
            return None
        k = int(np.flatnonzero(wrong)[0])
        return Finding(rule, int(wrong.sum()), f"task {self.task[k]} of {self.device[k]}")


def _tasks(r: _Records) -> Iterator[Finding | None]:
    """Tasks are those of the trace, and their times are in order."""
    names = np.asarray([d.name for d in r.network.devices], dtype=object)
    other = r.device != names[r.trace.device[r.task]]
    for name, values in (
        ("born_s", r.trace.born_s), ("work_ghz_s", r.trace.work_ghz_s),
        ("data_mb", r.trace.data_mb),
    ):  # fmt: skip
        other |= column(r.tasks, name) != values[r.task]
    yield r.finding("tasks differ from the trace", other)
    yield r.finding("targets that the device may not choose", ~r.possible)
    rate, most = column(r.tasks, "rate_mbps"), r.scenario.decision.max_rate_mbps
    yield r.finding("rates out of range", (rate <= 0) | (rate > most * (1 + 1e-9)))
    done = r.outcome == "done"
    lacking = np.any([np.isnan(r.time[name]) for name in TASK_TIMES], axis=0)
    yield r.finding("done tasks without all their times", done & lacking)
    # A second attempt may be dispatched after the first one arrived and its answer was lost.
    single = r.attempts <= 1
    for k, (before, after) in enumerate(pairwise(TASK_TIMES)):
        wrong = r.time[after] < r.time[before] - r.clock_s
        yield r.finding(f"{after} before {before}", wrong & single if k == 1 else wrong)
    yield r.finding("transfers faster than their links", single & r.sent & _too_fast(r))


def _too_fast(r: _Records) -> BoolArray:
    """Tasks whose bytes arrived sooner than the slowest link of their path and their rate allow."""
    changes = Changes(r.network, r.result.table("events"))
    fastest = {name: c.fastest_mbps for name, c in changes.capacities.items()}
    paths: dict[tuple[str, str], float] = {}
    least_s = np.zeros(len(r.task))
    rate, data_mb = column(r.tasks, "rate_mbps"), r.trace.data_mb[r.task]
    for k in np.flatnonzero(r.sent & r.possible & np.isfinite(r.time["arrived_s"])):
        pair = (r.device[k], r.target[k])
        if pair not in paths:
            # After a failure the path is another one, but the first cable stays the same.
            links = r.network.path(*pair)[: 1 if len(changes.outages) > 1 else None]
            paths[pair] = min((fastest[x.name] for x in links if x.name in fastest), default=np.inf)
        least_s[k] = 8 * data_mb[k] / min(paths[pair], rate[k])
    took_s = r.time["arrived_s"] - r.time["dispatched_s"]
    with np.errstate(invalid="ignore"):
        return np.asarray(took_s < least_s * (1 - RATE_SLACK) - r.clock_s)


def _services(r: _Records) -> Iterator[Finding | None]:
    """Units serve no faster than F_u(t), and no more tasks at once than they have workers."""
    real = r.scenario.compute.work == "ffmpeg"
    overflow = r.scenario.cloud.mode == "overflow"
    start, end = r.time["service_start_s"], r.time["service_end_s"]
    served = np.isfinite(start) & np.isfinite(end)
    early, crowded = np.zeros(len(r.task), bool), np.zeros(len(r.task), bool)
    for unit, kind in r.units.items():
        mine = np.flatnonzero(served & (r.target == unit))
        if not mine.size:
            continue
        passed_on = overflow and kind == "edge"
        if not real:
            # A task that an edge passes on is served by the cloud, whose F is larger.
            f = r.frequency("cloud" if passed_on else unit)
            work = r.trace.work_ghz_s[r.task[mine]]
            early[mine] = _work_done(f, start[mine], end[mine]) < work - 1e-6 * (1 + work)
        if not passed_on:
            workers = worker_count(r.scenario, kind)
            crowded[mine] = _crowded(start[mine], end[mine], workers, r.clock_s if real else 1e-9)
    yield r.finding("services shorter than their work takes", early)
    yield r.finding("more tasks in service at once than the unit has workers", crowded)


def _work_done(f: FrequencyTrace, start_s: FloatArray, end_s: FloatArray) -> FloatArray:
    """Work that F_u(t) serves between two times each, GHz·s."""
    times = np.asarray([*f.start_s, max(f.start_s[-1], float(end_s.max())) + 1.0])
    total = np.concatenate([[0.0], np.cumsum(np.diff(times) * np.asarray(f.ghz))])
    done: FloatArray = np.interp(end_s, times, total) - np.interp(start_s, times, total)
    return done


def _crowded(start_s: FloatArray, end_s: FloatArray, workers: int, slack_s: float) -> BoolArray:
    """Services that begin while as many others are still on as there are workers."""
    order = np.lexsort((end_s, start_s))
    ends = np.sort(end_s[order] - slack_s)
    # Services of no work begin and end in one moment: they occupy no worker.
    begun = np.searchsorted(start_s[order], start_s[order], side="left")
    over = np.searchsorted(ends, start_s[order], side="right")
    long = end_s[order] - start_s[order] > slack_s
    wrong = np.zeros(len(start_s), bool)
    wrong[order] = long & (begun - np.minimum(over, begun) >= workers)
    return wrong


def _units(r: _Records) -> Iterator[Finding | None]:
    """Each unit is recorded in each slot, with the F_u that the seed draws."""
    table = r.result.table("units")
    names = np.asarray(table["unit"].to_pylist(), dtype=object)
    slots, time, ghz = (column(table, c) for c in ("slot", "time_s", "ghz"))
    table = r.result.table("slots", ["slot", "lateness_s"])
    recorded = np.unique(column(table, "slot"))
    late_s = (SAMPLE_S + np.nanmax(column(table, "lateness_s"), initial=0.0)) * r.speedup
    missing, drawn = [], []
    for unit in r.units:
        mine = names == unit
        gaps = np.setdiff1d(recorded, slots[mine])
        missing += [f"{unit} in slot {int(slot)}" for slot in gaps]
        f = r.frequency(unit)
        drawn += [
            f"{unit} at {time[k]:.1f} s: {ghz[k]:.6g} GHz"
            for k in np.flatnonzero(mine)
            if not _was(f, time[k] - r.clock_s, time[k] + late_s, ghz[k])
        ]
    yield _listed("units without a record of a slot", missing)
    yield _listed("units with another F(t) than was drawn", drawn)


def _was(f: FrequencyTrace, begin_s: float, end_s: float, ghz: float) -> bool:
    """Whether F_u(t) has a value at some time between two."""
    first = max(0, int(np.searchsorted(f.start_s, begin_s, side="right")) - 1)
    last = int(np.searchsorted(f.start_s, end_s, side="right"))
    return any(abs(value - ghz) <= 1e-9 * value for value in f.ghz[first:last])


def _listed(rule: str, wrong: list[str]) -> Finding | None:
    return Finding(rule, len(wrong), wrong[0]) if wrong else None


def _pings(r: _Records) -> Iterator[Finding | None]:
    """Devices send the pings of the scenario and no others."""
    table = r.result.table("probes", ["device", "target"])
    sent: dict[tuple[str, str], int] = {}
    pairs = zip(table["device"].to_pylist(), table["target"].to_pylist(), strict=True)
    for pair in pairs:
        sent[pair] = sent.get(pair, 0) + 1
    allowed = r.allowed_pings
    more = [f"{device} to {target}: {count} instead of {allowed.get((device, target), 0)}"
            for (device, target), count in sent.items()
            if count > allowed.get((device, target), 0)]  # fmt: skip
    yield _listed("pairs with more pings than the scenario asks for", more)


def _ports(r: _Records) -> Iterator[Finding | None]:
    """Switch ports carry the bytes of the tasks that were sent, and no others."""
    ports = _Ports(r)
    less, more = [], []
    for unit, kind in r.units.items():
        if unit not in ports.totals or kind == "cloud":
            continue
        received, sent = ports.totals[unit]
        for towards, found in (("from", received), ("to", sent)):
            least = ports.least(unit, towards)
            if found < least * (1 - BYTES_SLACK):
                less.append(f"{found:.0f} bytes {towards} {unit}, {least:.0f} of tasks")
        most = ports.most_received(unit, sent)
        if kind == "device" and received > most:
            more.append(f"{received:.0f} bytes from {unit}, at most {most:.0f} are explained")
    yield _listed("ports with fewer bytes than the tasks that crossed them", less)
    yield _listed("ports with more bytes than tasks, pings and acknowledgements explain", more)


class _Ports:
    """Bytes at the switch port of each unit, scenario bytes over the whole run.

    Attributes:
        totals: unit → (received from it, sent to it).
    """

    def __init__(self, r: _Records):
        self._r = r
        self.totals: dict[str, tuple[float, float]] = {}
        rows = r.result.table("ports", ["neighbour", "rx_bytes", "tx_bytes"]).to_pylist()
        for row in rows:
            if row["neighbour"] in r.units:
                self.totals[row["neighbour"]] = row["rx_bytes"], row["tx_bytes"]
        data = np.where(r.sent, r.trace.data_mb[r.task] * 1e6, 0.0)
        begun, over = np.isfinite(r.time["dispatched_s"]), np.isfinite(r.time["arrived_s"])
        # Counters are read once a slot: what arrives later than the last reading is not in them.
        counted = over & (r.time["arrived_s"] <= r.scenario.duration_s - r.scenario.slot_s)
        self._arrived = np.where(counted, data, 0.0)
        self._begun = np.where(begun, data * np.maximum(1, r.attempts), 0.0)
        self._drops = float(np.nansum(column(r.result.table("links", ["drops"]), "drops")))

    def least(self, unit: str, towards: str) -> float:
        """Bytes of tasks that are known to have crossed the port."""
        mine = self._r.device == unit if towards == "from" else self._r.target == unit
        return float(self._arrived[mine].sum())

    def most_received(self, unit: str, sent_to_it: float) -> float:
        """Bytes from a device that its tasks, results, pings and acknowledgements explain."""
        r, k = self._r, self._r.speedup
        own, guests = r.device == unit, r.sent & (r.target == unit)
        results = float(self._begun[guests].sum()) if r.scenario.compute.work == "ffmpeg" else 0.0
        tasks = float(self._begun[own].sum()) + results
        count = float((own & r.sent).sum() + guests.sum())
        attempts = max(1.0, float(np.nanmax(r.attempts, initial=1.0)))
        ping = (r.scenario.probes.ping_bytes + PING_HEADERS_BYTES) * k
        pings = sum(n for pair, n in r.allowed_pings.items() if unit in pair)
        explained = tasks * WIRE_OVERHEAD + sent_to_it * _ACK_SHARE
        explained += count * _MESSAGE_BYTES * attempts * k + pings * ping
        # A dropped packet is sent again; without selective acknowledgements so are some after it.
        return explained * (1 + BYTES_SLACK) + 3 * self._drops * FRAME_BYTES * k + _PORT_BYTES * k


def describe(findings: list[Finding], most: int = 4) -> str:
    """One line on findings: ``"12 tasks differ from the trace (task 3 of c1d1); …"``."""
    parts = [f"{f.rule}: {f.count} ({f.example})" for f in findings[:most]]
    if len(findings) > most:
        parts.append(f"{len(findings) - most} more rules are broken")
    return "; ".join(parts)

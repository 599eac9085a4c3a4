"""Can the numbers of an emulation be believed? A verdict from what the run itself recorded.

Every check compares a measured value with a limit; the limits stand here, with their sources.
What could not be measured (nothing was ever backlogged, say) is said so and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from metrics.audit import audit, describe
from metrics.packets import Packets, read_packets
from metrics.queues import Changes, Queues, column, ping_comparison, queues_of
from model.aliases import FloatArray
from model.network import Network, build_network
from model.workload import generate_trace
from records.reader import Result
from records.schema import OUTCOMES

IDLE_SHARE = 0.01
"""Idle share of all cores, in every second of real time. Handigol et al., CoNEXT 2012: an emulation
whose processor was ever fully busy may have been late; their criterion is idle time in every
second."""
LATENESS_SLOTS = 0.1
"""No process starts a slot's work later than a tenth of a slot."""
RATE_ERROR, RATE_SHARE = 0.10, 0.99
"""A backlogged link serves its rate: between two looks the bytes it sent are within 10 % of
rate × time for 99 % of the looks, as CoNEXT 2012 asks of the gaps between packets at 100 Mbps."""
GAP_ERROR, GAP_SHARE = 0.10, 0.99
"""Where a backlogged link was captured (``--pcap``): the gap behind a full frame is within 10 % of
the frame's time at the link's rate, for 99 % of them; the same source."""
MEAN_RATE_ERROR = 0.01
"""And over all looks together within 1 % of the rate. HTB was measured within 0.3 % of 10 and 30
Mbps on a machine of this kind; Mininet's own test (test_hifi.py) allows 20 %."""
TRANSFER_ERROR = 0.02
"""Rate of a paced task on the wire against the x that was asked for; the calibration's only."""
PING_ERROR_S = 0.003
"""Ping against idle round trip + ΣV_l/c_l, eq. (14), mean absolute error in real time: two full
frames at 10 Mbps and a half. Shaped at a switch's egress with offloads off 0.3 to 2.9 ms were
measured on a machine of this kind, with offloads on 7.5 ms."""
PING_CORRELATION = 0.95
"""Of the same two, over all pings; where fewer than 30 met a queue it is not asked."""
LOSS_SHARE = 0.001
"""Bytes that left a queue and never reached the switch behind it, or were received by a switch and
never sent on, while every cable was up: an overloaded user-space switch loses packets that no
queue counts."""
CLOCK_DRIFT = 0.001
"""Monotonic against wall-clock time over the run."""
UNDECIDED_SHARE = 0.01
"""Of all tasks: those whose decision did not come in time, so that they stayed on their device.
What a run measures is then no longer its policy."""
_SAID = 4
"""Incidents that a verdict tells of; the manifest has all."""
_ENOUGH = 30
"""Fewer samples than this say nothing."""
_LOADED_S = 0.005
"""Pings are compared with queues where either of them reaches this, real s, and all are counted."""


@dataclass(frozen=True, slots=True)
class Check:
    """One criterion. ``ok`` None: it could not be measured, ``text`` says why."""

    name: str
    ok: bool | None
    value: float | None
    limit: float
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """``valid`` if no check failed."""

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        """Whether the numbers can be believed, as far as the checks tell."""
        return all(c.ok is not False for c in self.checks)

    @property
    def text(self) -> str:
        """``valid``, or ``invalid: why``."""
        why = "; ".join(c.text for c in self.checks if c.ok is False)
        return "valid" if self.valid else f"invalid: {why}"

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "verdict": self.text,
            "valid": self.valid,
            "checks": [asdict(c) for c in self.checks],
        }


def judge(result: Result) -> Verdict:
    """The verdict on an emulation's result."""
    network = build_network(result.scenario)
    speedup = float(result.manifest["speedup"])
    slot_s = result.scenario.slot_s
    slots, ports = result.table("slots"), result.table("ports")
    queues = queues_of(result, network)
    return Verdict(
        (
            _idle(slots, slot_s / speedup),
            _deadlines(slots, slot_s / speedup),
            *_served_rate(queues),
            _gaps(result, queues, speedup),
            *_pings(result.table("probes"), queues, network, speedup),
            _unexplained_loss(
                _lost_before_switches(ports, result.table("links"), network),
                _lost_in_switches(ports, queues.changes, slot_s),
            ),
            _clock(result.manifest),
            _incidents(result.manifest),
            *_walls(result.manifest),
            *_decisions(result.manifest),
            *_task_order(result.manifest),
            _task_states(result, network),
            _audit(result, network),
        )
    )


def _idle(slots: pa.Table, slot_real_s: float) -> Check:
    # The first slot still has the end of bring-up in it.
    idle = _by_second(column(slots, "idle_cpu_share")[1:], slot_real_s)
    if not idle.size:
        return Check("idle CPU", None, None, IDLE_SHARE, "idle CPU: too few slots")
    busy = int((idle < IDLE_SHARE).sum())
    text = f"idle CPU: at least {idle.min():.1%} in every second"
    if busy:
        text = f"no idle CPU in {busy} of {idle.size} seconds"
    return Check("idle CPU", busy == 0, float(idle.min()), IDLE_SHARE, text)


def _by_second(shares: FloatArray, slot_real_s: float) -> FloatArray:
    """Means over the slots of each whole second; the slots' own where they last a second or more.

    The kernel counts in ticks of 10 ms, too coarse for the slots of a high speed-up.
    """
    together = max(1, round(1.0 / slot_real_s))
    whole = len(shares) // together * together
    means: FloatArray = shares[:whole].reshape(-1, together).mean(axis=1)
    return means


def _deadlines(slots: pa.Table, slot_real_s: float) -> Check:
    late = column(slots, "lateness_s") / slot_real_s
    if not late.size:
        return Check("slot deadlines", None, None, LATENESS_SLOTS, "slot deadlines: no slots")
    k = int(late.argmax())
    text = f"latest slot: {late[k]:.1%} of a slot ({slots['late_process'][k].as_py()}, slot {k})"
    return Check(
        "slot deadlines", bool(late[k] <= LATENESS_SLOTS), float(late[k]), LATENESS_SLOTS, text
    )


def _served_rate(queues: Queues) -> tuple[Check, Check]:
    sent, allowed = queues.served()
    if sent.size < _ENOUGH:
        text = f"rate of backlogged links: only {sent.size} looks at a busy link"
        return (
            Check("rate between looks", None, None, RATE_SHARE, text),
            Check("mean rate", None, None, MEAN_RATE_ERROR, text),
        )
    share = float((np.abs(sent / allowed - 1.0) <= RATE_ERROR).mean())
    error = float(abs(sent.sum() / allowed.sum() - 1.0))
    return (
        Check(
            "rate between looks",
            share >= RATE_SHARE,
            share,
            RATE_SHARE,
            f"backlogged links served their rate within 10 % in {share:.1%} of {sent.size} looks",
        ),
        Check(
            "mean rate",
            error <= MEAN_RATE_ERROR,
            error,
            MEAN_RATE_ERROR,
            f"backlogged links served their rate within {error:.2%} on average",
        ),
    )


def _gaps(result: Result, queues: Queues, speedup: float) -> Check:
    """Gaps between the packets that left captured links while these were backlogged."""
    name, ratios = "gaps between packets", [np.zeros(0)]
    begin = result.manifest.get("clocks", {}).get("begin_unix_s")
    whole = [
        c
        for c in result.manifest.get("captures", ())
        if c["side"] == "leaving" and c["captured"] and not c["dropped_by_kernel"]
    ]
    for capture in whole if begin is not None else ():
        if capture["link"] in queues.looks:
            packets = Packets()
            read_packets(result.folder / capture["file"], begin, packets)
            ratios.append(_gap_ratios(packets, capture["link"], queues, speedup))
    found = np.concatenate(ratios)
    if found.size < _ENOUGH:
        text = f"{name}: only {found.size} captured while a link was backlogged"
        text = text if whole else f"{name}: no link was captured (--pcap)"
        return Check(name, None, None, GAP_SHARE, text)
    share = float((np.abs(found - 1.0) <= GAP_ERROR).mean())
    text = f"{name}: {share:.2%} of {found.size} within {GAP_ERROR:.0%} of the ideal"
    return Check(name, share >= GAP_SHARE, share, GAP_SHARE, text)


def _gap_ratios(packets: Packets, link: str, queues: Queues, speedup: float) -> FloatArray:
    """Gap / ideal gap behind full frames, in stretches with a queue and one capacity."""
    left_s, gap_s, size = packets.full_gaps()
    looks_s, capacity = queues.looks[link][0], queues.changes.capacities[link]
    at = np.searchsorted(looks_s, left_s * speedup) - 1
    inside = (at >= 0) & (at < len(looks_s) - 1)
    steady = queues.busy(link) & (capacity.rate(looks_s[:-1]) == capacity.rate(looks_s[1:]))
    mine = np.flatnonzero(inside)[steady[at[inside]]]
    # A real second carries the link's rate in real bytes, whatever the speed-up.
    ratios: FloatArray = gap_s[mine] * capacity.rate(left_s[mine] * speedup) / size[mine]
    return ratios


def _pings(
    probes: pa.Table, queues: Queues, network: Network, speedup: float
) -> tuple[Check, Check]:
    measured, expected = (a / speedup for a in ping_comparison(probes, queues, network))
    loaded = (measured >= _LOADED_S) | (expected >= _LOADED_S)
    if measured.size < _ENOUGH:
        text = "ping against ΣV/c: too few pings"
        return (
            Check("ping error", None, None, PING_ERROR_S, text),
            Check("ping correlation", None, None, PING_CORRELATION, text),
        )
    error = float(np.abs(measured - expected).mean())
    worst = float(np.quantile(np.abs(measured - expected), 0.95))
    text = f"ping against ΣV/c: mean error {error * 1e3:.2f} ms, 95 % within {worst * 1e3:.2f} ms"
    first = Check("ping error", error <= PING_ERROR_S, error, PING_ERROR_S, text)
    if loaded.sum() < _ENOUGH or measured.std() == 0 or expected.std() == 0:
        text = f"correlation of pings with ΣV/c: only {int(loaded.sum())} pings met a queue"
        return first, Check("ping correlation", None, None, PING_CORRELATION, text)
    r = float(np.corrcoef(measured, expected)[0, 1])
    text = f"correlation of pings with ΣV/c: r = {r:.3f} over {measured.size} pings"
    return first, Check("ping correlation", r >= PING_CORRELATION, r, PING_CORRELATION, text)


def _unexplained_loss(before: float | None, inside: float | None) -> Check:
    name = "unexplained loss"
    if before is None or inside is None:
        return Check(name, None, None, LOSS_SHARE, f"{name}: nothing was counted")
    text = f"bytes lost between queues and switches: {before:.3%}, in switches: {inside:.3%}"
    lost = max(before, inside)
    return Check(name, lost <= LOSS_SHARE, lost, LOSS_SHARE, text)


def _lost_before_switches(ports: pa.Table, links: pa.Table, network: Network) -> float | None:
    """Share of the bytes that left the queues of ``a>switch`` and were not received there."""
    received = _received(ports)
    sent = _sums(links, lambda link: link.partition(">")[2] in {n.name for n in network.switches})
    both = [k for k in sent if k in received]
    total = sum(sent[k] for k in both)
    return max(0.0, total - sum(received[k] for k in both)) / total if total > 0 else None


def _lost_in_switches(ports: pa.Table, changes: Changes, slot_s: float) -> float | None:
    """Share of the bytes that switches received and did not send, in slots without an outage."""
    counts: dict[str, dict[int, tuple[float, float]]] = {}
    for row in ports.select(["switch", "slot", "rx_bytes", "tx_bytes"]).to_pylist():
        of_switch = counts.setdefault(row["switch"], {})
        rx, tx = of_switch.get(row["slot"], (0.0, 0.0))
        of_switch[row["slot"]] = rx + row["rx_bytes"], tx + row["tx_bytes"]
    received = sent = 0.0
    for of_switch in counts.values():
        for (first, before), (last, now) in pairwise(sorted(of_switch.items())):
            if changes.all_up((first + 1) * slot_s, (last + 1) * slot_s):
                received, sent = received + now[0] - before[0], sent + now[1] - before[1]
    return max(0.0, received - sent) / received if received > 0 else None


def _received(ports: pa.Table) -> dict[str, float]:
    """Link into a switch → bytes its port received between its first and its last counting."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for row in ports.select(["switch", "neighbour", "rx_bytes", "slot"]).to_pylist():
        link = f"{row['neighbour']}>{row['switch']}"
        first.setdefault(link, row["rx_bytes"])
        last[link] = row["rx_bytes"]
    return {link: last[link] - first[link] for link in last}


def _sums(links: pa.Table, wanted: Callable[[str], bool]) -> dict[str, float]:
    """Bytes sent by each wanted link after the first slot (whose counters are the base)."""
    sums: dict[str, float] = {}
    for row in links.select(["link", "sent_bytes", "slot"]).to_pylist():
        if row["slot"] > 0 and wanted(row["link"]):
            # None in a slot in which nobody looked.
            sums[row["link"]] = sums.get(row["link"], 0.0) + (row["sent_bytes"] or 0.0)
    return sums


def _clock(manifest: dict[str, Any]) -> Check:
    clocks = manifest.get("clocks")
    if not clocks or clocks["monotonic_s"] <= 0:
        return Check("clock drift", None, None, CLOCK_DRIFT, "clock drift: not measured")
    drift = abs(clocks["wall_s"] / clocks["monotonic_s"] - 1.0)
    text = f"wall clock against monotonic clock: {drift:.4%}"
    return Check("clock drift", drift <= CLOCK_DRIFT, drift, CLOCK_DRIFT, text)


def _incidents(manifest: dict[str, Any]) -> Check:
    """Nothing happened that the scenario does not say, and nothing was left unmeasured."""
    incidents, blind = manifest.get("incidents"), manifest.get("unmeasured_slots", [])
    if incidents is None:
        return Check("incidents", None, None, 0.0, "incidents: not recorded")
    said = [f"at {i['at_s']:.1f} s {i['text']}" for i in incidents]
    more = [f"{len(said) - _SAID} more incidents"] if len(said) > _SAID else []
    if blind:
        more.append(f"no look at the links in {len(blind)} slots from slot {blind[0]} on")
    count = float(len(said) + len(blind))
    text = "; ".join(said[:_SAID] + more) or "no incidents"
    return Check("incidents", count == 0, count, 0.0, text)


def _walls(manifest: dict[str, Any]) -> tuple[Check, ...]:
    """All walls stood around the nodes, so that no policy could see or do what it must not."""
    missing = manifest.get("missing_walls")
    if missing is None:  # a run before they were recorded, or one that was not brought up
        return ()
    why = ", ".join(f"{name} ({missing[name]})" for name in sorted(missing))
    text = f"walls around nodes are missing: {why}" if missing else "all walls stood"
    return (Check("walls", not missing, float(len(missing)), 0.0, text),)


def _decisions(manifest: Mapping[str, Any]) -> tuple[Check, ...]:
    """Decisions that came in time; runs before this was counted have no such check.

    In a stepped run the caller decides for itself what it does in time (``late_steps``).
    """
    nodes = [n for n in (manifest.get("nodes") or {}).values() if n and "undecided" in n]
    decided = sum(n.get("decisions") or 0 for n in nodes)
    if not decided:
        return ()
    late = int(sum(n["undecided"] or 0 for n in nodes))
    share = late / (decided + late)
    text = f"decisions: {late} of {int(decided) + late} did not come in time"
    return (Check("decisions", share <= UNDECIDED_SHARE, share, UNDECIDED_SHARE, text),)


def _task_order(manifest: dict[str, Any]) -> tuple[Check, ...]:
    """Of each task: born, dispatched, arrived, served, known, in this order."""
    count = manifest.get("disordered")
    if count is None:
        return ()
    text = f"{count} tasks have times that cannot be, such as a result before its service"
    return (
        Check("task order", not count, float(count), 0.0, text if count else "task order: kept"),
    )


def _task_states(result: Result, network: Network) -> Check:
    """Every task of the trace stands in the table once, in exactly one state."""
    tasks = result.table("tasks", ["task", "outcome"])
    generated = len(generate_trace(result.scenario, int(result.manifest["seed"]), network))
    counts = {k: tasks["outcome"].to_pylist().count(k) for k in OUTCOMES}
    found = np.bincount(column(tasks, "task").astype(int), minlength=generated)
    wrong = int((found != 1).sum()) + tasks.num_rows - sum(counts.values())
    wrong += int(result.manifest.get("contradictions", 0))
    states = " + ".join(f"{number} {name}" for name, number in counts.items())
    text = f"{generated} tasks generated = {states}"
    if wrong:
        text = f"{wrong} of {generated} generated tasks are not in exactly one state ({states})"
    return Check("task states", wrong == 0, float(wrong), 0.0, text)


def _audit(result: Result, network: Network) -> Check:
    """No record contradicts the scenario, its trace, its units or another record."""
    findings = audit(result, network)
    text = f"audit: {describe(findings)}" if findings else "audit: no contradiction in the records"
    return Check("audit", not findings, float(sum(f.count for f in findings)), 0.0, text)

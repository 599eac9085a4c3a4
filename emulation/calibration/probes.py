"""The standard probes: each does something to the calibration's network and yields lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from emulation.calibration.card import Line
from emulation.calibration.rig import Rig, Samples
from metrics.fidelity import (
    GAP_ERROR,
    GAP_SHARE,
    IDLE_SHARE,
    LOSS_SHARE,
    MEAN_RATE_ERROR,
    PING_CORRELATION,
    PING_ERROR_S,
    TRANSFER_ERROR,
)
from metrics.packets import Packets
from model.aliases import FloatArray
from model.packet_sizes import PAYLOAD_PER_WIRE_BYTE
from model.rates import bytes_per_s
from model.wire_format import HEADER_BYTES

_FINE_GAP_ERROR = 0.01
_PING_EVERY_S = 0.025
_DEPTHS_S = (0.005, 0.05, 0.2, 10.0)
_FEW = 10
_DATA_BYTES = 200
"""Frames of a task are larger, acknowledgements and pings smaller."""

Protocol = Literal["udp", "tcp"]


@dataclass(frozen=True, slots=True)
class Load:
    """Flows (source, target, Mbps) that offer a link more than it carries, and who pings over it.

    No other queue on the way is offered as much, so that one queue grows alone.
    """

    link: str
    flows: tuple[tuple[str, str, float], ...]
    ping: tuple[str, str]


LOADS = {
    "e2d": Load("c1d1>bs1", (("c1d1", "e1", 12.0),), ("c1d1", "e1")),
    "access": Load(
        "bs1>e1", (("c1d1", "e1", 8.0), ("c1d2", "e1", 8.0), ("e2", "e1", 18.0)), ("c1d1", "e1")
    ),
    "e2e": Load("bs1>bs2", (("e1", "e2", 26.0), ("c1d1", "e2", 8.0)), ("c1d1", "e2")),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often.

    Attributes:
        load_s: of each load.
        idle_pings: to each target.
        transfers: (MB, how often) for each rate.
        rates_mbps: x of the transfers.
    """

    load_s: float
    idle_pings: int
    transfers: tuple[tuple[float, int], ...]
    rates_mbps: tuple[float, ...]


FULL = Plan(5.0, 60, ((0.1, 4), (0.5, 2), (1.0, 1)), (2.5, 5.0, 7.5, 10.0))
QUICK = Plan(1.0, 20, ((0.1, 1),), (2.5, 10.0))


@dataclass(frozen=True, slots=True)
class PingFigures:
    """Pings under load: what was measured and what ΣV/c says, s without the idle round trip."""

    measured_s: FloatArray
    expected_s: FloatArray


class Probes:
    """Runs the probes one after the other; ``idle_share`` gathers what each left of the CPU."""

    def __init__(self, rig: Rig, plan: Plan):
        self._rig, self._plan = rig, plan
        self.idle_share: dict[str, float] = {}
        self._idle_rtt_s: dict[tuple[str, str], float] = {}
        self._pings: list[PingFigures] = []

    def idle(self) -> Iterator[Line]:
        """Nothing but pings: round trips by path length, and that nothing else is sent."""
        rig = self._rig
        with rig.watch.watching() as samples:
            time.sleep(1.0)
        # The first look is the base: what bring-up sent is not asked for.
        sent = sum(s[-1] - s[0] for s in samples.sent.values())
        text = f"{sent} bytes in a second in which nobody sent anything"
        yield Line("idle network", "bytes", float(sent), "bytes", 0.0, text)
        with rig.watch.watching() as samples:
            for source, target in (("c1d1", "c1d2"), ("c1d1", "e1"), ("c1d1", "e2")):
                rtt_s = self._ping(source, target)
                links = len(rig.network.path(source, target))
                self._idle_rtt_s[source, target] = middle = float(np.nanmedian(rtt_s))
                high = float(np.nanquantile(rtt_s, 0.95))
                text = f"{middle * 1e3:.2f} ms, 95 % within {high * 1e3:.2f} ms"
                probe = f"idle ping, {links} links ({source}, {target})"
                yield Line(probe, "round trip, 95 %", high, "s", PING_ERROR_S, text)
        self._note("idle pings", samples)

    def _ping(self, source: str, target: str) -> FloatArray:
        address, count = self._rig.address(target), self._plan.idle_pings
        asked = self._rig.ask(source, "ping", address=address, every_s=0.02, count=count)
        return np.asarray(self._rig.answer(asked)["rtt_s"], dtype=np.float64)

    def load(self, link_class: str, protocol: Protocol) -> Iterator[Line]:
        """One link offered more than it carries: its rate, the gaps, pings, what was lost."""
        load, probe = LOADS[link_class], f"{link_class}, {protocol}"
        with self._rig.capture(load.link) as packets, self._rig.watch.watching() as samples:
            pings = self._offer(load, protocol)
            self._rig.drain()
        self._note(probe, samples)
        link = self._rig.network.links[load.link]
        assert link.spec is not None  # noqa: S101 - for the type checker: loaded links are shaped
        busy = samples.busy(load.link)
        if busy is None:
            yield Line(probe, "rate", None, "", MEAN_RATE_ERROR, "the link was never backlogged")
            return
        yield from _rates(probe, load, link.spec.rate_mbps, samples, busy)
        yield from _gaps(probe, packets.between(*busy), link.spec.rate_mbps)
        yield _loss(probe, self._rig, load, samples)
        self._pings.append(self._compare(load, samples, pings))

    def _offer(self, load: Load, protocol: Protocol) -> dict[str, Any]:
        rig, seconds = self._rig, self._plan.load_s
        asked = []
        for source, target, rate in load.flows:
            if protocol == "udp":
                how = {"address": rig.address(target), "rate_mbps": rate, "seconds": seconds}
                asked.append(rig.ask(source, "udp", **how))
            else:
                size = round(bytes_per_s(rate) * seconds * PAYLOAD_PER_WIRE_BYTE)
                asked.append(rig.ask(source, "send", unit=target, bytes=size, rate_mbps=rate))
        source, target = load.ping
        count = round(seconds / _PING_EVERY_S)
        pings = rig.ask(
            source, "ping", address=rig.address(target), every_s=_PING_EVERY_S, count=count
        )
        for one in asked:
            rig.answer(one, 10.0 + 5 * seconds)
        return rig.answer(pings)

    def _compare(self, load: Load, samples: Samples, pings: dict[str, Any]) -> PingFigures:
        source, target = load.ping
        now = np.asarray(pings["sent_s"], dtype=np.float64)
        total = np.zeros_like(now)
        network = self._rig.network
        for link in (*network.path(source, target), *network.path(target, source)):
            wait = samples.wait(link, now)
            now, total = now + wait, total + wait
        measured = np.asarray(pings["rtt_s"], dtype=np.float64) - self._idle_rtt_s[source, target]
        known = np.isfinite(measured)
        return PingFigures(measured[known], total[known])

    def pings(self) -> Iterator[Line]:
        """Pings of all loads against idle round trip + ΣV/c, eq. (14), by depth of the queues."""
        measured = np.concatenate([p.measured_s for p in self._pings] or [np.zeros(0)])
        expected = np.concatenate([p.expected_s for p in self._pings] or [np.zeros(0)])
        probe = "ping against ΣV/c"
        yield _ping_error(probe, "all", measured, expected)
        for low, high in pairwise(_DEPTHS_S):
            mine = (expected >= low) & (expected < high)
            name = (
                f"{low * 1e3:.0f}–{high * 1e3:.0f} ms" if high < 1 else f"over {low * 1e3:.0f} ms"
            )
            if mine.sum() >= _FEW:
                yield _ping_error(probe, name, measured[mine], expected[mine])
        r = float("nan")
        if len(measured) >= _FEW and measured.std() > 0 and expected.std() > 0:
            r = float(np.corrcoef(measured, expected)[0, 1])
        text = f"r = {r:.4f} over {len(measured)} pings"
        yield Line(probe, "correlation", r, "", PING_CORRELATION, text, at_least=True)

    def transfers(self) -> Iterator[Line]:
        """Tasks one at a time through an idle network: the rate on the wire against x."""
        rig = self._rig
        rig.answer(rig.ask("c1d1", "open", unit="e1"))
        with rig.capture("bs1>e1") as packets, rig.watch.watching() as samples:
            sent = [(x, mb, self._send(x, mb)) for x, mb in self._orders()]
        self._note("transfers", samples)
        for x in self._plan.rates_mbps:
            told, errors = [], []
            for mb, _ in self._plan.transfers:
                mine = [t for rate, size, t in sent if (rate, size) == (x, mb)]
                rates = [_wire_rate(packets, t) for t in mine]
                whole = [_whole_rate(mb, t) for t in mine]
                errors.append(abs(float(np.median(rates)) / x - 1.0))
                told.append(f"{mb:g} MB {np.median(rates):.3f} ({np.median(whole):.3f})")
            text = "Mbps on the wire (dispatch to arrival): " + ", ".join(told)
            yield Line(f"task at {x:g} Mbps", "error", max(errors), "", TRANSFER_ERROR, text)

    def _orders(self) -> list[tuple[float, float]]:
        plan = self._plan
        return [
            (x, mb) for x in plan.rates_mbps for mb, often in plan.transfers for _ in range(often)
        ]

    def _send(self, x: float, mb: float) -> dict[str, float]:
        asked = self._rig.ask("c1d1", "send", unit="e1", bytes=round(mb * 1e6), rate_mbps=x)
        answer = self._rig.answer(asked)
        time.sleep(0.05)  # the next one meets an idle network
        return answer

    def cpu(self) -> Line:
        """The least idle second of all probes."""
        name = min(self.idle_share, key=lambda k: self.idle_share[k])
        least = self.idle_share[name]
        text = f"at least {least:.1%} of all cores in every second (least during {name})"
        return Line("processor", "idle share", least, "", IDLE_SHARE, text, at_least=True)

    def _note(self, probe: str, samples: Samples) -> None:
        self.idle_share[probe] = min(samples.idle)


def _rates(
    probe: str, load: Load, ideal: float, samples: Samples, busy: tuple[float, float]
) -> Iterator[Line]:
    sent, received = samples.rate_mbps(load.link, load.flows[0][1], *busy)
    for name, rate in (("left the queue", sent), ("reached the host", received)):
        error = abs(rate / ideal - 1.0)
        text = f"{rate:.3f} Mbps of {ideal:g} over {busy[1] - busy[0]:.1f} s: {error:.2%} off"
        yield Line(probe, f"rate, {name}", error, "", MEAN_RATE_ERROR, text)


def _gaps(probe: str, packets: Packets, ideal: float) -> Iterator[Line]:
    ratios = packets.gap_ratios(ideal)
    name = "gaps within 10 %"
    if len(ratios) < _FEW:
        yield Line(probe, name, None, "", GAP_SHARE, f"only {len(ratios)} packets left the link")
        return
    share = float((np.abs(ratios - 1.0) <= GAP_ERROR).mean())
    fine = float((np.abs(ratios - 1.0) <= _FINE_GAP_ERROR).mean())
    low, high = np.quantile(ratios, [0.01, 0.99])
    text = f"{share:.2%} of {len(ratios)} gaps (98 % of them {low:.2f} to {high:.2f} of ideal)"
    yield Line(probe, name, share, "", GAP_SHARE, text, at_least=True)
    yield Line(probe, "gaps within 1 %", fine, "", None, f"{fine:.1%}", at_least=True)


def _loss(probe: str, rig: Rig, load: Load, samples: Samples) -> Line:
    host = load.flows[0][1]
    last = next(k.name for k in rig.network.shaped_links if k.target == host)
    sent = samples.sent[last][-1] - samples.sent[last][0]
    got = samples.received[host][-1] - samples.received[host][0]
    lost = max(0.0, 1.0 - got / sent) if sent else float("nan")
    text = f"{lost:.3%} of {sent / 1e6:.2f} MB between the last queue and the host"
    return Line(probe, "loss", lost, "", LOSS_SHARE, text)


def _ping_error(probe: str, name: str, measured: FloatArray, expected: FloatArray) -> Line:
    if len(measured) < _FEW:
        text = f"only {len(measured)} pings came back"
        return Line(probe, f"error, {name}", None, "s", PING_ERROR_S, text)
    error = np.abs(measured - expected)
    mean, high = float(error.mean()), float(np.quantile(error, 0.95))
    text = f"{mean * 1e3:.2f} ms in the mean, 95 % within {high * 1e3:.2f} ms, {len(error)} pings"
    return Line(probe, f"error, {name}", mean, "s", PING_ERROR_S, text)


def _wire_rate(packets: Packets, sent: dict[str, float]) -> float:
    mine = packets.between(sent["dispatched_s"], sent["arrived_s"])
    data = mine.bytes > _DATA_BYTES
    return Packets(mine.time_s[data], mine.bytes[data]).rate_mbps


def _whole_rate(mb: float, sent: dict[str, float]) -> float:
    wire_bytes = (mb * 1e6 + HEADER_BYTES) / PAYLOAD_PER_WIRE_BYTE
    return wire_bytes * 8e-6 / (sent["arrived_s"] - sent["dispatched_s"])

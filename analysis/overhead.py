"""Communication overhead: what deciding costs the network, distributed against centralised.

Bytes on the wire, Ethernet headers included, summed over the shaped links that it crosses.
What carries the tasks themselves (their data, results, TCP's acknowledgements) is needed by either
scheme and is no overhead. Counted from what a run recorded:

- distributed, as the lab's devices work: every ping and its reply, and for every task that reached
  another unit the frame with which that acknowledges it, from which the device learns the delay;
- centralised, for the very same slots and tasks: every slot, every unit sends Q_u and F_u, and
  units and switches the V_l of the links that they feed, to a coordinator; for every task its
  device sends s and o there and gets target and rate. The coordinator sits at the base station with
  the fewest links to cross. A message is a UDP datagram: the lab's frame header,
  ``model.wire_format``, and 8 bytes a number. No run sends these; they are computed.

Messages take the shortest paths of the undamaged network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow.compute as pc

from model.aliases import FloatArray
from model.network import Network, Node, build_network
from model.packet_sizes import PING_HEADERS_BYTES, TCP_HEADERS_BYTES, UDP_HEADERS_BYTES
from model.wire_format import HEADER_BYTES
from records.reader import Result

NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Overhead:
    """Bytes of one run by what they are for, and over what time.

    Attributes:
        devices: how many there are.
        duration_s: scenario s.
        pings, acknowledgements: of the distributed scheme.
        status, decisions: of the centralised one.
    """

    devices: int
    duration_s: float
    pings: float
    acknowledgements: float
    status: float
    decisions: float

    @property
    def distributed_kbps(self) -> float:
        """kbit/s, summed over links."""
        return self._kbps(self.pings + self.acknowledgements)

    @property
    def centralised_kbps(self) -> float:
        """kbit/s, summed over links."""
        return self._kbps(self.status + self.decisions)

    def _kbps(self, count: float) -> float:
        return 8e-3 * count / self.duration_s if self.duration_s > 0 else float("nan")


class _Ways:
    """Numbers of shaped links between nodes; devices of a cluster are all alike."""

    def __init__(self, network: Network):
        self._network = network
        self._found: dict[tuple[str, str], int] = {}

    def between(self, source: str, target: str) -> int:
        """Links from a unit to another unit, or to a switch."""
        nodes = self._network.nodes
        if nodes[source].kind == "core":
            source = "cloud"  # The two are joined by an ideal cable, and no path begins at a core.
        a, b = nodes[source], nodes[target]
        if a.kind == b.kind == "device" and a.cell == b.cell:
            return 2 if a is not b else 0
        key = self._place(a), self._place(b)
        if key not in self._found:
            path = self._network.path(source, target) if a is not b else ()
            self._found[key] = sum(link.spec is not None for link in path)
        return self._found[key]

    @staticmethod
    def _place(node: Node) -> str:
        return node.cluster if node.kind == "device" else node.name

    @cached_property
    def coordinator(self) -> str:
        """The base station with the fewest links to all units; the first of several."""
        stations = [n.name for n in self._network.of_kind("bs")]
        units = [n.name for n in self._network.units]
        return min(stations, key=lambda bs: sum(self.between(u, bs) for u in units))


def overhead(result: Result, duration_s: float) -> Overhead:
    """Count the signalling of a run that lasted so long, scenario s.

    Raises ``UserError`` if its tables cannot be read.
    """
    network = build_network(result.scenario)
    ways = _Ways(network)
    slots = duration_s / result.scenario.slot_s
    return Overhead(
        devices=len(network.devices),
        duration_s=duration_s,
        pings=_pings(result, ways),
        acknowledgements=_acknowledgements(result, ways),
        status=slots * _status_bytes(network, ways),
        decisions=_decisions(result, ways, duration_s),
    )


def _pings(result: Result, ways: _Ways) -> float:
    probes = result.table("probes", ("device", "target", "rtt_s"), packed=True)
    pairs = probes.group_by(["device", "target"]).aggregate([([], "count_all"), ("rtt_s", "count")])
    size = result.scenario.probes.ping_bytes + PING_HEADERS_BYTES
    crossed = sum(
        (row["count_all"] + row["rtt_s_count"]) * ways.between(row["device"], row["target"])
        for row in pairs.to_pylist()
    )
    return float(size * crossed)


def _acknowledgements(result: Result, ways: _Ways) -> float:
    tasks = result.table("tasks", ("device", "target", "target_kind", "arrived_s"), packed=True)
    remote = pc.and_kleene(
        pc.is_valid(tasks["arrived_s"]), pc.not_equal(tasks["target_kind"].cast("string"), "self")
    )
    pairs = tasks.filter(remote).group_by(["device", "target"]).aggregate([([], "count_all")])
    size = TCP_HEADERS_BYTES + HEADER_BYTES
    return float(
        size
        * sum(
            row["count_all"] * ways.between(row["device"], row["target"])
            for row in pairs.to_pylist()
        )
    )


def _message_bytes(numbers: int) -> int:
    return UDP_HEADERS_BYTES + HEADER_BYTES + NUMBER_BYTES * numbers


def _status_bytes(network: Network, ways: _Ways) -> float:
    """Of one slot: whoever holds queues reports them, a unit Q, F and the V of its own link."""
    numbers = {n.name: 2 for n in network.units} | {n.name: 0 for n in network.switches}
    for link in network.shaped_links:
        numbers[link.source] += 1
    return float(
        sum(
            ways.between(name, ways.coordinator) * _message_bytes(count)
            for name, count in numbers.items()
        )
    )


def _decisions(result: Result, ways: _Ways, duration_s: float) -> float:
    tasks = result.table("tasks", ("device", "born_s"), packed=True)
    born = tasks.filter(pc.less_equal(tasks["born_s"], duration_s))
    counts: Mapping[str, int] = {
        row["device"]: row["count_all"]
        for row in born.group_by("device").aggregate([([], "count_all")]).to_pylist()
    }
    crossed = sum(n * ways.between(device, ways.coordinator) for device, n in counts.items())
    return float(2 * _message_bytes(2) * crossed)


def growth(devices: FloatArray, kbps: FloatArray) -> tuple[float, float, float]:
    """Exponent b of kbps ~ devices^b by least squares in logarithms, with its 95 % interval.

    The interval is NaN for two points. Raises ``ValueError`` for fewer than two different numbers
    of devices.
    """
    from scipy import stats

    x, y = np.log(devices), np.log(kbps)
    if len(np.unique(x)) < 2:
        raise ValueError("growth needs at least two numbers of devices")
    fit = stats.linregress(x, y)
    if len(x) < 3:
        return float(fit.slope), float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(x) - 2) * fit.stderr)
    return float(fit.slope), float(fit.slope) - half, float(fit.slope) + half

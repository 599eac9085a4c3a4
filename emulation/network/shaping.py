"""Shaped queues: HTB for the rate, a byte-limited FIFO (or netem) as its leaf; read back.

The tree on an interface is ``1:`` HTB → class ``1:1`` at the rate → leaf ``10:``. Everything waits
in the leaf, so the leaf's backlog is the queue of the link. Mininet's way of bounding the queue
needs netem and, where the kernel has none, leaves the link unshaped; here a mismatch stops the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.tcmsg import plugins, sched_pfifo

from emulation.host.iproute import Batch
from model.errors import UserError
from model.packet_sizes import FRAME_BYTES
from model.rates import bytes_per_s

_CLASS, _LEAF = 0x00010001, 0x00100000
_BURST_BYTES = 1600
"""One full frame and a bit: HTB then spaces frames evenly.

Its default of 15 kB lets ten frames go at line rate, which a ping behind them would not see as
queueing.
"""


# pyroute2 knows pfifo but not bfifo, whose options have the same layout (struct tc_fifo_qopt).
# Without this it would not tell the limit.
plugins.setdefault("bfifo", sched_pfifo)


class ShapingError(UserError):
    """A link could not be shaped as asked, or the kernel's answer differs from what was asked."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a link's queue is to be.

    Attributes:
        rate_mbps: c_l, Mbps, counted with Ethernet headers.
        buffer_bytes: limit of the FIFO, bytes.
        delay_ms, loss_percent: propagation delay and random loss; non-zero needs netem.
    """

    rate_mbps: float
    buffer_bytes: int
    delay_ms: float = 0.0
    loss_percent: float = 0.0

    @property
    def rate_bytes_per_s(self) -> int:
        """The rate as HTB counts it."""
        return rate_bytes_per_s(self.rate_mbps)

    @property
    def needs_netem(self) -> bool:
        """Whether the leaf must be netem."""
        return self.delay_ms > 0 or self.loss_percent > 0

    @property
    def netem_packets(self) -> int:
        """Netem limits packets: those of the buffer and those on their way through the delay."""
        on_the_way = self.rate_bytes_per_s * self.delay_ms / 1e3
        return max(10, round((self.buffer_bytes + on_the_way) / FRAME_BYTES))


def shape(tc: Batch, interface: str, wanted: Shape) -> None:
    """Add to a batch what puts ``wanted`` on an interface that has no qdisc of its own yet."""
    tc.add(f"qdisc add dev {interface} root handle 1: htb default 1")
    tc.add(f"class add dev {interface} parent 1: classid 1:1 htb {_htb(wanted.rate_mbps)}")
    leaf = f"bfifo limit {wanted.buffer_bytes}"
    if wanted.needs_netem:
        leaf = f"netem limit {wanted.netem_packets} delay {wanted.delay_ms}ms"
        leaf += f" loss {wanted.loss_percent}%" if wanted.loss_percent else ""
    tc.add(f"qdisc add dev {interface} parent 1:1 handle 10: {leaf}")


def rate_bytes_per_s(rate_mbps: float) -> int:
    """Return a rate as HTB counts it, in whole bytes per second."""
    return round(bytes_per_s(rate_mbps))


def _htb(rate_mbps: float) -> str:
    # The kernel counts whole bytes: the same whole number is asked for and read back.
    bits = 8 * rate_bytes_per_s(rate_mbps)
    limits = f"burst {_BURST_BYTES} cburst {_BURST_BYTES} quantum {FRAME_BYTES}"
    return f"rate {bits}bit ceil {bits}bit {limits}"


def change_rate(tc: Batch, interface: str, rate_mbps: float) -> None:
    """Add to a batch what changes c_l of a shaped interface while packets flow."""
    tc.add(f"class change dev {interface} parent 1: classid 1:1 htb {_htb(rate_mbps)}")


def verify(netlink: IPRoute, wanted: dict[int, tuple[str, Shape]]) -> None:
    """Read every qdisc and class back; ``wanted`` maps interface index → (link name, shape).

    Raises ``ShapingError`` naming the first links that differ, with what was found.
    """
    rates: dict[int, tuple[int | None, int | None]] = {}
    for index in wanted:
        for message in netlink.get_classes(index=index):
            if message["handle"] == _CLASS:
                rates[index] = _class_rates(message)
    leaves: dict[int, tuple[str, int | None]] = {}
    for message in netlink.get_qdiscs():
        if message["index"] in wanted and message["handle"] == _LEAF:
            kind = message.get_attr("TCA_KIND")
            options = message.get_attr("TCA_OPTIONS")
            leaves[message["index"]] = (kind, _limit(kind, options))
    wrong = []
    for index, (name, shape_) in wanted.items():
        kind = "netem" if shape_.needs_netem else "bfifo"
        limit = shape_.netem_packets if shape_.needs_netem else shape_.buffer_bytes
        bytes_per_s = shape_.rate_bytes_per_s
        expected = ((bytes_per_s, bytes_per_s), (kind, limit))
        found = (rates.get(index), leaves.get(index))
        if found != expected:
            wrong.append(f"{name}: asked for {_words(*expected)}, the kernel has {_words(*found)}")
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise ShapingError("links are not shaped as asked: " + "; ".join(wrong[:3]) + more)


def _words(rates: tuple[int | None, int | None] | None, leaf: tuple[str, int | None] | None) -> str:
    """What a message says of a queue: rate, ceiling, kind and limit of its leaf."""
    rate, ceiling = rates or (None, None)
    shaped = "no rate" if rate is None else f"{rate} B/s (at most {ceiling} B/s)"
    if leaf is None:
        return f"{shaped} and no queue"
    kind, limit = leaf
    unit = "packets" if kind == "netem" else "bytes"
    return f"{shaped} and {kind} of {limit} {unit}"


def _class_rates(message: Any) -> tuple[int | None, int | None]:
    """Rate and ceiling of a class, bytes per second.

    The kernel's first form of them has 32 bits, which end at 34.36 Gbps; above it writes 2^32 - 1
    there, and the rate in an attribute of 64 bits.
    """
    options = message.get_attr("TCA_OPTIONS")
    parameters = options.get_attr("TCA_HTB_PARMS") if options is not None else None
    if parameters is None:
        return None, None
    wide = options.get_attr("TCA_HTB_RATE64"), options.get_attr("TCA_HTB_CEIL64")
    narrow = int(parameters["rate"]), int(parameters["ceil"])
    rate, ceiling = (int(w or n) for w, n in zip(wide, narrow, strict=True))
    return rate, ceiling


def _limit(kind: str, options: Any) -> int | None:
    try:
        return int(options["limit"]) % 2**32  # pyroute2 reads the kernel's 32 bits with a sign
    except (KeyError, TypeError):
        return None


def pass_on(tc: Batch, source: str, target: str) -> None:
    """Add to a batch what sends every packet that arrives at one interface out of another one.

    The packet is copied and the original dropped, rather than redirected, because a packet belongs
    to the socket that sent it for as long as it waits in a queue: TCP would keep a flow's bytes in
    its socket (TCP small queues), and all that Open vSwitch has in all queues together would have
    to fit into its one socket's buffer, 92 packets by default. The copy belongs to nobody, so what
    waits stands in the link's queue, up to the link's limit.
    """
    tc.add(f"qdisc add dev {source} ingress")
    everything = "protocol all prio 1 u32 match u32 0 0"
    action = f"action mirred egress mirror dev {target} drop"
    tc.add(f"filter add dev {source} parent ffff: {everything} {action}")

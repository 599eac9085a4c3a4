"""The operator's view of the queues: one look at all directed links of the fabric.

The bytes that wait on link ``a>b`` wait in the leaf qdisc of interface ``a-b``. A look is one dump
of all qdiscs and one of all interfaces over one netlink socket that stays open; the answers are
read with ``struct``, only what is needed of them. For the network of the paper (45 devices, 102
shaped links, 199 interfaces, 301 qdiscs; 2 cores) a look takes 1.2 ms, half of it the kernel's.
pyroute2, which decodes everything, took 9 ms for the qdiscs and 77 ms for the interfaces, all the
while holding the interpreter's lock against the threads that speak OpenFlow.

Sources: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/gen_stats.h.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from model.addressing import interface_name
from model.errors import RunError
from model.network import Network
from model.packet_sizes import FRAME_BYTES
from model.rates import bytes_per_s

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_TCMSG = struct.Struct("=BxxxiIII")  # family, ifindex, handle, parent, info
_IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_BASIC = struct.Struct("=QI")  # gnet_stats_basic: bytes, packets
_QUEUE = struct.Struct("=IIIII")  # gnet_stats_queue: qlen, backlog, drops, requeues, overlimits

_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_ERROR, _DONE = 2, 3
_GET_LINK, _GET_QDISC = 18, 38
_IFNAME, _EXT_MASK, _SKIP_STATS = 3, 29, struct.pack("=I", 1 << 3)
_LOWER_UP = 1 << 16  # the interface is up and has a carrier
_TCA_STATS2, _STATS_BASIC, _STATS_QUEUE = 7, 1, 3
_PARENT_INGRESS = 0xFFFFFFF1
_MAJOR = 0xFFFF0000
_BUFFER_BYTES = 1 << 16
_DUMP_ATTEMPTS = 5
_LOOK_ATTEMPTS = 3
_LONG_S = 2e-3
"""Reading the counters takes a fraction of this; where it takes longer, somebody else had the
processor (or the interpreter) meanwhile, and nobody knows on which side of that they were read."""

Place = tuple[bytes, int, int]
"""An answer: the buffer it is in, and where its payload begins and ends."""


class BacklogError(RunError):
    """The kernel's answer does not tell what was asked for."""


@dataclass(frozen=True, slots=True)
class LinkReading:
    """One directed link at one moment.

    Attributes:
        backlog_bytes: bytes waiting in the link's queue (V_l, measured).
        sent_bytes, sent_packets: totals that have left the queue.
        drops: packets that the queue has refused in total.
        up: whether the link has a carrier.
    """

    link: str
    backlog_bytes: int
    sent_bytes: int
    sent_packets: int
    drops: int
    up: bool


@dataclass(frozen=True, slots=True)
class QdiscRow:
    """What a dump says of one qdisc."""

    interface: int
    handle: int
    parent: int
    sent_bytes: int
    sent_packets: int
    backlog_bytes: int
    drops: int


def messages(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The netlink messages in ``data``: type, flags, where the payload begins and ends."""
    position = 0
    while position + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, position)
        if length < _HEADER.size:
            raise BacklogError(f"a netlink message of {length} bytes")
        yield kind, flags, position + _HEADER.size, position + length
        position += (length + 3) & ~3


def attributes(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The attributes between two places: type, where the value begins and ends."""
    while position + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, position)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, position + _ATTRIBUTE.size, position + length
        position += (length + 3) & ~3


def qdisc_row(data: bytes, position: int, end: int) -> QdiscRow:
    """Read the payload of one answer to RTM_GETQDISC."""
    _, interface, handle, parent, _ = _TCMSG.unpack_from(data, position)
    sent = packets = backlog = drops = 0
    for kind, begin, stop in attributes(data, position + _TCMSG.size, end):
        if kind != _TCA_STATS2:
            continue
        for inner, at, _ in attributes(data, begin, stop):
            if inner == _STATS_BASIC:
                sent, packets = _BASIC.unpack_from(data, at)
            elif inner == _STATS_QUEUE:
                _, backlog, drops, _, _ = _QUEUE.unpack_from(data, at)
        break
    return QdiscRow(interface, handle, parent, sent, packets, backlog, drops)


def leaves(rows: Iterable[QdiscRow], interfaces: Container[int]) -> dict[int, QdiscRow]:
    """Interface → the qdisc in which its packets wait: the one below which there is no other.

    HTB's root repeats its leaf's backlog, so the two must never be summed.
    Raises ``BacklogError`` if an interface has several leaves.
    """
    wanted = [r for r in rows if r.interface in interfaces]
    parents = {(r.interface, r.parent & _MAJOR) for r in wanted}
    found: dict[int, QdiscRow] = {}
    for row in wanted:
        is_leaf = (row.interface, row.handle & _MAJOR) not in parents or not row.handle
        if row.parent == _PARENT_INGRESS or not is_leaf:
            continue
        if row.interface in found:
            raise BacklogError(f"interface {row.interface} has more than one leaf qdisc")
        found[row.interface] = row
    return found


class LinkSampler:
    """Reads the queues of all shaped links of a network, in ``Network.shaped_links`` order.

    Opened in the network namespace of the calling thread, the fabric's. The socket is plain and
    native: the reading thread is too, whatever the OpenFlow library does in its own.
    Raises ``BacklogError`` if an interface is missing.

    Attributes:
        read_s: when the last look's counters were read, from and to, CLOCK_MONOTONIC, s.
    """

    def __init__(self, network: Network):
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, 0))
        self._socket.settimeout(5.0)
        self._sequence = 0
        self.read_s = 0.0, 0.0
        wanted = {interface_name(k.source, k.target): k.name for k in network.shaped_links}
        index = self._interface_names()
        missing = sorted(set(wanted) - set(index))
        if missing:
            raise BacklogError(f"there is no interface {', '.join(missing[:5])}")
        self._links = [(index[interface], name) for interface, name in wanted.items()]
        self._indices = {number for number, _ in self._links}

    def _dump(self, kind: int, payload: bytes) -> list[Place]:
        """Ask for all objects of a kind.

        A dump during which something changed may be incomplete; the kernel marks it, and it is
        asked for again.
        """
        for _ in range(_DUMP_ATTEMPTS):
            self._sequence += 1
            length = _HEADER.size + len(payload)
            header = _HEADER.pack(length, kind, _REQUEST_DUMP, self._sequence, 0)
            self._socket.send(header + payload)
            places = self._answers()
            if places is not None:
                return places
        raise BacklogError(f"netlink: {_DUMP_ATTEMPTS} dumps in a row were interrupted")

    def _answers(self) -> list[Place] | None:
        places: list[Place] = []
        interrupted = False
        while True:
            data = self._socket.recv(_BUFFER_BYTES)
            for answer, flags, position, end in messages(data):
                interrupted |= bool(flags & _INTERRUPTED)
                if answer == _DONE:
                    return None if interrupted else places
                if answer == _ERROR:
                    code = struct.unpack_from("=i", data, position)[0]
                    raise BacklogError(f"netlink refuses the dump: error {-code}")
                places.append((data, position, end))

    def _dump_links(self) -> list[Place]:
        mask = _ATTRIBUTE.pack(8, _EXT_MASK) + _SKIP_STATS
        return self._dump(_GET_LINK, _IFINFO.pack(0, 0, 0, 0, 0) + mask)

    def _interface_names(self) -> dict[str, int]:
        names = {}
        for data, position, end in self._dump_links():
            index = _IFINFO.unpack_from(data, position)[2]
            for kind, begin, stop in attributes(data, position + _IFINFO.size, end):
                if kind == _IFNAME:
                    names[data[begin : stop - 1].decode()] = index
        return names

    def sample(self) -> list[LinkReading]:
        """Read all links. Raises ``BacklogError`` if one has lost its queue."""
        payload = _TCMSG.pack(0, 0, 0, 0, 0)
        begin = time.monotonic()
        places = self._dump(_GET_QDISC, payload)
        self.read_s = begin, time.monotonic()
        found = leaves((qdisc_row(*place) for place in places), self._indices)
        carrier = {}
        for data, position, _ in self._dump_links():
            _, _, index, flags, _ = _IFINFO.unpack_from(data, position)
            carrier[index] = bool(flags & _LOWER_UP)
        readings = []
        for index, name in self._links:
            row = found.get(index)
            if row is None:
                raise BacklogError(f"link {name} has no queue any more")
            readings.append(
                LinkReading(
                    name,
                    row.backlog_bytes,
                    row.sent_bytes,
                    row.sent_packets,
                    row.drops,
                    carrier.get(index, False),
                )
            )
        return readings

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class VirtualBacklog:
    """V_l of eq. (2) for every link: V ← max(0, V + offered − c_l Δt), in bytes.

    What was offered to a link in a slot is what it sent, what it refused, and what its backlog has
    grown by. The kernel counts refused packets only: each is taken to be as large as the link's
    average packet in the slot.
    """

    def __init__(self, network: Network):
        self._rates = {
            k.name: bytes_per_s(k.spec.rate_mbps)
            for k in network.shaped_links
            if k.spec is not None
        }
        self._values = dict.fromkeys(self._rates, 0.0)
        self._served = dict.fromkeys(self._rates, 0.0)
        self._since = dict.fromkeys(self._rates, 0.0)
        self._before: list[LinkReading] | None = None

    def set_rate(self, link: str, rate_mbps: float, at: float) -> None:
        """From ``at`` on (CLOCK_MONOTONIC, s) the capacity c_l is another, mid-slot or not.

        Raises ``KeyError`` if there is no such shaped link.
        """
        if link not in self._rates:
            raise KeyError(f"there is no shaped link '{link}'")
        if self._before is not None:
            self._served[link] += self._rates[link] * (at - self._since[link])
            self._since[link] = at
        self._rates[link] = bytes_per_s(rate_mbps)

    def update(self, sampled_at: float, readings: list[LinkReading]) -> list[float]:
        """Take one slot into account; returns V of each link, in the order of ``readings``.

        The first call only sets the beginning: what waits then is V.
        """
        for k, now in enumerate(readings):
            link = now.link
            if self._before is None:
                self._values[link] = float(now.backlog_bytes)
            else:
                served = self._served[link] + self._rates[link] * (sampled_at - self._since[link])
                offered = offered_bytes(self._before[k], now)
                self._values[link] = max(0.0, self._values[link] + offered - served)
            self._served[link], self._since[link] = 0.0, sampled_at
        self._before = readings
        return [self._values[r.link] for r in readings]


def offered_bytes(old: LinkReading, now: LinkReading) -> float:
    """Bytes offered to a link between two readings."""
    sent, packets = now.sent_bytes - old.sent_bytes, now.sent_packets - old.sent_packets
    mean = sent / packets if packets else FRAME_BYTES
    dropped = (now.drops - old.drops) * mean
    return max(0.0, sent + dropped + now.backlog_bytes - old.backlog_bytes)


def timed_sample(sampler: LinkSampler) -> tuple[float, list[LinkReading]]:
    """A look at all links and when it was taken: the middle of it, CLOCK_MONOTONIC, s.

    A look that was interrupted is taken again; of three the shortest counts.
    """
    best, shortest = (0.0, list[LinkReading]()), math.inf
    for _ in range(_LOOK_ATTEMPTS):
        readings = sampler.sample()
        begin, end = sampler.read_s
        if end - begin < shortest:
            best, shortest = ((begin + end) / 2, readings), end - begin
        if shortest < _LONG_S:
            break
    return best

"""Takes everything in front of the transport header off all packets of a capture at once.

Covers VLAN tags (also stacked), MPLS, PPPoE, LLC/SNAP, IPv4 with options, IPv6 with extension
headers, fragments, segmentation offload (an IP length of 0), and what lies in IP-in-IP, GRE, VXLAN
and Geneve tunnels. What is not covered gets a status other than ``DECODED``, never a guess.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

from analysis.pcap.capture import (
    BSD_LOOPBACK,
    ETHERNET,
    LINK_HEADER_BYTES,
    LINUX_SLL,
    LINUX_SLL2,
    PPP,
    Capture,
    Numbers,
)
from model.aliases import BoolArray, IntArray

IPV4, IPV6 = 0x0800, 0x86DD
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100, 0x9200)
_MPLS, _PPPOE, _BRIDGED = (0x8847, 0x8848), 0x8864, 0x6558
_PPP_KINDS = ((0x0021, IPV4), (0x0057, IPV6), (0x0281, 0x8847))
_ARP, _NO_KIND = 0x0806, 0xFFFF
_FIRST_ETHERTYPE = 0x0600
"""A lower number is a length, and an LLC header follows."""
_IP_IN_IP, _IPV6_IN_IP, _GRE, _UDP = 4, 41, 47, 17
_VXLAN_PORTS, _GENEVE_PORT = (4789, 8472), 6081
_EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)
_FRAGMENT, _AUTHENTICATION = 44, 51
_MOST_SHIMS, _MOST_TUNNELS = 16, 4
VLAN_BASE = 4097
"""Stacked VLAN numbers are digits of one number to this base, each plus 1; 0: no tag."""

Rows = NDArray[np.int64] | slice


class Status(IntEnum):
    """How far a packet was understood."""

    DECODED = 0
    NOT_IP = 1
    CUT = 2
    LATER_FRAGMENT = 3
    MALFORMED = 4
    ENCAPSULATED = 5
    LINK_TYPE = 6


class Remark(IntFlag):
    """What else there is to say of a packet; any number of these."""

    NO_LENGTH = 1
    TUNNELLED = 2
    TUNNEL_NOT_DECODED = 4
    FIRST_FRAGMENT = 8
    TRANSPORT_CUT = 16
    OPTIONS_CUT = 32
    TASK_HEADER_CUT = 64
    TASK_HEADER_UNKNOWN = 128


class Layers:
    """The network layer of each packet, innermost if there are several.

    Attributes (arrays, one value a packet):
        status: a ``Status``, uint8. remark: ``Remark``s, uint8.
        kind: EtherType of what the layers below led to, int64.
        protocol: IP's number of the transport, uint8; 0 where ``status`` is not ``DECODED``.
        transport: position of the transport header. end: of the captured bytes. length_end: of the
            packet, as its IP header counts.
        source, target: addresses as uint64; IPv6 ones by a hash, see ``addresses``; 0: none.
        ip_id: identification, uint16. vlan: VLAN numbers, see ``VLAN_BASE``, uint64.
        tunnel: what tells the tunnels around a packet apart, uint64; 0: none.
        addresses: the 128 bits of each IPv6 address, by its hash.
    """

    def __init__(self, capture: Capture, read: Numbers):
        count, self._read = len(capture), read
        fcs = np.array([i.fcs_bytes for i in capture.interfaces] or [0], np.int64)
        lengths = np.maximum(capture.lengths - fcs[capture.interface], 0)
        self.wire_end = capture.starts + lengths
        self.end = capture.starts + np.minimum(capture.captured, lengths)
        self.status = np.zeros(count, np.uint8)
        self.remark = np.zeros(count, np.uint8)
        self.protocol = np.zeros(count, np.uint8)
        self.transport = capture.starts.copy()
        self.length_end = self.wire_end.copy()
        self.source, self.target = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
        self.ip_id = np.zeros(count, np.uint16)
        self.vlan, self.tunnel = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
        self.addresses: dict[int, int] = {}
        self.kind, self._at = np.zeros(count, np.int64), capture.starts.copy()
        self.link_bytes = np.zeros(count, np.int64)
        for interface in {i.link_type for i in capture.interfaces}:
            rows: Rows = slice(None)
            if len(capture.interfaces) > 1:
                rows = np.flatnonzero(capture.link_types == interface)
            self._link_layer(interface, rows)
        self._decode(slice(None), 0)

    def _link_layer(self, link_type: int, rows: Rows) -> None:
        """Step behind the link header and find what it announces."""
        read, start, end = self._read, self._at[rows], self.end[rows]
        if link_type not in LINK_HEADER_BYTES:
            self.status[rows] = Status.LINK_TYPE
            return
        size = LINK_HEADER_BYTES[link_type]
        self.link_bytes[rows] = size
        at = start + size
        if link_type in (ETHERNET, LINUX_SLL, LINUX_SLL2):
            offset = {ETHERNET: 12, LINUX_SLL: 14, LINUX_SLL2: 0}[link_type]
            kind = read.u16(start + offset).astype(np.int64)
        elif link_type in (BSD_LOOPBACK, 108):
            family = read.u32(start)
            family = np.minimum(family, family.byteswap())
            kind = np.select(
                [family == 2, np.isin(family, (10, 24, 28, 30))], [IPV4, IPV6], _NO_KIND
            )
        elif link_type in (PPP, 50):
            framed = read.u16(start) == 0xFF03
            at = start + np.where(framed, 4, 2)
            kind = _ppp_kind(read.u16(at - 2))
        else:
            version = read.u8(start) >> 4
            kind = np.select([version == 4, version == 6], [IPV4, IPV6], _NO_KIND)
            at, size = start, 1
        self.kind[rows], self._at[rows] = kind, at
        if (cut := start + size > end).any():
            self.status[_picked(rows, cut)] = Status.CUT

    def _decode(self, rows: Rows, depth: int) -> None:
        """Read the IP headers of some packets, and those in the tunnels that they are."""
        self._take_shims_off(rows)
        kind, good = self.kind[rows], self.status[rows] == 0
        four = good & (kind == IPV4)
        if four.all():
            self._ipv4(rows)
        else:
            six = good & (kind == IPV6)
            self._ipv4(_picked(rows, four))
            self._ipv6(_picked(rows, six))
            self.status[_picked(rows, good & ~four & ~six)] = Status.NOT_IP
        self.protocol[_picked(rows, self.status[rows] != 0)] = 0
        if depth < _MOST_TUNNELS:
            self._tunnels(rows, depth)

    def _take_shims_off(self, rows: Rows) -> None:
        for _ in range(_MOST_SHIMS):
            kind, good = self.kind[rows], self.status[rows] == 0
            rare = good & (kind != IPV4) & (kind != IPV6) & (kind != _ARP)
            if not rare.any():
                return
            rows, kind = _picked(rows, rare), kind[rare]
            at = self._at[rows]
            for mask, step in (
                (np.isin(kind, _VLAN_TAGS), self._vlan),
                (np.isin(kind, _MPLS), self._mpls),
                (kind == _PPPOE, self._pppoe),
                (kind == _BRIDGED, self._ethernet),
                (kind < _FIRST_ETHERTYPE, self._llc),
            ):
                if mask.any():
                    step(rows[mask], at[mask])
            rows = rows[(self.kind[rows] != kind) | (self._at[rows] != at)]
        self.status[rows] = Status.ENCAPSULATED

    def _step(self, rows: IntArray, at: IntArray, kind: IntArray, needed: IntArray) -> None:
        """Go on at ``at`` with another kind, where the bytes up to ``needed`` were captured."""
        cut = needed > self.end[rows]
        self.status[rows[cut]] = Status.CUT
        self.kind[rows], self._at[rows] = kind, at

    def _vlan(self, rows: IntArray, at: IntArray) -> None:
        number = self._read.u16(at).astype(np.uint64) & np.uint64(0x0FFF)
        # Number 0 is a priority and no VLAN; more than five tags do not fit, and count as layers.
        before, base = self.vlan[rows], np.uint64(VLAN_BASE)
        tagged = (number > 0) & (before < base**4)
        self.vlan[rows] = np.where(tagged, before * base + number + np.uint64(1), before)
        self._step(rows, at + 4, self._read.u16(at + 2).astype(np.int64), at + 4)

    def _mpls(self, rows: IntArray, at: IntArray) -> None:
        bottom = (self._read.u8(at + 2) & 1) == 1
        version = self._read.u8(at + 4) >> 4
        inside = np.select([version == 4, version == 6], [IPV4, IPV6], -1)
        kind = np.where(bottom, inside, self.kind[rows])
        self._step(rows, at + 4, kind, at + np.where(bottom, 5, 4))
        strange = rows[bottom & (inside == -1) & (self.status[rows] == 0)]
        self.status[strange] = Status.ENCAPSULATED

    def _pppoe(self, rows: IntArray, at: IntArray) -> None:
        self._step(rows, at + 8, _ppp_kind(self._read.u16(at + 6)), at + 8)

    def _ethernet(self, rows: IntArray, at: IntArray) -> None:
        self._step(rows, at + 14, self._read.u16(at + 12).astype(np.int64), at + 14)

    def _llc(self, rows: IntArray, at: IntArray) -> None:
        snap = (self._read.u16(at) == 0xAAAA) & (self._read.u8(at + 2) == 3)
        rows, at = rows[snap], at[snap]
        self._step(rows, at + 8, self._read.u16(at + 6).astype(np.int64), at + 8)

    def _ipv4(self, rows: Rows) -> None:
        read, at, end = self._read, self._at[rows], self.end[rows]
        version = read.u8(at)
        header = (version & 0x0F).astype(np.int64) * 4
        length = read.u16(at + 2).astype(np.int64)
        fragment = read.u16(at + 6)
        whole = at + 20 <= end
        good = (version >> 4 == 4) & (header >= 20) & ((length >= header) | (length == 0))
        status = np.select(
            [~whole, ~good, fragment & 0x1FFF != 0, at + header > end],
            [Status.CUT, Status.MALFORMED, Status.LATER_FRAGMENT, Status.CUT],
            Status.DECODED,
        )
        readable = whole & good
        self.status[rows] = status
        self.protocol[rows] = np.where(status == 0, read.u8(at + 9), 0)
        self.source[rows] = np.where(readable, read.u32(at + 12), 0)
        self.target[rows] = np.where(readable, read.u32(at + 16), 0)
        self.ip_id[rows] = np.where(readable, read.u16(at + 4), 0)
        self.transport[rows] = at + header
        unknown = readable & (length == 0)
        self.length_end[rows] = np.where(unknown, self.wire_end[rows], at + length)
        self._remark(rows, unknown, Remark.NO_LENGTH)
        self._remark(rows, (status == 0) & (fragment & 0x2000 != 0), Remark.FIRST_FRAGMENT)

    def _remark(self, rows: Rows, mask: BoolArray, remark: Remark) -> None:
        if mask.any():
            self.remark[_picked(rows, mask)] |= np.uint8(remark)

    def _ipv6(self, rows: IntArray) -> None:
        if not len(rows):
            return
        read, at, end = self._read, self._at[rows], self.end[rows]
        whole, six = at + 40 <= end, read.u8(at) >> 4 == 6
        self.status[rows] = np.select([~whole, ~six], [Status.CUT, Status.MALFORMED], 0)
        length = read.u16(at + 4).astype(np.int64)
        self.length_end[rows] = np.where(length == 0, self.wire_end[rows], at + 40 + length)
        self.protocol[rows], self.transport[rows] = read.u8(at + 6), at + 40
        readable = whole & six
        self._remark(rows, readable & (length == 0) & (read.u8(at + 6) != 59), Remark.NO_LENGTH)
        rows, at = rows[readable], at[readable]
        self.source[rows], self.target[rows] = self._hashed(at + 8), self._hashed(at + 24)
        self.ip_id[rows] = 0
        self._extensions(rows)

    def _hashed(self, at: IntArray) -> NDArray[np.uint64]:
        """IPv6 addresses as numbers of 64 bits that no IPv4 address has."""
        high, low = self._read.u64(at), self._read.u64(at + 8)
        mixed = high * np.uint64(0x9E3779B97F4A7C15) ^ (high >> np.uint64(29))
        mixed = (mixed + low) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = (mixed ^ (mixed >> np.uint64(31))) | np.uint64(1 << 63)
        for code, row in zip(*np.unique(mixed, return_index=True), strict=True):
            self.addresses[int(code)] = int(high[row]) << 64 | int(low[row])
        return np.asarray(mixed, np.uint64)

    def _extensions(self, rows: IntArray) -> None:
        """Step over the extension headers of IPv6."""
        read = self._read
        for _ in range(_MOST_SHIMS):
            rows = rows[np.isin(self.protocol[rows], _EXTENSIONS)]
            if not len(rows):
                return
            kind, at = self.protocol[rows], self.transport[rows]
            cut = at + 8 > self.end[rows]
            units = read.u8(at + 1).astype(np.int64)
            size = np.select(
                [kind == _FRAGMENT, kind == _AUTHENTICATION], [8, (units + 2) * 4], (units + 1) * 8
            )
            fragment = np.where((kind == _FRAGMENT) & ~cut, read.u16(at + 2), 0)
            later = fragment & 0xFFF8 != 0
            self.status[rows] = np.select([cut, later], [Status.CUT, Status.LATER_FRAGMENT], 0)
            self._remark(rows, ~later & (fragment & 1 != 0), Remark.FIRST_FRAGMENT)
            self.protocol[rows], self.transport[rows] = read.u8(at), at + size
            rows = rows[~cut & ~later]
        self.status[rows] = Status.ENCAPSULATED

    def _tunnels(self, rows: Rows, depth: int) -> None:
        """Read what is in tunnels; where that fails, the packet stays the tunnel's own."""
        protocol = self.protocol[rows]
        chosen = np.isin(protocol, (_IP_IN_IP, _IPV6_IN_IP, _GRE))
        if (udp := protocol == _UDP).any():
            at = self.transport[rows]
            port = self._read.u16(at + 2)
            udp &= at + 4 <= self.end[rows]
            chosen |= udp & np.isin(port, (*_VXLAN_PORTS, _GENEVE_PORT))
        if not chosen.any():
            return
        inner = _picked(rows, chosen)
        names = ("protocol", "transport", "length_end", "source", "target", "ip_id", "vlan",
                 "tunnel", "kind")  # fmt: skip
        outer = {name: getattr(self, name)[inner].copy() for name in names}
        self._open_tunnels(inner, outer["protocol"], outer["transport"])
        self._decode(inner, depth + 1)
        failed = ~np.isin(self.status[inner], (Status.DECODED, Status.LATER_FRAGMENT))
        self._remark(inner, ~failed, Remark.TUNNELLED)
        self._remark(inner, failed, Remark.TUNNEL_NOT_DECODED)
        for name, values in outer.items():
            getattr(self, name)[inner[failed]] = values[failed]
        self.status[inner[failed]] = Status.DECODED

    def _open_tunnels(self, rows: IntArray, protocol: NDArray[np.uint8], at: IntArray) -> None:
        read = self._read
        gre, udp = protocol == _GRE, protocol == _UDP
        geneve = udp & (read.u16(at + 2) == _GENEVE_PORT)
        flags, options = read.u16(at), (read.u8(at + 8) & 0x3F).astype(np.int64) * 4
        fields = sum(((flags & bit) != 0).astype(np.int64) * 4 for bit in (0x8000, 0x2000, 0x1000))
        size = np.select([gre, geneve, udp], [4 + fields, 16 + options, 16], 0)
        kind = np.where(protocol == _IP_IN_IP, IPV4, IPV6)
        for mask, found in ((gre, read.u16(at + 2)), (udp, _BRIDGED), (geneve, read.u16(at + 10))):
            kind = np.where(mask, found, kind).astype(np.int64)
        # GRE with source routes or of version 1, and VXLAN without a network's number, are others.
        strange = (gre & (flags & 0x4007 != 0)) | (udp & ~geneve & (read.u8(at + 8) & 0x08 == 0))
        number = np.where(udp, read.u32(at + 12) >> 8, 0).astype(np.uint64)
        here = (number << np.uint64(8)) + protocol
        self.tunnel[rows] = self.tunnel[rows] * np.uint64(0x9E3779B97F4A7C15) + here
        self._step(rows, at + size, kind, at + size)
        self.status[rows[strange]] = Status.ENCAPSULATED


def _picked(rows: Rows, mask: BoolArray) -> IntArray:
    """The rows for which a mask is true."""
    found = np.flatnonzero(mask)
    return found if isinstance(rows, slice) else rows[found]


def _ppp_kind(protocol: NDArray[np.uint16]) -> IntArray:
    numbers, kinds = zip(*_PPP_KINDS, strict=True)
    return np.select([protocol == n for n in numbers], kinds, _NO_KIND)

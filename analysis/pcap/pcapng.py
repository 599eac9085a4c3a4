"""Reads pcapng files: sections of either byte order, any number of interfaces, whole nanoseconds.

The lab has a reader of its own because those of the libraries lose what it needs: dpkt knows one
interface, its own length of a packet and time as a float; scapy carries interfaces over into the
next section, knows no time offset and reads 95 000 packets/s; python-pcapng is right and reads
14 000 packets/s. Here a block costs one ``unpack_from``; the tests hold tshark against the result.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.pcap.capture import MAX_RECORD_BYTES, Capture, Interface, Numbers
from analysis.pcap.source import name_of
from model.aliases import BoolArray, IntArray
from model.errors import UserError

_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 2, 3, 5, 6
_PACKETS = (_PACKET, _SIMPLE, _OLD_PACKET)
_ORDERS = {0x1A2B3C4D: "<", 0x4D3C2B1A: ">"}
"""The section header's magic number, read as little-endian, → byte order."""
_LATEST_S = 2**63 // 10**9 - 1
"""The last second, since 1970, of which an int64 holds the nanoseconds."""


@dataclass(frozen=True, slots=True)
class _Clock:
    """How an interface counts time: in 1 / (``base`` ^ ``exponent``) s, from ``offset_s`` on."""

    base: int = 10
    exponent: int = 6
    offset_s: int = 0

    def nanoseconds(self, ticks: NDArray[np.uint64]) -> tuple[IntArray, BoolArray]:
        """Time stamps in ns since 1970, and which of them an int64 can hold."""
        a_second = self.base**self.exponent
        if a_second >= 2**64:  # a tick is so short that 64 bits of them are no second
            exact = [int(t) * 10**9 // a_second for t in ticks]
            seconds, rest_ns = np.zeros(len(ticks), np.uint64), np.array(exact, np.int64)
        else:
            seconds = ticks // np.uint64(a_second)
            rest_ns = _scaled(ticks % np.uint64(a_second), a_second)
        low, high = max(-self.offset_s, 0), _LATEST_S - self.offset_s
        if high < 0 or low >= 2**63:
            return np.zeros(len(ticks), np.int64), np.zeros(len(ticks), bool)
        timed = (seconds >= np.uint64(low)) & (seconds <= np.uint64(min(high, 2**63)))
        whole = np.where(timed, seconds, np.uint64(low)).astype(np.int64) + self.offset_s
        return np.where(timed, whole * 10**9 + rest_ns, 0), timed


def _scaled(rest: NDArray[np.uint64], a_second: int) -> IntArray:
    """Fractions of a second, counted in 1 / ``a_second`` s, in ns, rounded down."""
    if 10**9 % a_second == 0:
        return rest.astype(np.int64) * (10**9 // a_second)
    if a_second % 10**9 == 0:
        return (rest // np.uint64(a_second // 10**9)).astype(np.int64)
    if a_second <= 2**34:  # the product stays below 2^64
        return (rest * np.uint64(10**9) // np.uint64(a_second)).astype(np.int64)
    return np.array([int(r) * 10**9 // a_second for r in rest], np.int64)


@dataclass
class _Section:
    """What stands between two section headers: its packets' blocks, its range of interfaces."""

    order: str
    first_interface: int
    end_interface: int = 0
    blocks: list[int] = field(default_factory=list)


class _Walk:
    """One walk through the blocks of a file."""

    def __init__(self, path: Path, data: NDArray[np.uint8], size: int):
        self.name, self._view, self._size = name_of(path), data.data, size
        self.sections: list[_Section] = []
        self.interfaces: list[Interface] = []
        self.clocks: list[_Clock] = []
        self.snaplens: list[int] = []
        self.dropped: dict[int, int] = {}
        self.note = ""
        self._run()

    def _run(self) -> None:
        position, size, view = 0, self._size, self._view
        head = struct.Struct("<II").unpack_from
        none_yet: list[int] = []
        append = none_yet.append
        while position + 12 <= size:
            kind, length = head(view, position)
            if kind == _SECTION:
                order = self._begin_section(position)
                head, append = struct.Struct(f"{order}II").unpack_from, self._blocks.append
                kind, length = head(view, position)
            if length < 12 or length > size - position:
                break
            if kind in _PACKETS:
                append(position)
            elif kind == _INTERFACE:
                self._interface(position, length)
            elif kind == _STATISTICS:
                self._statistics(position, length)
            position += length + -length % 4
        if position < size:
            count = sum(len(s.blocks) for s in self.sections)
            self.note = (
                f"{self.name}: the block at byte {position}, behind packet {count}, is truncated "
                f"or damaged; the last {size - position} bytes were left out"
            )

    @property
    def _blocks(self) -> list[int]:
        return self.sections[-1].blocks

    def _begin_section(self, position: int) -> str:
        (magic,) = struct.unpack_from("<I", self._view, position + 8)
        if magic not in _ORDERS:
            raise UserError(f"{self.name}: is damaged: the pcapng section at byte {position} has "
                            "no byte order")  # fmt: skip
        self.sections.append(_Section(_ORDERS[magic], len(self.interfaces)))
        return _ORDERS[magic]

    def _options(self, position: int, end: int) -> dict[int, bytes]:
        """The options of a block, by code; of several with one code the first."""
        found: dict[int, bytes] = {}
        while position + 4 <= end:
            code, length = struct.unpack_from(f"{self.sections[-1].order}HH", self._view, position)
            if code == 0 or position + 4 + length > end:
                break
            found.setdefault(code, bytes(self._view[position + 4 : position + 4 + length]))
            position += 4 + length + -length % 4
        return found

    def _interface(self, position: int, length: int) -> None:
        order = self.sections[-1].order
        if length < 20:
            raise UserError(f"{self.name}: is damaged: the interface at byte {position} is cut")
        link_type, snaplen = struct.unpack_from(f"{order}HxxI", self._view, position + 8)
        options = self._options(position + 16, position + length - 4)
        (resolution,) = options.get(9, b"\x06")[:1] or b"\x06"
        offset = options.get(14, b"")
        fcs = options.get(13, b"\0")[:1] or b"\0"
        name = options.get(2, b"").split(b"\0")[0].decode(errors="replace")
        name = "".join(c if c.isprintable() else "?" for c in name)[:40]
        self.interfaces.append(Interface(link_type, name, fcs[0]))
        self.snaplens.append(snaplen or MAX_RECORD_BYTES)
        self.sections[-1].end_interface = len(self.interfaces)
        self.clocks.append(
            _Clock(
                base=2 if resolution & 0x80 else 10,
                exponent=resolution & 0x7F,
                offset_s=struct.unpack(f"{order}q", offset)[0] if len(offset) == 8 else 0,
            )
        )

    def _statistics(self, position: int, length: int) -> None:
        """What the capturing program lost of an interface; its last word counts."""
        section = self.sections[-1]
        if length < 24:
            return
        (number,) = struct.unpack_from(f"{section.order}I", self._view, position + 8)
        options = self._options(position + 20, position + length - 4)
        lost = [
            struct.unpack(f"{section.order}Q", value)[0]
            for code in (5, 7)
            if len(value := options.get(code, b"")) == 8
        ]
        if lost and section.first_interface + number < len(self.interfaces):
            self.dropped[section.first_interface + number] = sum(lost)


def read_pcapng(path: Path, data: NDArray[np.uint8], size: int) -> Capture:
    """The packets of a pcapng file of ``size`` bytes.

    Raises ``UserError`` where the header of a section or of an interface is damaged.
    """
    if size < 28:
        raise UserError(f"{name_of(path)}: is truncated within the pcapng section header")
    walk = _Walk(path, data, size)
    full = [s for s in walk.sections if s.blocks]
    parts = [_packets_of(walk, data, section) for section in full or walk.sections[:1]]
    blocks, interface, start, captured, length, ticks, stamped = (
        np.concatenate([p[k] for p in parts]) for k in range(7)
    )
    time_ns, timed = np.zeros(len(start), np.int64), np.zeros(len(start), bool)
    for number in np.unique(interface):
        rows = (interface == number) & stamped
        time_ns[rows], timed[rows] = walk.clocks[number].nanoseconds(ticks[rows])
    notes = [walk.note] if walk.note else []
    found = sum(len(s.blocks) for s in walk.sections)
    if len(blocks) < found:
        notes.append(f"{walk.name}: {found - len(blocks)} of {found} packets: the block names an "
                     "unknown interface or a length beyond its end; left out")  # fmt: skip
    for number, lost in walk.dropped.items():
        if lost:
            which = walk.interfaces[number].name or f"number {number}"
            notes.append(f"{walk.name}: {lost} packets are missing, the capture of interface "
                         f"{which} dropped them")  # fmt: skip
    return Capture(
        path=path,
        interfaces=tuple(walk.interfaces),
        data=data,
        starts=start,
        captured=captured,
        lengths=length,
        time_ns=time_ns,
        timed=timed,
        interface=interface,
        notes=notes,
    )


def _packets_of(
    walk: _Walk, data: NDArray[np.uint8], section: _Section
) -> list[NDArray[np.generic]]:
    """Columns of a section's packets: block, interface, start, captured, length, ticks, stamped."""
    end = section.end_interface
    read, at = Numbers(data, section.order), np.array(section.blocks, np.int64)
    kind, size = read.u32(at), read.u32(at + 4).astype(np.int64)
    simple = kind == _SIMPLE
    named = np.where(kind == _OLD_PACKET, read.u16(at + 8), read.u32(at + 8)).astype(np.int64)
    interface = section.first_interface + np.where(simple, 0, named)
    snaplen = walk.snaplens[section.first_interface] if section.first_interface < end else 0
    original = read.u32(at + 8).astype(np.int64)
    whole = np.minimum(np.minimum(original, snaplen), np.maximum(size - 16, 0))
    captured = np.where(simple, whole, read.u32(at + 20).astype(np.int64))
    start = at + np.where(simple, 12, 28)
    valid = (interface < end) & (start + captured <= at + size - 4)
    valid &= captured <= MAX_RECORD_BYTES
    ticks = (read.u32(at + 12).astype(np.uint64) << np.uint64(32)) | read.u32(at + 16)
    length = np.where(simple, original, read.u32(at + 24).astype(np.int64))
    return [c[valid] for c in (at, interface, start, captured, length, ticks, ~simple)]

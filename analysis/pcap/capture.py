"""The records of one capture file as columns, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.aliases import BoolArray, IntArray

BSD_LOOPBACK, ETHERNET, PPP, RAW_IP, LINUX_SLL, LINUX_SLL2 = 0, 1, 9, 101, 113, 276
LINK_HEADER_BYTES = {
    BSD_LOOPBACK: 4,
    ETHERNET: 14,
    PPP: 2,
    12: 0,
    14: 0,
    50: 4,
    RAW_IP: 0,
    108: 4,
    LINUX_SLL: 16,
    228: 0,
    229: 0,
    LINUX_SLL2: 20,
}
"""Link type (tcpdump.org/linktypes.html) → bytes in front of the network layer's header."""
LINK_NAMES = {
    BSD_LOOPBACK: "NULL", ETHERNET: "Ethernet", PPP: "PPP", 12: "RAW", 14: "RAW", 50: "PPP_HDLC",
    RAW_IP: "RAW", 105: "IEEE802_11", 108: "LOOP", LINUX_SLL: "LINUX_SLL", 127: "radiotap Wi-Fi",
    228: "IPV4", 229: "IPV6", LINUX_SLL2: "LINUX_SLL2",
}  # fmt: skip
MAX_RECORD_BYTES = 262_144
"""What tcpdump captures of a packet at most; a longer record is none."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What a capture file says of an interface; a classic pcap file has one.

    Attributes:
        link_type: what its packets begin with, see ``LINK_HEADER_BYTES``.
        name: as the capturing machine called it, or ''.
        fcs_bytes: of each packet's frame check sequence, where it was captured.
    """

    link_type: int
    name: str = ""
    fcs_bytes: int = 0

    @property
    def link_name(self) -> str:
        """The link type as tcpdump.org calls it, with its number."""
        known = LINK_NAMES.get(self.link_type)
        return f"{self.link_type} ({known})" if known else str(self.link_type)


@dataclass(frozen=True)
class Capture:
    """The records of one file, in the order in which they lie in it.

    Attributes:
        path: the file; ``-`` is standard input.
        interfaces: what the file says of each interface.
        data: the file's bytes, uncompressed, and ``PADDING_BYTES`` zeros, uint8.
        starts: where each packet's bytes begin in ``data``, int64.
        captured: bytes of each packet that are in the file, int64.
        lengths: bytes each packet had on the wire, link header included, int64.
        time_ns: when each was captured, ns since 1970, int64; 0 where that is unknown.
        timed: whether each has a time stamp that can be one, bool.
        interface: position of each packet's interface in ``interfaces``, int64.
        notes: what is wrong with the file and what was left out of it, in sentences.
    """

    path: Path
    interfaces: tuple[Interface, ...]
    data: NDArray[np.uint8]
    starts: IntArray
    captured: IntArray
    lengths: IntArray
    time_ns: IntArray
    timed: BoolArray
    interface: IntArray
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def link_types(self) -> IntArray:
        """The link type of each packet."""
        types = np.array([i.link_type for i in self.interfaces] or [0], np.int64)
        return types[self.interface]

    def packet(self, number: int) -> bytes:
        """The captured bytes of a packet, counted from 1 as Wireshark counts."""
        start = int(self.starts[number - 1])
        return self.data[start : start + int(self.captured[number - 1])].tobytes()


class Numbers:
    """Numbers of one byte order at many positions of a capture at once.

    A field beyond the captured bytes may lie beyond the file. It then reads as whatever is there,
    and the caller masks it.
    """

    def __init__(self, data: NDArray[np.uint8], order: str = ">"):
        self._data, self._order = data, order

    def _at(self, kind: str, at: IntArray) -> NDArray[np.generic]:
        size = np.dtype(kind).itemsize
        # A view of one number for each byte of the file: one gather instead of one for each byte.
        view = np.ndarray(
            (len(self._data) - size + 1,), self._order + kind, buffer=self._data, strides=(1,)
        )
        return view[np.minimum(at, len(view) - 1)].astype(kind)

    def u8(self, at: IntArray) -> NDArray[np.uint8]:
        """Bytes."""
        return self._data[np.minimum(at, len(self._data) - 1)]

    def u16(self, at: IntArray) -> NDArray[np.uint16]:
        """Numbers of two bytes."""
        return self._at("u2", at)  # type: ignore[return-value]

    def u32(self, at: IntArray) -> NDArray[np.uint32]:
        """Numbers of four bytes."""
        return self._at("u4", at)  # type: ignore[return-value]

    def u64(self, at: IntArray) -> NDArray[np.uint64]:
        """Numbers of eight bytes."""
        return self._at("u8", at)  # type: ignore[return-value]

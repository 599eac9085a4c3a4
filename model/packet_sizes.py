"""Sizes of packets on the wire, in whole Ethernet frames, as capacities of links are counted.

IPv4 without options everywhere; TCP with time stamps, as Linux sends them. ``model.wire_format``
has the header that a task's bytes begin with.
"""

from __future__ import annotations

from typing import Final

_ETHERNET, _IPV4, _ICMP, _UDP, _TCP = 14, 20, 8, 8, 32
PING_HEADERS_BYTES: Final = _ETHERNET + _IPV4 + _ICMP
"""Before a ping's payload."""
UDP_HEADERS_BYTES: Final = _ETHERNET + _IPV4 + _UDP
TCP_HEADERS_BYTES: Final = _ETHERNET + _IPV4 + _TCP
"""Of a segment; an acknowledgement is no more than that."""
FRAME_BYTES: Final = 1514
"""A full frame: the MTU of 1500 bytes and the Ethernet header."""
SEGMENT_BYTES: Final = FRAME_BYTES - TCP_HEADERS_BYTES
"""Payload of a full TCP segment."""
WIRE_OVERHEAD: Final = FRAME_BYTES / SEGMENT_BYTES
"""Bytes on the wire per byte of payload in full segments."""
PAYLOAD_PER_WIRE_BYTE: Final = SEGMENT_BYTES / FRAME_BYTES

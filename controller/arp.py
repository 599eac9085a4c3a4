"""Proxy ARP: base stations are everybody's gateway and answer for every host of the network."""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection

from model.addressing import GATEWAY_IP, GATEWAY_MAC

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")  # RFC 826, with Ethernet and IPv4
_TYPE_ARP, _REQUEST, _REPLY = 0x0806, 1, 2
_HEADER = (1, 0x0800, 6, 4)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def answer(frame: bytes, known: Collection[str]) -> bytes | None:
    """The reply to an ARP request for one of the ``known`` IPv4 addresses or the gateway's.

    None for everything else: other packets, unknown addresses, and a host that asks for its own
    address (it looks whether somebody else has it, and nobody has).
    """
    if len(frame) < _ETHERNET.size + _ARP.size:
        return None
    _, _, ether_type = _ETHERNET.unpack_from(frame)
    *header, operation, sha, spa, _, tpa = _ARP.unpack_from(frame, _ETHERNET.size)
    if ether_type != _TYPE_ARP or tuple(header) != _HEADER or operation != _REQUEST or spa == tpa:
        return None
    wanted = socket.inet_ntoa(tpa)
    if wanted not in known and wanted != GATEWAY_IP:
        return None
    gateway = _mac(GATEWAY_MAC)
    return _ETHERNET.pack(sha, gateway, _TYPE_ARP) + _ARP.pack(
        *_HEADER, _REPLY, gateway, tpa, sha, spa
    )

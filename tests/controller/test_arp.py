"""Proxy ARP."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.arp import answer
from model.addressing import GATEWAY_IP, GATEWAY_MAC

DEVICE, GATEWAY = bytes.fromhex("02ce0a010101"), bytes.fromhex(GATEWAY_MAC.replace(":", ""))
KNOWN = {"10.1.1.1", "10.2.0.1"}


def _request(target: str, operation: int = 1, sender: str = "10.1.1.1") -> bytes:
    addresses = [socket.inet_aton(a) for a in (sender, target)]
    header = struct.pack("!6s6sHHHBBH", b"\xff" * 6, DEVICE, 0x0806, 1, 0x0800, 6, 4, operation)
    return header + DEVICE + addresses[0] + bytes(6) + addresses[1] + bytes(18)


@pytest.mark.parametrize("target", ["10.2.0.1", GATEWAY_IP])
def test_the_gateway_answers_for_everybody(target: str) -> None:
    reply = answer(_request(target), KNOWN)
    assert reply is not None
    assert reply[:14] == DEVICE + GATEWAY + b"\x08\x06"
    assert reply[20:22] == b"\x00\x02"
    assert reply[22:32] == GATEWAY + socket.inet_aton(target)
    assert reply[32:42] == DEVICE + socket.inet_aton("10.1.1.1")


def test_it_answers_nothing_else() -> None:
    assert answer(_request("10.2.0.9"), KNOWN) is None
    assert answer(_request("10.1.1.1"), KNOWN) is None  # its own: is somebody else there?
    assert answer(_request("10.2.0.1", operation=2), KNOWN) is None
    assert answer(_request("10.2.0.1")[:41], KNOWN) is None


@given(st.binary(max_size=80))
def test_no_frame_breaks_it(frame: bytes) -> None:
    assert answer(frame, KNOWN) is None or frame[12:14] == b"\x08\x06"

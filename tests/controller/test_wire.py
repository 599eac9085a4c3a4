"""Orders as bytes: both libraries say the same, and mean what was ordered."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest

from controller.forwarding import FlowChange, Forwarding
from controller.openflow import LIBRARIES, load
from controller.openflow_encoding import COOKIE, encode, new_cookie
from controller.switch_messages import AskPorts, Barrier, MakeMeter, Order, SendPacket, Sweep
from model.aliases import OpenFlowLibrary
from tests.controller.scenarios import network


def _switch(library: OpenFlowLibrary) -> Any:
    """What a library's ``Datapath`` offers to who writes messages."""
    package = library.replace("-", "_")
    load(library)
    protocol = importlib.import_module(f"{package}.ofproto.ofproto_protocol")
    switch = protocol.ProtocolDesc(version=4)
    return SimpleNamespace(
        ofproto=switch.ofproto,
        ofproto_parser=switch.ofproto_parser,
        set_xid=lambda message: message.set_xid(7),
        cookie=COOKIE | 0xABCDEF,
    )


def _orders() -> list[Order]:
    tables = Forwarding(network(cloud="target"), arp=True).flows()
    flows = [flow for table in tables.values() for flow in table.values()]
    changes = [FlowChange(c, f) for c in ("add", "modify", "delete") for f in flows]
    others: list[Order] = [MakeMeter(), Sweep(), Barrier(5), AskPorts(6), SendPacket(3, b"frame")]
    return [*changes, *others]


def test_both_libraries_write_the_same_bytes() -> None:
    switches = [_switch(library) for library in LIBRARIES]
    for order in _orders():
        first, second = (encode(switch, order) for switch in switches)
        assert first == second


def _parsed(switch: Any, data: bytes) -> list[Any]:
    found = []
    while data:
        length = int.from_bytes(data[2:4], "big")
        kind, number = data[1], int.from_bytes(data[4:8], "big")
        found.append((kind, number, data[:length]))
        data = data[length:]
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_numbers_of_barriers_and_questions_are_the_xids(library: OpenFlowLibrary) -> None:
    switch = _switch(library)
    ofproto = switch.ofproto
    ((kind, number, _),) = _parsed(switch, encode(switch, Barrier(5)))
    assert (kind, number) == (ofproto.OFPT_BARRIER_REQUEST, 5)
    ((kind, number, _),) = _parsed(switch, encode(switch, AskPorts(6)))
    assert (kind, number) == (ofproto.OFPT_MULTIPART_REQUEST, 6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_flow_bears_the_cookie(library: OpenFlowLibrary) -> None:
    switch = _switch(library)
    for order in _orders():
        if isinstance(order, FlowChange):
            ((kind, _, data),) = _parsed(switch, encode(switch, order))
            assert kind == switch.ofproto.OFPT_FLOW_MOD
            assert int.from_bytes(data[8:16], "big") == switch.cookie


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_sweep_forgets_every_cookie_but_its_own(library: OpenFlowLibrary) -> None:
    switch = _switch(library)
    swept = [
        (int.from_bytes(data[8:16], "big"), int.from_bytes(data[16:24], "big"))
        for _, _, data in _parsed(switch, encode(switch, Sweep()))
    ]

    def forgotten(cookie: int) -> bool:
        return any(cookie & mask == value for value, mask in swept)

    assert not forgotten(switch.cookie)
    others = [0, 2**64 - 1, COOKIE, *(new_cookie() for _ in range(100))]
    assert all(map(forgotten, others))
    assert all(forgotten(switch.cookie ^ (1 << k)) for k in range(64))


def test_what_is_no_order_is_refused() -> None:
    with pytest.raises(TypeError, match="no order"):
        encode(_switch("os-ken"), "reboot")  # type: ignore[arg-type]

"""Orders as OpenFlow 1.3 bytes, by the message classes of the switch's own library."""

from __future__ import annotations

import secrets
from functools import singledispatch
from typing import Any

from controller.forwarding import ARP_METER, Flow, FlowChange
from controller.switch_messages import AskPorts, Barrier, MakeMeter, Order, SendPacket, Sweep

_COOKIE_BITS = 64
_CONNECTION_BITS = 28
COOKIE = 0xCE0FF10AD << _CONNECTION_BITS
"""Begins the cookie of every flow of a controller of ours; the rest is the connection's own."""


def new_cookie() -> int:
    """A cookie for the flows of one connection with a switch."""
    return COOKIE | secrets.randbits(_CONNECTION_BITS)


ARP_REQUESTS_PER_S = 200


def encode(switch: Any, order: Order) -> bytes:
    """The bytes of an order to ``switch``: a ``Datapath`` of Ryu or os-ken with a ``cookie``."""
    return b"".join(_bytes(switch, message) for message in _messages(order, switch))


def _bytes(switch: Any, message: Any) -> bytes:
    if message.xid is None:
        switch.set_xid(message)
    message.serialize()
    return bytes(message.buf)


@singledispatch
def _messages(order: Any, switch: Any) -> list[Any]:
    raise TypeError(f"no order: {order!r}")


@_messages.register
def _(order: FlowChange, switch: Any) -> list[Any]:
    ofproto, parser = switch.ofproto, switch.ofproto_parser
    commands = {
        "add": ofproto.OFPFC_ADD,
        "modify": ofproto.OFPFC_MODIFY_STRICT,
        "delete": ofproto.OFPFC_DELETE_STRICT,
    }
    instructions = [] if order.command == "delete" else _instructions(order.flow, switch)
    return [
        parser.OFPFlowMod(
            switch,
            cookie=switch.cookie,
            table_id=order.flow.table,
            command=commands[order.command],
            priority=order.flow.priority,
            out_port=ofproto.OFPP_ANY,
            out_group=ofproto.OFPG_ANY,
            match=parser.OFPMatch(**dict(order.flow.match)),
            instructions=instructions,
        )
    ]


def _instructions(flow: Flow, switch: Any) -> list[Any]:
    ofproto, parser = switch.ofproto, switch.ofproto_parser
    instructions = []
    actions = [parser.OFPActionSetField(**{name: value}) for name, value in flow.rewrite]
    if flow.output is not None:
        actions.append(parser.OFPActionOutput(flow.output))
    if flow.to_controller:
        instructions.append(parser.OFPInstructionMeter(ARP_METER))
        actions.append(parser.OFPActionOutput(ofproto.OFPP_CONTROLLER, ofproto.OFPCML_NO_BUFFER))
    if actions:
        instructions.append(parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions))
    if flow.goto is not None:
        instructions.append(parser.OFPInstructionGotoTable(flow.goto))
    return instructions


@_messages.register
def _(order: MakeMeter, switch: Any) -> list[Any]:
    ofproto, parser = switch.ofproto, switch.ofproto_parser
    band = parser.OFPMeterBandDrop(rate=ARP_REQUESTS_PER_S, burst_size=ARP_REQUESTS_PER_S)
    return [
        parser.OFPMeterMod(switch, ofproto.OFPMC_DELETE, 0, ofproto.OFPM_ALL),
        parser.OFPMeterMod(
            switch,
            ofproto.OFPMC_ADD,
            ofproto.OFPMF_PKTPS | ofproto.OFPMF_BURST,
            ARP_METER,
            [band],
        ),
    ]


@_messages.register
def _(order: Sweep, switch: Any) -> list[Any]:
    """Each message deletes the flows whose cookie differs from the connection's in one bit."""
    ofproto, parser = switch.ofproto, switch.ofproto_parser
    return [
        parser.OFPFlowMod(
            switch,
            cookie=~switch.cookie & bit,
            cookie_mask=bit,
            table_id=ofproto.OFPTT_ALL,
            command=ofproto.OFPFC_DELETE,
            out_port=ofproto.OFPP_ANY,
            out_group=ofproto.OFPG_ANY,
            match=parser.OFPMatch(),
            instructions=[],
        )
        for bit in (1 << k for k in range(_COOKIE_BITS))
    ]


@_messages.register
def _(order: Barrier, switch: Any) -> list[Any]:
    message = switch.ofproto_parser.OFPBarrierRequest(switch)
    message.set_xid(order.number)
    return [message]


@_messages.register
def _(order: AskPorts, switch: Any) -> list[Any]:
    message = switch.ofproto_parser.OFPPortStatsRequest(switch, 0, switch.ofproto.OFPP_ANY)
    message.set_xid(order.number)
    return [message]


@_messages.register
def _(order: SendPacket, switch: Any) -> list[Any]:
    ofproto, parser = switch.ofproto, switch.ofproto_parser
    return [
        parser.OFPPacketOut(
            datapath=switch,
            buffer_id=ofproto.OFP_NO_BUFFER,
            in_port=ofproto.OFPP_CONTROLLER,
            actions=[parser.OFPActionOutput(order.port)],
            data=order.frame,
        )
    ]

"""Orders to nodes: what is written is what is read, and what is none is refused in one line."""

from __future__ import annotations

import json

import msgspec
import pytest

from emulation.protocol import orders
from model.errors import ProtocolError

ALL = [
    orders.MeasurePaths(),
    orders.Begin(12.5, 3),
    orders.ShowStatus({"e1": 1.5}, {"e1": 3.0}),
    orders.Decide(4, {"17": (1, 10.0)}),
    orders.End(),
]


@pytest.mark.parametrize("order", ALL, ids=lambda o: type(o).__name__)
def test_an_order_is_read_as_it_was_written(order: orders.Order) -> None:
    assert orders.parse(json.loads(msgspec.json.encode(order))) == order


def test_every_kind_of_order_is_tried() -> None:
    assert {type(order) for order in ALL} == set(orders.Order.__args__)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"cmd": "dance"},
        {"cmd": "start"},
        {"cmd": "start", "t0": "now"},
        {"cmd": "start", "t0": 1.0, "first": True},
        {"cmd": "decide", "slot": 1, "tasks": {"1": [0]}},
        {"cmd": "decide", "slot": 1, "tasks": {"1": [0, None]}},
    ],
)
def test_what_is_no_order_is_refused(value: object) -> None:
    with pytest.raises(ProtocolError, match=r"^unknown order: ") as refused:
        orders.parse(value)
    assert "\n" not in str(refused.value)

"""What the orchestrator refuses to believe, from the trace, the scenario and the clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emulation.conductor import Conductor
from emulation.messages import (
    Arrived,
    Baseline,
    Born,
    Dispatched,
    Fatal,
    Known,
    Ping,
    Record,
    Service,
    Slot,
    from_list,
    to_list,
)
from emulation.plausible import Plausible, Refused
from emulation.witness import Witness
from model.compute import frequency_trace
from model.network import build_network
from model.workload import generate_trace
from tests.emulation.scenarios import small_scenario

SCENARIO = small_scenario().model_copy(update={"slots": 60})
NETWORK = build_network(SCENARIO)
TRACE = generate_trace(SCENARIO, 5, NETWORK)
TASK = int(TRACE.of_device(0)[0])
BORN = float(TRACE.born_s[TASK])
WORK = float(TRACE.work_ghz_s[TASK])
NOW = 50.0
EDGE = frequency_trace(SCENARIO, 5, NETWORK.nodes["e1"])


def plausible(now_s: float = NOW) -> Plausible:
    return Plausible(SCENARIO, NETWORK, TRACE, 5, lambda: now_s)


HONEST: list[tuple[str, Record]] = [
    ("c1d1", Born(TASK, "e1", 5.0, BORN)),
    ("c1d1", Dispatched(TASK, 1, BORN + 0.1)),
    ("e1", Arrived(TASK, BORN + 0.2, 0)),
    ("e1", Service(TASK, BORN + 0.2, EDGE.finish(BORN + 0.2, WORK), 0)),
    ("c1d1", Known(TASK, BORN + 5)),
    ("c1d1", Ping("e1", 3.0, 0.1)),
    ("c1d1", Ping("e1", 3.0, None)),
    ("e1", Slot(3, 0.0, 1.0, EDGE.at(3.0 * SCENARIO.slot_s), 0.5)),
    ("c1d1", Baseline({"e1": 0.1, "c1d2": 0.1}, [])),
]
FALSE: list[tuple[str, Record, str]] = [
    ("c1d1", Born(TASK, "e1", 500.0, BORN), "at 500 Mbps"),
    ("c1d1", Born(TASK, "c2d1", 5.0, BORN), "to c2d1"),
    ("c1d1", Born(TASK, "e1", 5.0, BORN - 0.5), "before its birth"),
    ("c1d1", Known(TASK, BORN - 0.5), "before its birth"),
    ("c1d1", Known(TASK, NOW + 1), "ahead"),
    ("e1", Arrived(TASK, BORN - 0.1, 0), "before its birth"),
    ("e1", Service(TASK, BORN - 0.1, BORN + 9, 0), "before its birth"),
    ("e1", Service(TASK, BORN + 0.2, BORN + 0.1, 0), "ends before it begins"),
    ("e1", Service(TASK, BORN + 0.2, BORN + 0.2, 0), "reports 0 GHz·s"),
    ("c1d1", Ping("c1d1", 3.0, 1e-5), "pings c1d1"),
    ("c1d1", Ping("c2d1", 3.0, 0.1), "pings c2d1"),
    ("e1", Ping("e2", 3.0, 0.1), "pings e2"),
    ("c1d1", Ping("e1", NOW - 0.1, 5.0), "still under way"),
    ("e1", Slot(3, 0.0, 1.0, 5e-5, 0.5), "boundary 3"),
    ("e1", Slot(3, 0.0, 1e9, EDGE.at(3.0), 0.5), "a queue of"),
    ("c1d1", Baseline({"c1d1": 0.1}, []), "paths"),
    ("c1d1", Baseline({}, ["x\x1b"]), "paths"),
]


@pytest.mark.parametrize(("name", "record"), HONEST)
def test_what_can_be_is_believed(name: str, record: Record) -> None:
    plausible().require(name, record)


@pytest.mark.parametrize(("name", "record", "why"), FALSE)
def test_what_cannot_be_is_refused(name: str, record: Record, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        plausible().require(name, record)


def test_a_device_pings_as_often_as_the_scenario_says() -> None:
    judge, slots = plausible(), 40
    accepted = 0
    for k in range(10 * slots):
        try:
            judge.require("c1d1", Ping("e1", k * SCENARIO.slot_s / 10, 0.01))
        except ValueError:
            continue
        accepted += 1
    every = SCENARIO.probes.edge_every_slots
    assert slots // every <= accepted <= slots // every + 1


@pytest.mark.parametrize(
    "value",
    [["known", True, 1.0], ["known", 0, True], ["known", 0, False], ["known", -1, 1.0],
     ["known", 0, float("nan")], ["known", 0, float("inf")], ["known", 0, -1.0],
     ["slot", True, 0.0, 1.0, 4.0, None], ["slot", 1, 0.0, 1.0, 5e-324, 0.5],
     ["slot", 1, 0.0, 1.0, 4.0, 7.0], ["slot", 1, 0.0, -1.0, 4.0, 0.5], ["born", 0, "e1", 0.0, 1.0],
     ["arrived", 0, 1.0, True], ["arrived", 0, 1.0, -1], ["dispatched", 0, 0, 1.0],
     ["service", 0, 1.0, 2.0, 1.5], ["log", "panic", 0.0, "x"], ["fatal", "x", 1],
     ["seen", 0, 1.0, 1.0, [True]], ["baseline", {"e1": True}, []], ["bye", {"x": True}],
     ["bye", {"\x1b[2J": 1.0}], ["ping", "e1", 1.0, True]],
)  # fmt: skip
def test_numbers_are_of_their_type_and_in_their_range(value: list[Any]) -> None:
    with pytest.raises(ValueError, match="not a record"):
        from_list(json.loads(json.dumps(value)))


def test_what_a_node_says_is_one_line_without_control_characters() -> None:
    text = "\x1b[2J\x1b]0;title\x07up\r\ndown\u202eevil\x9b31m" + "x" * 3900
    told = from_list(["log", "info", 0.0, text])
    assert told.text.isprintable()  # type: ignore[union-attr]
    assert told == from_list(to_list(told))


class Book:
    """As much of a recorder as a record needs."""

    def __init__(self) -> None:
        self.received: list[Record] = []
        self.book = self

    def receive(self, record: Record) -> None:
        self.received.append(record)

    def log(self, *_: object) -> None:
        """Of no interest."""


def conductor() -> tuple[Conductor, Book, list[str]]:
    """A conductor in the middle of a run, its book, and the nodes that it has ended."""
    made = Conductor.__new__(Conductor)
    book = Book()
    ended: list[str] = []
    nodes: dict[str, Any] = {n.name: None for n in NETWORK.units}
    values: dict[str, Any] = {
        "_recorder": book,
        "_plausible": plausible(),
        "_witness": Witness(NETWORK, TRACE, overflow=False),
        "refused": Refused(),
        "lost": {},
        "farewells": {},
        "_started": True,
        "_fatal": None,
        "_devices": {d.name for d in NETWORK.devices},
        "_machinery": SimpleNamespace(nodes=nodes, end_node=ended.append),
        "incidents": SimpleNamespace(add=lambda *_: None),
        "_onlooker": SimpleNamespace(heard=lambda _: None),
    }
    for name, value in values.items():
        setattr(made, name, value)
    return made, book, ended


def say(made: Conductor, name: str, value: object) -> None:
    cast(Callable[[str, Any], None], made._from_node)(name, value)


def test_a_bad_record_is_dropped_and_counted() -> None:
    made, book, ended = conductor()
    for value in (["known", True, 1.0], "nonsense", ["known", TASK, BORN - 1], {"a": 1}, None):
        say(made, "c1d1", value)
    assert made.refused.counts["c1d1"] == 5
    assert not made.lost
    assert not ended
    say(made, "c1d1", to_list(Born(TASK, "e1", 5.0, BORN)))
    say(made, "c1d1", to_list(Known(TASK, BORN + 5)))
    assert len(book.received) == 2


def test_a_device_that_goes_on_is_cut_off_and_an_edge_is_not() -> None:
    made, _, _ = conductor()
    for _ in range(1000):
        say(made, "e1", ["known", True, 1.0])
    for _ in range(100):
        say(made, "c1d1", ["known", True, 1.0])
    with pytest.raises(ValueError, match="not a record"):
        say(made, "c1d1", ["known", True, 1.0])


@pytest.mark.parametrize("user", [True, False])
def test_a_nodes_last_word_ends_that_node_alone(user: bool) -> None:
    made, _, ended = conductor()
    say(made, "c1d1", to_list(Fatal("x\x1b[2J", user)))
    assert made.lost == {"c1d1": "x?[2J"}
    assert made._fatal is None
    assert ended == ["c1d1"]


def test_who_reports_a_strangers_fault_is_not_blamed() -> None:
    made, book, _ = conductor()
    for task in (4_000_000_000, len(TRACE), TASK):
        for reporter in ("c1d2", "e1"):
            say(made, reporter, to_list(Arrived(task, 40.0, 3)))
            say(made, reporter, to_list(Arrived(task, 0.0, 3)))
            say(made, reporter, to_list(Service(task, 40.0, 40.0, 3)))
            say(made, reporter, to_list(Service(task, 40.0, 45.0, 3)))
    assert not made.refused.counts
    assert not book.received

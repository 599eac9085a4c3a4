"""Every task ends in exactly one state, in whatever order the reports come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulation.orchestrator.task_table import TaskBook
from emulation.protocol.messages import Arrived, Born, Dispatched, Failed, Known, Service
from model.network import build_network
from model.workload import TaskTrace
from tests.emulation.scenarios import small_scenario

NETWORK = build_network(small_scenario())


def book(tasks: int = 4) -> TaskBook:
    trace = TaskTrace(
        np.zeros(tasks, dtype=np.int32),
        np.arange(tasks, dtype=np.float64),
        np.full(tasks, 3.0),
        np.full(tasks, 2.0),
        np.full(tasks, -1, dtype=np.int32),
    )
    return TaskBook(trace, NETWORK, end_s=100.0)


def test_a_done_task_is_final_once_both_sides_have_reported() -> None:
    b = book()
    b.receive(Born(0, "e1", 5.0, 0.0))
    b.receive(Dispatched(0, 1, 0.1))
    b.receive(Known(0, 2.5))
    assert b.take_final() == []  # the unit has not said when it served
    b.receive(Service(0, 2.0, 2.4))
    (row,) = b.take_final()
    assert (row["outcome"], row["target_kind"], row["known_s"]) == ("done", "edge", 2.5)
    assert b.take_final() == []


def test_unfinished_tasks_say_where_they_stood() -> None:
    b = book()
    b.receive(Born(1, "c1d1", 5.0, 1.0))
    b.receive(Born(2, "e2", 5.0, 2.0))
    b.receive(Dispatched(2, 1, 2.0))
    b.receive(Arrived(3, 3.0))
    reasons = {r["task"]: r["reason"] for r in b.take_rest()}
    assert reasons == {
        0: "not decided",
        1: "waiting to be sent",
        2: "on its way",
        3: "waiting or in service",
    }


def test_a_result_after_a_failure_is_counted_as_a_contradiction() -> None:
    b = book()
    b.receive(Failed(0, 1.0, "connection lost"))
    b.receive(Known(0, 1.5))
    (row,) = b.take_final()
    assert (row["outcome"], row["reason"]) == ("failed", "connection lost")
    assert b.contradictions == 1


def test_unit_delay_charges_what_is_pending() -> None:
    b = book()
    b.receive(Known(0, 1.0))  # E = 1
    # at 3 s: born 0, 1, 2, 3; E = 1 + 2 + 1 + 0 over 8 MB
    assert b.unit_delay(3.0) == pytest.approx(4.0 / 8.0)


def test_what_a_clock_ahead_reports_has_not_happened_yet() -> None:
    b = book()
    b.receive(Known(0, 0.5))
    b.receive(Known(1, 1.2))
    b.receive(Failed(2, 2.1, "connection lost"))
    early, late = b.counts(0.9), b.counts(3.0)
    assert (early.born, early.done, early.failed, early.in_flight) == (1, 1, 0, 0)
    assert (late.born, late.done, late.failed, late.in_flight) == (4, 2, 1, 1)
    # at 1.1 s: born 0 and 1; E = 0.5 + 0.1 over 4 MB
    assert b.unit_delay(1.1) == pytest.approx(0.6 / 4.0)


def test_what_happens_after_the_end_is_not_in_the_run() -> None:
    b = book()
    b.receive(Known(0, 100.5))
    b.receive(Service(0, 99.0, 100.4))
    (row,) = [r for r in b.take_rest() if r["task"] == 0]
    assert (row["outcome"], row["known_s"], row["service_end_s"]) == ("unfinished", None, None)


def report(task: int, kind: str) -> Dispatched | Arrived | Service | Known | Failed:
    match kind:
        case "dispatched":
            return Dispatched(task, 1, 1.0)
        case "arrived":
            return Arrived(task, 1.0)
        case "service":
            return Service(task, 1.0, 1.0)
        case "known":
            return Known(task, 1.0)
        case _:
            return Failed(task, 1.0, "why")


KINDS = st.sampled_from(["dispatched", "arrived", "service", "known", "failed"])


@given(st.lists(st.tuples(st.integers(0, 7), KINDS), max_size=60), st.integers(1, 5))
def test_every_task_appears_exactly_once(events: list[tuple[int, str]], every: int) -> None:
    b = book(8)
    rows = []
    for k, (task, kind) in enumerate(events):
        b.receive(report(task, kind))
        if k % every == 0:
            rows += b.take_final()
    rows += b.take_final() + b.take_rest()
    assert sorted(r["task"] for r in rows) == list(range(8))


@given(st.lists(st.tuples(st.integers(0, 7), KINDS), max_size=60))
def test_the_outcome_does_not_depend_on_the_order(events: list[tuple[int, str]]) -> None:
    forward, backward = book(8), book(8)
    for task, kind in events:
        forward.receive(report(task, kind))
    for task, kind in reversed(events):
        backward.receive(report(task, kind))
    outcomes = [{r["task"]: r["outcome"] for r in b.take_rest()} for b in (forward, backward)]
    assert outcomes[0] == outcomes[1]
    for task, outcome in outcomes[0].items():
        kinds = {kind for t, kind in events if t == task}
        expected = "failed" if "failed" in kinds else "done" if "known" in kinds else "unfinished"
        assert outcome == expected


@pytest.mark.parametrize("known_s", [9.0, 20.0])
def test_a_result_before_its_service_is_told_of(known_s: float) -> None:
    b = book()
    b.receive(Born(0, "e1", 5.0, 0.0))
    b.receive(Dispatched(0, 1, 0.1))
    b.receive(Arrived(0, 1.0))
    b.receive(Service(0, 1.0, 10.0))
    b.receive(Known(0, known_s))
    b.take_rest()
    assert b.disordered == (known_s < 10.0)

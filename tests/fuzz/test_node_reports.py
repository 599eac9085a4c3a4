"""What nodes report to the orchestrator: refused, or entered so that the records still add up."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from emulation.orchestrator.task_table import TaskBook
from emulation.protocol.json_channel import Channel
from emulation.protocol.messages import (
    Arrived,
    Baseline,
    Born,
    Bye,
    Dispatched,
    Failed,
    Fatal,
    Known,
    Log,
    Ping,
    Ready,
    Record,
    Seen,
    Service,
    Slot,
    from_list,
    to_list,
)
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace
from records.reader import open_result
from records.schema import OUTCOMES
from records.writer import ResultWriter, RunInfo
from tests.fuzz.bounds import bounded, require_told, tries
from tests.fuzz.damage import ODD_VALUES, damaged_data

WANTED = load_scenario("mini")
NETWORK = build_network(WANTED)
TRACE = generate_trace(WANTED, 1, NETWORK)
HONEST: list[Record] = [
    Ready(1, "local"),
    Baseline({"e1": 0.1}, ["c1d1"]),
    Born(0, "e1", 5.0, 0.1),
    Dispatched(0, 1, 0.2),
    Arrived(0, 0.3, 1),
    Service(0, 0.3, 0.4, None),
    Known(0, 0.5),
    Failed(0, 0.5, "why"),
    Ping("e1", 0.1, None),
    Slot(0, 0.01, 1.0, 2.0, None),
    Seen(0, 1.0, 2.0, [1.0, 2.0]),
    Log("info", 0.1, "hello"),
    Bye({"served": 1, "rtt": None}),
    Fatal("it broke", user=True),
]
ANYTHING = st.recursive(
    ODD_VALUES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner)
)


@tries(600)
@given(st.sampled_from(HONEST).map(to_list).flatmap(damaged_data) | ANYTHING)
def test_a_record_is_whole_or_refused(value: Any) -> None:
    try:
        with bounded():
            record = from_list(value)
    except ValueError as error:
        event("refused")
        require_told(error)
        return
    event("taken")
    # It goes into the log, the manifest and the tables, which are UTF-8.
    again = json.loads(json.dumps(to_list(record), ensure_ascii=False, allow_nan=False).encode())
    assert from_list(again) == record


TIMES = st.floats(-10, 100) | st.sampled_from([-1e15, 1e15, 5e-324, 0])
TASKS = st.integers(0, 5) | st.sampled_from([-1, len(TRACE), 2**40])
NAMES = st.sampled_from([n.name for n in NETWORK.units]) | st.sampled_from(["", "e9", "c1d1>bs1"])
SAID = st.one_of(
    st.builds(Born, TASKS, NAMES, TIMES, TIMES),
    st.builds(Dispatched, TASKS, st.integers(0, 10), TIMES),
    st.builds(Arrived, TASKS, TIMES, st.none() | st.integers(-1, 9)),
    st.builds(Service, TASKS, TIMES, TIMES, st.none() | st.integers(-1, 9)),
    st.builds(Known, TASKS, TIMES),
    st.builds(Failed, TASKS, TIMES, st.text(max_size=5)),
)


@tries(60)
@given(st.lists(SAID, max_size=30))
def test_task_states_add_up_whatever_is_said(
    tmp_path_factory: pytest.TempPathFactory, said: list[Any]
) -> None:
    book = TaskBook(TRACE, NETWORK, WANTED.duration_s)
    folder = tmp_path_factory.mktemp("result") / "r"
    with ResultWriter(folder, RunInfo(WANTED, "local", 1, "emulation")) as writer:
        for record in said:
            try:
                book.receive(from_list(to_list(record)))  # type: ignore[arg-type]
            except (ValueError, OverflowError):
                continue
            counts = book.counts(WANTED.duration_s)
            assert counts.born == counts.done + counts.failed + counts.in_flight
            writer.append("tasks", book.take_final())
        writer.append("tasks", book.take_rest())
    table = open_result(folder).table("tasks")
    assert sorted(table["task"].to_pylist()) == list(range(len(TRACE)))
    assert set(table["outcome"].to_pylist()) <= set(OUTCOMES)


def heard(data: bytes) -> list[Any]:
    """The last value that a channel makes of bytes before the other end closes."""
    values: deque[Any] = deque(maxlen=1)

    async def listen() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            channel = Channel("c1d1", ours)
            task = asyncio.create_task(channel.listen(lambda _, value: values.append(value)))
            await asyncio.to_thread(_send, theirs, data)
            theirs.close()
            await asyncio.wait_for(task, 30)
            channel.close()

    asyncio.run(listen())
    return list(values)


def _send(theirs: socket.socket, data: bytes) -> None:
    try:
        theirs.sendall(data)
    except ConnectionError:
        return


LINES = st.lists(
    st.binary(max_size=40) | ANYTHING.map(lambda v: json.dumps(v).encode()), max_size=5
).map(b"\n".join)


@tries(60)
@given(LINES)
def test_lines_are_json_or_an_error_of_value(data: bytes) -> None:
    try:
        heard(data)
    except ValueError:
        event("refused")


@pytest.mark.parametrize(
    "data",
    [b"[" * 10**6 + b"\n", b"x" * 8 * 10**6, b'"' + b"y" * 8 * 10**6, b"1" * 5_000 + b"\n"],
    ids=["deep", "endless", "endless text", "huge number"],
)
def test_floods_end_in_an_error(data: bytes) -> None:
    with bounded(128, 20.0), pytest.raises(ValueError, match=r".+"):
        heard(data)


def test_a_run_outlives_a_reason_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a record"):
        from_list(["failed", 0, 1.0, "\ud800"])
    with pytest.raises(ValueError, match="not a record"):
        from_list(["bye", {"\ud800": 1.0}])
    assert from_list(to_list(Failed(0, 1.0, "policy: \ud800"))) == Failed(0, 1.0, "policy: ?")

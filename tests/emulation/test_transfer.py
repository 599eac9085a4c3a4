"""Senders and units over the loopback interface: every task ends exactly once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from emulation.node import task_sender
from emulation.node.event_loop import Clock, Loop
from emulation.node.pacing import pacing_bytes_per_s
from emulation.node.task_sender import Order, Transfers
from emulation.node.task_server import Unit
from emulation.node.work import TimedWork
from emulation.protocol.frames import Frame, Kind, encode
from emulation.protocol.messages import Arrived, Log, Record, Service
from model.compute import FrequencyTrace
from model.scenario import TransferSpec
from tests.busy import measuring

LOCALHOST = "127.0.0.1"
FAST_MBPS = 4000.0


class Ear:
    """Notes what becomes of orders."""

    def __init__(self) -> None:
        self.dispatches: list[tuple[int, int]] = []
        self.arrivals: list[int] = []
        self.results: dict[int, float] = {}
        self.failures: dict[int, str] = {}

    def dispatched(self, order: Order) -> None:
        self.dispatches.append((order.task, order.attempt))

    def arrived(self, order: Order) -> None:
        self.arrivals.append(order.task)

    def result(self, order: Order, processing_s: float, result: bytes) -> None:
        assert order.task not in self.results
        self.results[order.task] = processing_s

    def unserved(self, order: Order, reason: str) -> None:
        self.failed(order, reason)

    def failed(self, order: Order, reason: str) -> None:
        assert order.task not in self.failures
        self.failures[order.task] = reason

    @property
    def ended(self) -> int:
        return len(self.results) + len(self.failures)


class Bed:
    """A unit and a sender on one loop; the clock runs ten times as fast."""

    def __init__(self, stall_s: float = 60.0, attempts: int = 3):
        self.loop, self.clock, self.ear = Loop(), Clock(10.0), Ear()
        self.clock.start(time.monotonic())
        self.records: list[Record] = []
        work = TimedWork(self.loop, self.clock, FrequencyTrace((0.0,), (10.0,), 10.0), 256)
        self.unit = Unit(self.loop, self.clock, work, self.records.append)
        self.port = self.unit.listen(LOCALHOST, 0)
        spec = TransferSpec(stall_timeout_s=stall_s, attempts=attempts)
        self.sender = Transfers(
            self.loop,
            self.clock,
            spec,
            self.ear,
            addresses={"e1": LOCALHOST},
            own_index=1,
            max_rate_mbps=FAST_MBPS,
        )
        self.sender.port = self.port

    def send(self, task: int, size: int = 1000, work: float = 1.0, rate: float = FAST_MBPS) -> None:
        self.sender.send(Order("e1", 1, task, size, work, rate))

    def until(self, condition: Callable[[], bool], limit_s: float = 10.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.loop.step(0.01)


@pytest.fixture
def bed() -> Iterator[Bed]:
    made = Bed()
    yield made
    made.sender.close()
    made.unit.close()
    made.loop.close()


def test_a_task_arrives_is_served_and_its_result_comes_back(bed: Bed) -> None:
    bed.send(7, size=300_000, work=5.0)
    bed.until(lambda: bed.ear.ended == 1)
    assert bed.ear.arrivals == [7]
    assert bed.ear.results[7] == pytest.approx(0.5)
    arrived, service = bed.records
    assert isinstance(arrived, Arrived)
    assert isinstance(service, Service)
    assert service.end_s - service.start_s == pytest.approx(0.5)


def test_many_tasks_end_once_each_and_share_connections(bed: Bed) -> None:
    for task in range(60):
        bed.send(task, size=task * 5000, work=0.01)
    bed.until(lambda: bed.ear.ended == 60)
    first = bed.sender.opened
    for task in range(60, 64):
        bed.send(task)
        bed.until(lambda: len(bed.ear.results) > task)  # noqa: B023 - called before the next turn
    assert bed.sender.opened == first
    assert sorted(bed.ear.arrivals) == list(range(64))
    assert bed.unit.served == 64


def test_tasks_without_data_or_work_are_tasks(bed: Bed) -> None:
    bed.send(1, size=0, work=0.0)
    bed.until(lambda: bed.ear.ended == 1)
    assert bed.ear.results == {1: 0.0}


def test_a_connection_is_free_while_its_result_is_awaited(bed: Bed) -> None:
    bed.send(1, work=10.0)
    bed.until(lambda: 1 in bed.ear.arrivals)
    bed.send(2, work=0.0)
    bed.until(lambda: 2 in bed.ear.arrivals)
    assert bed.sender.opened == 1
    assert not bed.ear.results


def test_spare_connections_are_opened_ahead_of_need(bed: Bed) -> None:
    bed.sender.spares = 3
    bed.send(0)
    assert bed.sender.opened == 1 + 3
    bed.until(lambda: bed.ear.ended == 1)
    for task in range(1, 6):
        bed.send(task, size=500_000, work=0.0)
    # Four were free; the fifth task needs one more, and three are to be free again.
    assert bed.sender.opened == 5 + 3
    bed.until(lambda: bed.ear.ended == 6)
    assert sorted(bed.ear.results) == list(range(6))


def test_connections_that_rest_long_are_closed_but_for_the_spares(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_sender, "_STALE_S", 0.3)
    bed.sender.spares = 1
    for task in range(6):
        bed.send(task, size=100_000)
    bed.until(lambda: bed.ear.ended == 6)
    pool = bed.sender._connections["e1"]
    assert len(pool) >= 6
    first = pool[0]
    for task in range(6, 12):  # one at a time, always on the first
        bed.send(task)
        bed.until(partial(bed.ear.results.__contains__, task))
        time.sleep(0.1)
    assert pool[0] is first
    assert len(pool) == 2
    assert not bed.ear.failures


def test_nobody_there_fails_after_all_attempts(bed: Bed) -> None:
    bed.unit.close()
    bed.send(1)
    bed.until(lambda: bed.ear.ended == 1)
    assert "Connection refused (3 attempts)" in bed.ear.failures[1]


def test_a_broken_connection_is_made_up_for_and_nothing_is_served_twice(bed: Bed) -> None:
    bed.send(1, work=5.0)
    bed.until(lambda: 1 in bed.ear.arrivals)
    for peer in list(bed.unit._peers):
        peer.close("cut")
    bed.until(lambda: bed.ear.ended == 1)
    assert bed.ear.results[1] == pytest.approx(0.5)
    assert bed.ear.dispatches == [(1, 1), (1, 2)]
    assert bed.ear.arrivals == [1]
    assert (bed.unit.served, bed.unit.repeated) == (1, 1)


def test_a_unit_forgets_what_it_served_long_ago(bed: Bed) -> None:
    bed.unit.remembered_s = 3600.0
    for task in range(4):
        bed.send(task)
        bed.until(partial(bed.ear.results.__contains__, task))
    assert set(bed.unit._visitors) == {(1, task) for task in range(4)}
    bed.unit.remembered_s = 0.0
    bed.send(4)
    bed.until(partial(bed.ear.results.__contains__, 4))
    assert set(bed.unit._visitors) == {(1, 4)}


def test_a_stalled_transfer_is_given_up(bed: Bed) -> None:
    bed.sender.stall_real_s = 0.2
    with socket.create_server((LOCALHOST, 0)) as deaf:
        bed.sender.port = deaf.getsockname()[1]
        bed.send(1, size=50_000_000)
        bed.until(lambda: bed.ear.ended == 1)
    assert "no progress for 2 s (3 attempts)" in bed.ear.failures[1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 64,
        encode(Frame(Kind.RESULT, 1, 1, 1, 0, 0.5)),
        encode(Frame(Kind.ARRIVED, 1, 99, 1, 0, 0.5)),
        encode(Frame(Kind.TASK, 1, 1, 1, 0, 0.5)),
        encode(Frame(Kind.ERROR, 0xFFFF, 0xFFFFFFFF, 0, 2, 0.0)) + b"no",
    ],
)
def test_a_unit_that_answers_nonsense_is_not_believed(bed: Bed, answer: bytes) -> None:
    with socket.create_server((LOCALHOST, 0)) as server:
        bed.sender.port = server.getsockname()[1]
        server.setblocking(False)
        peers = []

        def answered() -> bool:
            try:
                peer, _ = server.accept()
            except BlockingIOError:
                return bed.ear.ended == 1
            peers.append(peer)
            peer.sendall(answer)
            return False

        bed.send(1, size=50_000_000)
        bed.until(answered)
        for peer in peers:
            peer.close()
    assert not bed.ear.results
    assert "(3 attempts)" in bed.ear.failures[1]


@pytest.mark.parametrize("size", [1, 31, 32, 5000])
def test_noise_closes_its_connection_and_no_other(bed: Bed, size: int) -> None:
    bed.send(1, work=10.0)
    bed.until(lambda: 1 in bed.ear.arrivals)
    with socket.create_connection((LOCALHOST, bed.port)) as noise:
        noise.sendall(b"\xa5" * size)
        noise.shutdown(socket.SHUT_WR)
        bed.until(lambda: any(isinstance(r, Log) for r in bed.records))
    bed.until(lambda: 1 in bed.ear.results)


def test_a_task_of_another_run_is_refused(bed: Bed) -> None:
    bed.unit.owner = lambda frame: frame.task < 10
    bed.send(11)
    bed.until(lambda: bed.ear.ended == 1)
    assert "no task 11 of device 1" in bed.ear.failures[11]


def test_x_counts_whole_frames() -> None:
    assert pacing_bytes_per_s(10.0) == int(1.25e6 * 1448 / 1514)


@pytest.mark.timing
def test_the_pace_is_kept_and_set_back(bed: Bed) -> None:
    size, rate = 2_000_000, 40.0
    with measuring():
        begin = time.monotonic()
        bed.send(1, size=size, rate=rate)
        bed.until(lambda: 1 in bed.ear.arrivals)
        slow_s = time.monotonic() - begin
    # Loopback's huge segments make bursts; tests/emulation/test_nodes.py measures real frames.
    assert slow_s == pytest.approx(size * 8e-6 / rate * 1514 / 1448, rel=0.3)
    with measuring():
        begin = time.monotonic()
        bed.send(2, size=size)
        bed.until(lambda: 2 in bed.ear.arrivals)
        assert time.monotonic() - begin < slow_s / 2


@pytest.mark.parametrize(
    ("senders", "complaint"),
    [({LOCALHOST: 2}, "is not device 1"), ({"10.1.1.1": 1}, "has nothing to send here")],
)
def test_a_unit_takes_tasks_in_the_senders_own_name_only(
    senders: dict[str, int | None], complaint: str
) -> None:
    bed = Bed(attempts=1)
    bed.unit.senders = senders
    bed.send(0)
    bed.until(lambda: bed.ear.ended == 1)
    assert complaint in bed.ear.failures[0]
    assert not [r for r in bed.records if isinstance(r, Arrived)]


@pytest.mark.parametrize("device", [1, None])
def test_a_unit_says_whose_task_has_come(device: int | None) -> None:
    bed = Bed()
    bed.unit.senders = {LOCALHOST: device}
    bed.send(0)
    bed.until(lambda: bed.ear.ended == 1)
    assert [r.device for r in bed.records if isinstance(r, Arrived | Service)] == [1, 1]

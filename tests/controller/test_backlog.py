"""Reading queues: what the kernel says, and the backlog of eq. (2)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.link_sampler import (
    BacklogError,
    LinkReading,
    LinkSampler,
    QdiscRow,
    VirtualBacklog,
    leaves,
    messages,
    qdisc_row,
    timed_sample,
)
from tests.controller.lab import ShapedLab, sh
from tests.controller.scenarios import network

RECORDED = bytes.fromhex(Path(__file__).with_name("qdiscs.hex").read_text())
"""A dump of Linux 6.18: 2 and 3 have HTB over bfifo, 3 with a backlog; 5 has an ingress qdisc."""

ROOT_PARENT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1


def _recorded_rows() -> list[QdiscRow]:
    return [qdisc_row(RECORDED, a, b) for kind, _, a, b in messages(RECORDED) if kind != 3]


def test_a_recorded_dump_says_what_tc_said() -> None:
    rows = _recorded_rows()
    assert [(r.interface, r.handle >> 16, r.parent) for r in rows] == [
        (1, 0, ROOT_PARENT),
        (2, 1, ROOT_PARENT),
        (2, 0x10, 0x00010001),
        (3, 1, ROOT_PARENT),
        (3, 0x10, 0x00010001),
        (4, 0, ROOT_PARENT),
        (5, 0, ROOT_PARENT),
        (5, 0xFFFF, INGRESS),
    ]
    # tc -s -j qdisc at that moment: "bytes":7294,"packets":7,"drops":9,"backlog":14678
    assert rows[4] == QdiscRow(3, 0x100000, 0x00010001, 7294, 7, 14678, 9)


def test_the_leaf_is_taken_and_never_the_sum() -> None:
    found = leaves(_recorded_rows(), range(6))
    assert {i: r.handle >> 16 for i, r in found.items()} == {1: 0, 2: 16, 3: 16, 4: 0, 5: 0}
    assert found[3].backlog_bytes == 14678


def test_a_leaf_may_lie_deeper_but_there_is_only_one() -> None:
    def row(handle: int, parent: int) -> QdiscRow:
        return QdiscRow(7, handle << 16, parent, 0, 0, 0, 0)

    deep = [row(5, ROOT_PARENT), row(10, 5 << 16 | 1), row(20, 10 << 16 | 1)]
    assert leaves(deep, {7})[7].handle >> 16 == 20
    with pytest.raises(BacklogError, match="more than one leaf"):
        leaves([*deep, row(30, 5 << 16 | 2)], {7})
    assert leaves([*deep, row(30, 5 << 16 | 2)], {8}) == {}


@given(st.binary(max_size=200))
def test_no_bytes_hang_the_reader(data: bytes) -> None:
    try:
        for _, _, begin, end in messages(data):
            assert begin <= end
    except BacklogError:
        pass


def _reading(link: str, backlog: int = 0, sent: int = 0, drops: int = 0) -> LinkReading:
    return LinkReading(link, backlog, sent, sent // 1000, drops, up=True)


def test_virtual_backlog_is_that_of_equation_2() -> None:
    virtual = VirtualBacklog(network(stations=1, devices=1))  # e2d: 10 Mbps = 1 250 000 bytes/s
    link = "c1d1>bs1"
    assert virtual.update(0.0, [_reading(link, backlog=1000)]) == [1000]
    # Sent at capacity, and 500 000 more came: V = 1000 + (1 250 000 + 499 000) − 1 250 000.
    at = virtual.update(1.0, [_reading(link, backlog=500_000, sent=1_250_000)])
    assert at == [500_000]
    # Ten packets of 1000 bytes were refused: they were offered all the same.
    at = virtual.update(2.0, [_reading(link, backlog=500_000, sent=2_500_000, drops=10)])
    assert at == [510_000]
    # Nothing is offered any more: V falls by c and never below nothing.
    at = virtual.update(4.0, [_reading(link, backlog=0, sent=3_000_000, drops=10)])
    assert at == [0.0]


def test_virtual_backlog_knows_changed_capacities() -> None:
    virtual = VirtualBacklog(network(stations=1, devices=1))
    link = "c1d1>bs1"
    virtual.set_rate(link, 5.0, at=9.0)
    virtual.update(10.0, [_reading(link)])
    assert virtual.update(11.0, [_reading(link, sent=1_250_000)]) == [625_000]
    # A quarter of the slot at 5 Mbps, the rest at 2: 156 250 + 187 500 bytes are served.
    virtual.set_rate(link, 2.0, at=11.25)
    at = virtual.update(12.0, [_reading(link, sent=1_250_000)])
    assert at == [625_000 - 156_250 - 187_500]
    assert virtual.update(13.0, [_reading(link, sent=1_250_000)]) == [31_250]
    with pytest.raises(KeyError, match="c9d9>bs1"):
        virtual.set_rate("c9d9>bs1", 5.0, at=13.0)


@pytest.mark.parametrize(
    ("took_s", "looks", "moment_s"),
    [([0.001], 1, 10.0005), ([0.030, 0.001], 2, 10.0005), ([0.030, 0.004, 0.009], 3, 10.002)],
)
def test_a_look_that_was_interrupted_is_taken_again(
    took_s: list[float], looks: int, moment_s: float
) -> None:
    class Sampler:
        read_s = 0.0, 0.0
        count = 0

        def sample(self) -> list[LinkReading]:
            self.read_s = 10.0, 10.0 + took_s[self.count]
            self.count += 1
            return [_reading("c1d1>bs1", sent=self.count)]

    sampler = Sampler()
    at_s, readings = timed_sample(sampler)  # type: ignore[arg-type]
    assert at_s == pytest.approx(moment_s, abs=1e-9)
    assert sampler.count == looks
    # The shortest one counts, with the counters that were read in it.
    assert readings[0].sent_bytes == min(range(looks), key=lambda k: took_s[k]) + 1


@pytest.fixture
def shaped() -> Iterator[ShapedLab]:
    lab = ShapedLab(network(stations=2, devices=1))
    yield lab
    lab.close()


def _send(count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for _ in range(count):
            handle.sendto(bytes(958), ("10.9.0.2", 9))  # 1000 bytes with its headers


@pytest.mark.root
def test_a_real_queue_is_seen_to_fill_and_to_drain(shaped: ShapedLab) -> None:
    graph = network(stations=2, devices=1)
    sampler = shaped.inside(lambda: LinkSampler(graph))
    before = {r.link: r for r in sampler.sample()}
    assert list(before) == [k.name for k in graph.shaped_links]
    assert all(r.up and r.backlog_bytes == 0 for r in before.values())
    shaped.inside(lambda: _send(40))
    time.sleep(0.1)
    full = {r.link: r for r in sampler.sample()}["c1d1>bs1"]
    sent = full.sent_bytes - before["c1d1>bs1"].sent_bytes
    # 40 kB came at once; in about 0.1 s 12.5 kB have left at 1 Mbps; nothing else was sent.
    assert 8_000 < sent < 25_000
    assert 40_000 <= sent + full.backlog_bytes <= 41_000
    shaped.inside(lambda: _send(60))
    assert {r.link: r for r in sampler.sample()}["c1d1>bs1"].drops > 0
    sh("ip", "-n", shaped.fabric, "link", "set", "bs1-bs2", "down")
    down = {r.link for r in sampler.sample() if not r.up}
    assert down == {"bs1>bs2", "bs2>bs1"}
    sampler.close()


@pytest.mark.root
def test_missing_and_lost_queues_are_told(shaped: ShapedLab) -> None:
    with pytest.raises(BacklogError, match=r"there is no interface bs1-c1d2, .*c1d2-bs1"):
        shaped.inside(lambda: LinkSampler(network(stations=2, devices=2)))
    sampler = shaped.inside(lambda: LinkSampler(network(stations=2, devices=1)))
    sh("ip", "-n", shaped.fabric, "link", "del", "bs1-bs2")
    with pytest.raises(BacklogError, match="bs1>bs2 has no queue"):
        sampler.sample()
    sampler.close()

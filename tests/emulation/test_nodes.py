"""The real processes on real links: spawner, nodes, namespaces; no Open vSwitch."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from emulation.host.uids import FIRST
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
    Service,
    Slot,
    guest_name,
)
from model.network import build_network
from model.scenario import (
    BaseStationSpec,
    CloudSpec,
    ClusterSpec,
    ComputeSpec,
    DeviceCompute,
    NetworkSpec,
    Scenario,
    WorkloadSpec,
)
from model.workload import generate_trace
from tests.busy import alone, measuring
from tests.emulation.bench import Bench, Nodes

pytestmark = pytest.mark.root
POLICIES = "tests.emulation.policies_of_tests"


def scenario(devices: int = 2, slots: int = 6, **sections: object) -> Scenario:
    # Devices that are always idle, so that all tasks are done soon after the last slot.
    sections.setdefault("compute", ComputeSpec(device=DeviceCompute(idle_probability=1.0)))
    return Scenario(
        name="bench",
        slots=slots,
        network=NetworkSpec(
            base_stations=(BaseStationSpec(name="bs1", edge="e1"),),
            clusters=(ClusterSpec(name="c1", bs="bs1", devices=devices),),
        ),
        workload=WorkloadSpec(tasks_per_epoch=8, work_ghz_s=1, data_mb=0.4, epoch_gap_s=(2.0, 3.0)),
        **sections,
    )


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench(scenario()) as made:
        yield made


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """What is closed at the end of a test, last made first."""
    with ExitStack() as stack:
        yield stack


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and not status_of(pid)["State"].startswith("Z")


@pytest.mark.timeout(120)
def test_libraries_begin_on_a_device_without_proc(bench: Bench) -> None:
    with Nodes(bench, f"{POLICIES}:ImportsMuch") as nodes:
        nodes.spawn()
        deadline = time.monotonic() + 90
        while not all(nodes.records[name] for name in ("c1d1", "c1d2")):
            assert time.monotonic() < deadline
            nodes.collect(0.5)
        for name in ("c1d1", "c1d2"):
            assert isinstance(nodes.records[name][0], Ready), nodes.records[name]


@pytest.mark.timing
def test_every_task_ends_once(bench: Bench) -> None:
    with Nodes(bench, f"{POLICIES}:EverywhereInTurn") as nodes:
        nodes.spawn()
        with measuring():
            nodes.run(9.0)
        for _ in range(100):
            if len(nodes.link.poll_exits()) == len(nodes.nodes) + 2:
                break
            time.sleep(0.02)
        # A policy ends with its device, by itself or by the spawner's hand.
        assert [nodes.link.exited[guest_name(d)] in (0, -9) for d in ("c1d1", "c1d2")] == [True] * 2
        assert all(nodes.link.exited[name] == 0 for name in nodes.nodes)
    assert not nodes.of(Fatal)
    assert not nodes.of(Log)
    trace = generate_trace(bench.scenario, 1)
    every = dict.fromkeys(range(len(trace)), 1)
    for kind in (Born, Dispatched, Arrived, Service, Known):
        assert Counter(r.task for r in nodes.of(kind)) == every, kind  # type: ignore[union-attr]
    assert {r.target for r in nodes.of(Born)} == {"c1d1", "c1d2", "e1"}  # type: ignore[union-attr]
    assert len(nodes.of(Slot)) == 3 * 7
    assert all(p.rtt_s is not None for p in nodes.of(Ping))  # type: ignore[union-attr]
    first = next(r for r in nodes.records["c1d1"] if isinstance(r, Baseline))
    assert set(first.rtt_s) == {"c1d2", "e1"}
    assert not first.unreachable
    assert all(0.0 < rtt < 0.05 for rtt in first.rtt_s.values())


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("rate_mbps", [2.5, 5.0, 10.0])
def test_the_wire_carries_x(bench: Bench, closing: ExitStack, rate_mbps: float) -> None:
    """Bytes that the interface counts, in frames, over the time that the transfer took.

    The median of some transfers, each of which is short: a hypervisor that takes a core away for
    20 ms stops a transfer for as long, which no pacing makes up for.
    """
    from emulation.host.netlink import inside
    from emulation.node.event_loop import Clock, Loop
    from emulation.node.task_sender import Order, Transfers
    from emulation.node.task_server import Unit
    from emulation.node.work import TimedWork
    from model.compute import FrequencyTrace
    from model.scenario import TransferSpec
    from tests.emulation.test_transfer import Ear

    loop, clock, ear = Loop(), Clock(1.0), Ear()
    closing.callback(loop.close)
    clock.start(time.monotonic())
    work = TimedWork(loop, clock, FrequencyTrace((0.0,), (9.0,), 9.0), 224)
    unit = Unit(loop, clock, work, lambda _: None)
    closing.callback(unit.close)
    inside(bench.namespaces["e1"], lambda: unit.listen("10.2.0.1", 5001))
    sender = Transfers(
        loop,
        clock,
        TransferSpec(),
        ear,
        addresses={"e1": "10.2.0.1"},
        own_index=0,
        max_rate_mbps=10.0,
    )
    closing.callback(sender.close)
    sender.port = 5001
    opened: list[str | None] = []
    inside(bench.namespaces["c1d1"], lambda: sender.open("e1", opened.append))
    while not opened:
        loop.step(0.01)
    closing.enter_context(alone())
    task = 0
    for size, count in ((100_000, 7), (400_000, 5)):
        measured = []
        with measuring():
            for _ in range(count):
                before = bench.sent_bytes("c1d1")
                order = Order("e1", 0, task, size, 0.0, rate_mbps)
                begin = clock.now()
                sender.send(order)
                while task not in ear.results:
                    loop.step(0.01)
                assert order.arrived_s is not None
                sent = bench.sent_bytes("c1d1") - before
                measured.append(sent * 8e-6 / (order.arrived_s - begin))
                task += 1
        assert statistics.median(measured) == pytest.approx(rate_mbps, rel=0.02), measured
    assert sender.opened == 1


def test_nodes_have_no_privileges(bench: Bench) -> None:
    with Nodes(bench, f"{POLICIES}:FixedRate") as nodes:
        nodes.spawn()
        nodes.have_all(Ready)
        uids: list[int] = []
        processes = {node.pid: node for node in nodes.nodes.values()}
        assert len(processes) == 2  # the edge's, and that of the cell's devices
        for node in processes.values():
            status = status_of(node.pid)
            for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(status[capabilities], 16) == 0
            assert status["NoNewPrivs"] == "1"
            (uid,) = set(status["Uid"].split() + status["Gid"].split())
            uids.append(int(uid))
            assert status["Groups"] in ("", uid)
            assert status["Seccomp"] == "2"
            assert status["NSpid"].split()[1:] == ["1"]
            assert status["Umask"] == "0077"
            home = Path("/proc/self/ns/net").readlink()
            assert Path(f"/proc/{node.pid}/ns/net").readlink() != home
            assert os.getsid(node.pid) == node.pid
            open_files = [f.readlink() for f in Path(f"/proc/{node.pid}/fd").iterdir()]
            # Standard streams, epoll; and of each device control, server, the pipe to its policy,
            # the one that its sockets come through and its socket for pings.
            assert len(open_files) <= 4 + 2 * 5, open_files
        assert len(set(uids)) == len(uids)
        assert min(uids) >= FIRST


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_do_not_outlive_the_spawner(bench: Bench, number: signal.Signals) -> None:
    with Nodes(bench, "local") as nodes:
        nodes.spawn()
        nodes.have_all(Ready)
        pids = [node.pid for node in nodes.nodes.values()]
        assert all(alive(pid) for pid in pids)
        nodes.process.send_signal(number)
        nodes.process.wait(10)
        deadline = time.monotonic() + 5.0
        while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(alive(pid) for pid in pids)


def test_children_end_when_the_orchestrator_goes(bench: Bench) -> None:
    with Nodes(bench, "local") as nodes:
        nodes.spawn()
        nodes.have_all(Ready)
        node = nodes.nodes["c1d1"]
        node.control.close()
        deadline = time.monotonic() + 5.0
        while "c1d1" not in nodes.link.poll_exits() and time.monotonic() < deadline:
            time.sleep(0.02)
        # They are one process.
        assert nodes.link.exited == {"c1d1": 1, "c1d2": 1}
        pids = [n.pid for n in nodes.nodes.values()]
    assert nodes.process.returncode == 0
    assert not any(alive(pid) for pid in pids)


def test_a_bad_policy_costs_its_own_tasks_only(bench: Bench) -> None:
    with Nodes(bench, f"{POLICIES}:Unruly") as nodes:
        nodes.spawn()
        nodes.run(7.0)
    reasons = {r.reason for r in nodes.of(Failed)}  # type: ignore[union-attr]
    assert reasons == {
        "policy: target 99 is not one of 0 … 2",
        "policy: decide: RuntimeError: no idea (policies_of_tests.py, line 52)",
    }
    assert len(nodes.of(Failed)) + len(nodes.of(Born)) == len(generate_trace(bench.scenario, 1))
    assert {r.text for r in nodes.of(Log)} == {  # type: ignore[union-attr]
        "policy: begin_slot: LookupError: no slot (policies_of_tests.py, line 47)"
    }
    assert len(nodes.of(Bye)) == 3


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        (f"{POLICIES}:Refuses", "policy: reset: ValueError: wrong model file"),
        ("no_such_policy", "there is no policy 'no_such_policy'"),
        ("oracle", "needs the"),
        ("of_a_user:Mine", "Mine is not a rl.policies.base.Policy"),
    ],
)
def test_a_policy_that_cannot_run_says_why(
    bench: Bench, tmp_path: Path, policy: str, complaint: str
) -> None:
    (tmp_path / "of_a_user.py").write_text("class Mine: pass\n", encoding="utf-8")
    tmp_path.chmod(0o700)
    with Nodes(bench, policy, path=str(tmp_path)) as nodes:
        nodes.spawn()
        nodes.collect(3.0)
        texts = [r.text for r in nodes.of(Fatal)]  # type: ignore[union-attr]
        assert len(texts) == 1  # the first device's; its process ends, and so the run
        assert any(complaint in text for text in texts), texts
        assert all(r.user for r in nodes.of(Fatal))  # type: ignore[union-attr]
        assert not any("\n" in text for text in texts)
        exits = nodes.link.poll_exits()
        assert {k: v for k, v in exits.items() if k in nodes.nodes} == {"c1d1": 2, "c1d2": 2}


@pytest.mark.timing
def test_an_overloaded_edge_passes_tasks_on_to_the_cloud() -> None:
    overloaded = scenario(
        1,
        5,
        cloud=CloudSpec(mode="overflow", overflow_queue_s=0.5),
        compute=ComputeSpec(edge_ghz=0.5),
    )
    with Bench(overloaded) as bench, Nodes(bench, f"{POLICIES}:FixedRate") as nodes:
        nodes.spawn()
        with measuring():
            nodes.run(12.0)
    assert not nodes.of(Log)
    forwarded = [r for r in nodes.records["cloud"] if isinstance(r, Service)]
    assert forwarded
    known = Counter(r.task for r in nodes.of(Known))  # type: ignore[union-attr]
    assert set(known.values()) == {1}
    assert {r.task for r in forwarded} <= set(known)
    served = Counter(r.task for r in nodes.of(Service))  # type: ignore[union-attr]
    assert set(served.values()) == {1}
    assert set(build_network(overloaded).nodes) >= {"cloud", "core"}

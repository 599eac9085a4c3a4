"""The calibration's own small network, its agents, and what watches it: samples and captures."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emulation.host import netlink, processes
from emulation.host.commands import ProcessError
from emulation.host.idle_cpu import CpuWatch
from emulation.host.ledger import Ledger
from emulation.network.fabric import FABRIC, Fabric, process_environment
from emulation.options import RunOptions
from emulation.orchestrator.deployment import PROJECT, Machinery
from emulation.protocol.json_channel import Channel
from metrics.packets import Packets, read_packets
from model.addressing import host_ip, interface_name
from model.aliases import FloatArray
from model.network import Link
from model.rates import transmission_s
from model.scenario import BaseStationSpec, ClusterSpec, NetworkSpec, Scenario, WorkloadSpec

SCENARIO = Scenario(
    name="calibration",
    description="One link of every class, on paths of one and two switches.",
    network=NetworkSpec(
        base_stations=tuple(BaseStationSpec(name=f"bs{k}", edge=f"e{k}") for k in (1, 2)),
        clusters=(ClusterSpec(name="c1", bs="bs1", devices=2),),
    ),
    workload=WorkloadSpec(tasks_per_epoch=1, work_ghz_s=1, data_mb=1),
)
"""The paper's rates: E2D 10 Mbps, access and E2E 30 Mbps."""

_SAMPLE_EVERY_S = 0.02
_LEAST_LOOKS = 5
_LEAF = 0x00100000
_START_TIMEOUT_S = 20.0
_TCPDUMP = ["tcpdump", "-n", "-s", "64", "-B", "4096", "-Z", "root"]
_TCPDUMP += ["--time-stamp-precision=nano", "--immediate-mode", "-Q", "out"]
"""Immediate: else the kernel hands packets over a block at a time, and keeps the last one. ``-Q``:
the filter ``outbound`` loses what comes before the first block is full or a second old."""
_SETTLE_S = 0.1


@dataclass(slots=True)
class Samples:
    """What the queues and hosts said over time.

    Attributes:
        time_s: CLOCK_MONOTONIC of each look.
        backlog, sent: link → bytes waiting, bytes that have left so far, one per look.
        received: host → bytes its eth0 has received so far, one per look.
        host_time_s: CLOCK_MONOTONIC of each look at the hosts, a moment after the queues'.
        idle: idle share of all cores in each whole second.
    """

    time_s: list[float] = field(default_factory=list)
    host_time_s: list[float] = field(default_factory=list)
    backlog: dict[str, list[int]] = field(default_factory=dict)
    sent: dict[str, list[int]] = field(default_factory=dict)
    received: dict[str, list[int]] = field(default_factory=dict)
    idle: list[float] = field(default_factory=list)

    def busy(self, link: str, least_bytes: int = 30_000) -> tuple[float, float] | None:
        """The longest stretch of time in which the link always had so much to send, s."""
        time_s = np.asarray(self.time_s)
        full = np.asarray(self.backlog[link]) >= least_bytes
        edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(int)))
        runs = [(a, b - 1) for a, b in edges.reshape(-1, 2) if b - a >= 3]
        if not runs:
            return None
        begin, end = max(runs, key=lambda r: time_s[r[1]] - time_s[r[0]])
        return float(time_s[begin]), float(time_s[end])

    def rate_mbps(self, link: str, host: str, begin_s: float, end_s: float) -> tuple[float, float]:
        """What left the link, and what the host received, Mbps: slopes of the counters."""
        return (
            _slope(self.time_s, self.sent[link], begin_s, end_s),
            _slope(self.host_time_s, self.received[host], begin_s, end_s),
        )

    def wait(self, link: Link, time_s: FloatArray) -> FloatArray:
        """V_l/c_l at some times, s; 0 for a cable without a queue."""
        if link.spec is None:
            return np.zeros_like(time_s)
        backlog = np.interp(time_s, self.time_s, self.backlog[link.name])
        return transmission_s(np.asarray(backlog, dtype=np.float64), link.spec.rate_mbps)


def _slope(time_s: list[float], total_bytes: list[int], begin_s: float, end_s: float) -> float:
    # A fit rather than a difference: single looks are late where the processor is busy.
    time, total = np.asarray(time_s), np.asarray(total_bytes, dtype=np.float64)
    mine = (time >= begin_s) & (time <= end_s)
    if mine.sum() < _LEAST_LOOKS:
        return float("nan")
    return float(np.polyfit(time[mine] - begin_s, total[mine], 1)[0] * 8e-6)


class Watch:
    """Looks at all queues and hosts every 20 ms, in a thread."""

    def __init__(self, fabric: Fabric, hosts: list[str]):
        self._queues = netlink.open_netlink(fabric.namespaces[FABRIC])
        self._hosts = {h: _open_counters(fabric.namespaces[h]) for h in hosts}
        index = {m.get_attr("IFLA_IFNAME"): m["index"] for m in self._queues.get_links()}
        self._links = {index[interface_name(*k.split(">"))]: k for k in fabric.shapes}

    @contextmanager
    def watching(self) -> Iterator[Samples]:
        """Sample for the length of a ``with`` block."""
        samples, stop = Samples(), threading.Event()
        self._look(samples)  # of an idle network still: totals are counted from here
        with ThreadPoolExecutor(1, thread_name_prefix="watch") as pool:
            watched = pool.submit(self._watch, samples, stop)
            try:
                yield samples
            finally:
                stop.set()
            watched.result()

    def close(self) -> None:
        """Close the sockets."""
        self._queues.close()
        for counters in self._hosts.values():
            os.close(counters)

    def _watch(self, samples: Samples, stop: threading.Event) -> None:
        cpu, second = CpuWatch(), time.monotonic() + 1.0
        while not stop.wait(_SAMPLE_EVERY_S):
            self._look(samples)
            if time.monotonic() >= second:
                samples.idle.append(cpu.idle_share())
                second += 1.0
        self._look(samples)
        if not samples.idle:
            samples.idle.append(cpu.idle_share())

    def _look(self, samples: Samples) -> None:
        begin = time.monotonic()
        for message in self._queues.get_qdiscs():
            if message["handle"] != _LEAF or message["index"] not in self._links:
                continue
            link, stats = self._links[message["index"]], message.get_attr("TCA_STATS2")
            queue, basic = stats.get_attr("TCA_STATS_QUEUE"), stats.get_attr("TCA_STATS_BASIC")
            samples.backlog.setdefault(link, []).append(queue["backlog"])
            samples.sent.setdefault(link, []).append(basic["bytes"])
        end = time.monotonic()
        for host, counters in self._hosts.items():
            samples.received.setdefault(host, []).append(_received(counters))
        samples.time_s.append((begin + end) / 2)
        samples.host_time_s.append((end + time.monotonic()) / 2)


def _open_counters(namespace: str) -> int:
    # An open file stays with the namespace in which it was opened, and reading it costs a
    # hundredth of what decoding the same counters from netlink does.
    return netlink.inside(namespace, lambda: os.open("/proc/thread-self/net/dev", os.O_RDONLY))


def _received(counters: int) -> int:
    text = os.pread(counters, 4096, 0).decode()
    return int(text.partition("eth0:")[2].split()[0])


class Rig:
    """The network, an agent in every host, and the watch; ``close`` ends them all.

    Attributes:
        network: the graph with its ideal rates.
        fabric: what was built of it.
        watch: its queues.
    """

    def __init__(self, options: RunOptions, ledger: Ledger):
        self._ledger = ledger
        self._machinery = Machinery(options, ledger)
        self.network, self.fabric = self._machinery.network, self._machinery.fabric
        self._children: list[subprocess.Popen[bytes]] = []
        self._agents: dict[str, Channel] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._count = 0
        self.watch: Watch

    def build(self, prepare: Callable[[Fabric], None] | None = None) -> None:
        """Bring everything up; ``prepare`` may spoil the fabric, to see that it is noticed.

        Raises ``UserError`` or ``RunError``; what was made is in the ledger.
        """
        self._machinery.bring_network_up()
        if prepare is not None:
            prepare(self.fabric)
        for node in self.network.units:
            self._start_agent(node.name)
        for name, agent in self._agents.items():
            try:
                agent.receive(_START_TIMEOUT_S)
            except (TimeoutError, ConnectionError) as error:
                raise self._silent(name, _START_TIMEOUT_S, error) from error
        self.watch = Watch(self.fabric, [n.name for n in self.network.units])

    def address(self, host: str) -> str:
        """IPv4 address of a host."""
        return host_ip(self.network, self.network.nodes[host])

    def ask(self, host: str, do: str, **values: object) -> tuple[str, int]:
        """Ask an agent for something; the answer is waited for with ``answer``."""
        self._count += 1
        self._agents[host].send({"do": do, "id": self._count, **values})
        return host, self._count

    def answer(self, asked: tuple[str, int], timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait for an agent's answer. Raises ``ProcessError`` if it has failed or is late."""
        host, number = asked
        try:
            while number not in self._answers:
                got = self._agents[host].receive(timeout_s)
                self._answers[got["id"]] = got
        except (TimeoutError, ConnectionError) as error:
            raise self._silent(host, timeout_s, error) from error
        answer = self._answers.pop(number)
        if answer.get("error"):
            raise ProcessError(f"the calibration's agent of {host}", "failed", str(answer["error"]))
        return answer

    @contextmanager
    def capture(self, link: str) -> Iterator[Packets]:
        """Capture the packets that leave a link; they are there when the block has ended."""
        interface = interface_name(*link.split(">"))
        path = self._ledger.directory / f"{interface}.pcap"
        log = self._ledger.directory / f"{interface}.tcpdump.log"
        log.unlink(missing_ok=True)
        child = processes.start(
            [*_TCPDUMP, "-i", interface, "-w", str(path)],
            environment=process_environment(self._ledger),
            log=log,
            namespace=self.fabric.namespaces[FABRIC],
        )
        packets = Packets()
        try:
            _await_listening(child, log)
            # Where the monotonic clock's zero lies; slewing moves it by 0.5 ms a second at most.
            offset_s = time.time() - time.monotonic()
            yield packets
            time.sleep(_SETTLE_S)
        finally:
            processes.stop(child)
        read_packets(path, offset_s, packets)
        path.unlink()

    def drain(self, limit_s: float = 10.0) -> None:
        """Wait until every queue is empty."""
        deadline = time.monotonic() + limit_s
        with self.watch.watching() as samples:
            while time.monotonic() < deadline:
                time.sleep(2.5 * _SAMPLE_EVERY_S)
                if samples.time_s and not any(b[-1] for b in samples.backlog.values()):
                    return

    def close(self) -> None:
        """End every process; safe however far ``build`` came."""
        if hasattr(self, "watch"):
            self.watch.close()
        for agent in self._agents.values():
            agent.close()
        for child in self._children:
            processes.stop(child)
        self._machinery.tear_down()

    def _start_agent(self, host: str) -> None:
        units = {n.name: self.address(n.name) for n in self.network.units if n.name != host}
        ours, theirs = socket.socketpair()
        module = "emulation.calibration.agent"
        with theirs:
            arguments = [self.address(host), json.dumps(units), str(theirs.fileno())]
            child = processes.start(
                [sys.executable, "-m", module, *arguments],
                environment={**process_environment(self._ledger), "PYTHONPATH": str(PROJECT)},
                log=self._log_path(host),
                namespace=self.fabric.namespaces[host],
                pass_fds=[theirs.fileno()],
            )
        self._children.append(child)
        self._agents[host] = Channel(host, ours)

    def _silent(self, host: str, timeout_s: float, error: Exception) -> ProcessError:
        """The error of an agent that has gone or does not answer, with the end of its log."""
        late = isinstance(error, TimeoutError)
        how = f"did not answer within {timeout_s:g} s" if late else "ended before it answered"
        lines = self._log(host).strip().splitlines()
        return ProcessError(f"the calibration's agent of {host}", how, lines[-1] if lines else "")

    def _log_path(self, host: str) -> Path:
        return self._ledger.directory / f"agent-{host}.log"

    def _log(self, host: str) -> str:
        path = self._log_path(host)
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""


def _await_listening(child: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while b"listening on" not in log.read_bytes():
        processes.check_alive(child, "tcpdump", log)
        if time.monotonic() > deadline:
            raise ProcessError("tcpdump", f"did not begin to listen within {_START_TIMEOUT_S:g} s")
        time.sleep(0.01)

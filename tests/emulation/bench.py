"""Hosts joined by a bridge, and nodes on them: a small network without Open vSwitch."""

from __future__ import annotations

import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from emulation.host.uids import FIRST
from emulation.orchestrator.briefer import Briefer
from emulation.orchestrator.cells import cells
from emulation.orchestrator.spawner_client import Spawned, SpawnerLink
from emulation.protocol import orders
from emulation.protocol.messages import Baseline, Bye, Fatal, NodeConfig, Ready, Record, from_list
from emulation.sandbox.policy_files import is_users
from model.addressing import host_ip
from model.network import Network, Node, build_network
from model.scenario import Scenario
from model.workload import generate_trace

_COUNT = itertools.count()
_SYSCTLS = {
    "ping_group_range": "0 2147483647",
    "tcp_slow_start_after_idle": "0",
    "tcp_no_metrics_save": "1",
    "tcp_autocorking": "0",
    "tcp_early_retrans": "0",
    "tcp_rmem": "4096 16777216 16777216",
    "tcp_wmem": "4096 16777216 16777216",
}


def run(*command: str) -> str:
    """Run a command, raising with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


class Bench:
    """A namespace with a bridge, and one per host; each host's link is HTB-shaped both ways."""

    def __init__(self, scenario: Scenario, rate_mbps: float = 30.0):
        self.scenario = scenario
        self.network: Network = build_network(scenario)
        self._tag = f"t{os.getpid()}x{next(_COUNT)}"
        self.namespaces = {n.name: f"{self._tag}-{n.name}" for n in self.network.units}
        self._rate = rate_mbps

    def __enter__(self) -> Bench:
        run("ip", "netns", "add", self._tag)
        run("ip", "-n", self._tag, "link", "add", "br0", "up", "type", "bridge")
        for node in self.network.units:
            self._host(node.name, host_ip(self.network, node))
        return self

    def __exit__(self, *_: object) -> None:
        for name in (*self.namespaces.values(), self._tag):
            subprocess.run(["ip", "netns", "del", name], check=False)

    def _host(self, name: str, address: str) -> None:
        ns, port = self.namespaces[name], f"p-{name}"
        run("ip", "netns", "add", ns)
        run(*f"ip -n {self._tag} link add {port} up type veth peer name eth0 netns {ns}".split())
        run(*f"ip -n {self._tag} link set {port} master br0".split())
        for where, interface in ((ns, "eth0"), (self._tag, port)):
            off = "tx off tso off gso off gro off"
            run(*f"ip netns exec {where} ethtool -K {interface} {off}".split())
            shape = f"tc -n {where} qdisc add dev {interface} root handle 1: htb default 1"
            run(*shape.split())
            leaf = f"parent 1: classid 1:1 htb rate {self._rate}mbit quantum 1514"
            run(*f"tc -n {where} class add dev {interface} {leaf}".split())
            run(*f"tc -n {where} qdisc add dev {interface} parent 1:1 bfifo limit 4000000".split())
        run(*f"ip -n {ns} link set eth0 up gso_max_segs 1".split())
        run(*f"ip -n {ns} link set lo up".split())
        run(*f"ip -n {ns} addr add {address}/8 dev eth0".split())
        windows = "initcwnd 3000 initrwnd 3000 rto_min 5s congctl cubic"
        run(*f"ip -n {ns} route replace 10.0.0.0/8 dev eth0 {windows}".split())
        settings = [f"net.ipv4.{key}={value}" for key, value in _SYSCTLS.items()]
        run("ip", "netns", "exec", ns, "sysctl", "-qw", *settings)

    def sent_bytes(self, name: str) -> int:
        """Bytes that a host has put on its wire, in Ethernet frames."""
        text = run("ip", "-n", self.namespaces[name], "-s", "-j", "link", "show", "eth0")
        return int(json.loads(text)[0]["stats64"]["tx"]["bytes"])


class Nodes:
    """A spawner and its nodes; collects their records."""

    def __init__(
        self,
        bench: Bench,
        policy: str,
        *,
        speedup: float = 1.0,
        path: str = "",
        apart: bool = False,
    ):
        self._apart = apart
        ours, theirs = socket.socketpair()
        root = Path(__file__).resolve().parents[2]
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "emulation.sandbox.spawner",
                    "--control-fd",
                    str(theirs.fileno()),
                ],
                pass_fds=[theirs.fileno()],
                cwd="/",
                env={"PYTHONPATH": os.pathsep.join(filter(None, [str(root), path]))},
            )
        self.link = SpawnerLink(ours)
        self._bench, self._policy, self._speedup = bench, policy, speedup
        self.nodes: dict[str, Spawned] = {}
        self.records: dict[str, list[Record]] = {}
        self._buffers: dict[str, bytes] = {}
        self.spawn_s = 0.0

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()
        for node in self.nodes.values():
            node.control.close()
        self.process.wait(10)

    def config(self, node: Node) -> NodeConfig:
        """What the spawner is told of a node."""
        network = self._bench.network
        uid = FIRST + network.units.index(node)
        return NodeConfig(
            name=node.name,
            policy=self._policy if node.kind == "device" else "",
            guest=node.kind == "device" and is_users(self._policy),
            checkpoint="",
            netns=f"/run/netns/{self._bench.namespaces[node.name]}",
            uid=uid,
            gid=uid,
        )

    def spawn(self) -> None:
        """Make all nodes."""
        self.link.wait_ready()
        scenario, network = self._bench.scenario, self._bench.network
        briefer = Briefer(scenario, network, generate_trace(scenario, 1), 1, self._speedup)
        begin = time.monotonic()
        processes = [
            [(self.config(n), briefer.brief(n.name, self._policy, {})) for n in units]
            for units in cells(network, apart=self._apart)
        ]
        for node in self.link.spawn(processes):
            self.nodes[node.name] = node
            self.records[node.name], self._buffers[node.name] = [], b""
        self.spawn_s = time.monotonic() - begin

    def order(self, order: orders.Order) -> None:
        """Give all nodes an order."""
        for node in self.nodes.values():
            node.control.sendall(msgspec.json.encode(order) + b"\n")

    def collect(self, seconds: float) -> None:
        """Read records for some time, or until all nodes have closed their channels."""
        deadline = time.monotonic() + seconds
        fds = {n.control: name for name, n in self.nodes.items() if n.control.fileno() >= 0}
        while fds and (left := deadline - time.monotonic()) > 0:
            for control in select.select(list(fds), [], [], left)[0]:
                name = fds[control]
                data = control.recv(1 << 20)
                if not data:
                    del fds[control]
                    control.close()
                self._buffers[name] += data
                *lines, self._buffers[name] = self._buffers[name].split(b"\n")
                self.records[name] += [from_list(json.loads(line)) for line in lines]

    def have_all(self, kind: type[Record], seconds: float = 20.0) -> None:
        """Collect until every node has sent a record of a kind, or a fatal one."""
        deadline = time.monotonic() + seconds
        while not all(
            any(isinstance(r, (kind, Fatal)) for r in rs) for rs in self.records.values()
        ):
            assert time.monotonic() < deadline, {name: rs[-1:] for name, rs in self.records.items()}
            self.collect(0.05)

    def of(self, kind: type[Record]) -> list[Record]:
        """All records of a kind."""
        return [r for rs in self.records.values() for r in rs if isinstance(r, kind)]

    def run(self, seconds: float) -> None:
        """From ready to bye, with so many real seconds between start and stop."""
        self.have_all(Ready)
        self.order(orders.MeasurePaths())
        self.have_all(Baseline)
        self.order(orders.Begin(time.monotonic() + 0.2))
        self.collect(0.2 + seconds)
        self.order(orders.End())
        self.have_all(Bye)

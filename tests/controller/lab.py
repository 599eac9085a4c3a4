"""A throw-away network for the controller: a fabric namespace with its own Open vSwitch, and hosts.

Links are plain veth pairs, without queues: what is tested is who reaches whom.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import netns

from model.addressing import GATEWAY_IP, GATEWAY_MAC, datapath_id, host_ip, host_mac, port_number
from model.controller_messages import Command, encode
from model.network import Network, build_network
from model.scenario import Scenario

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


def sh(*command: str, **options: Any) -> str:
    """Run a command; raises with all it said if it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, timeout=60, **options
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Lab:
    """Network namespaces of a test; ``close`` removes all of it."""

    def __init__(self) -> None:
        self.prefix = f"ctl{uuid.uuid4().hex[:6]}"
        self._namespaces: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.fabric = self.namespace("fabric")

    def namespace(self, name: str) -> str:
        full = f"{self.prefix}-{name}"
        self._namespaces.append(full)
        sh("ip", "netns", "add", full)
        sh("ip", "-n", full, "link", "set", "lo", "up")
        # Otherwise every interface says hello to its neighbours, and the counts say so.
        quiet = "net.ipv6.conf.default.disable_ipv6=1"
        sh("nsenter", f"--net=/run/netns/{full}", "--", "sysctl", "-qw", quiet)
        return full

    def spawn(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        inside = ["nsenter", f"--net=/run/netns/{self.fabric}", "--", *command]
        child = subprocess.Popen(inside, **options)
        self._processes.append(child)
        return child

    def close(self) -> None:
        for child in reversed(self._processes):
            child.kill()
            child.wait()
        for name in self._namespaces:
            sh("ip", "netns", "del", name)


class ShapedLab(Lab):
    """The shaped interfaces of a network and nothing else, 1 Mbps and 50 kB each."""

    def __init__(self, graph: Network):
        super().__init__()
        ip, tc = [], []
        for link in graph.shaped_links:
            name, peer = f"{link.source}-{link.target}", f"{link.target}-{link.source}"
            if link.source < link.target:
                ip.append(f"link add {name} up type veth peer name {peer}")
                ip.append(f"link set {peer} up")
            tc.append(f"qdisc add dev {name} root handle 1: htb default 1")
            shape = "rate 1mbit burst 1600 cburst 1600"
            tc.append(f"class add dev {name} parent 1: classid 1:1 htb {shape}")
            tc.append(f"qdisc add dev {name} parent 1:1 handle 10: bfifo limit 50000")
        ip.append("addr add 10.9.0.1/24 dev c1d1-bs1")
        ip.append("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev c1d1-bs1")
        sh("ip", "-n", self.fabric, "-batch", "-", input="\n".join(ip) + "\n")
        sh("tc", "-n", self.fabric, "-batch", "-", input="\n".join(tc) + "\n")

    def inside(self, work: Callable[[], T]) -> T:
        """Call ``work`` in a thread that has entered the fabric."""

        def enter_and_work() -> T:
            netns.setns(self.fabric, flags=0)
            return work()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(enter_and_work).result()


class Controller:
    """The controller's process and the other end of its events' socket."""

    def __init__(
        self,
        lab: Lab,
        scenario: Scenario,
        folder: Path,
        library: str,
        arp: str = "off",
        more: Sequence[str] = (),
    ):
        file = folder / "resolved.json"
        file.write_text(scenario.model_dump_json())
        self._socket, theirs = socket.socketpair()
        self.log = folder / f"controller-{library}.log"
        words = ["--scenario", str(file), "--openflow", library, "--arp", arp, *more]
        with theirs, self.log.open("wb") as log:
            self.process = lab.spawn(
                sys.executable, "-m", "controller.process", *words,
                "--events-fd", str(theirs.fileno()),
                pass_fds=[theirs.fileno()], cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip
        self._unread = b""
        self.events: list[dict[str, Any]] = []

    def send(self, command: Command) -> None:
        self._socket.sendall(encode(command))

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close_socket(self) -> None:
        self._socket.close()

    def wait_for(self, event: str, within_s: float = 15.0, **fields: Any) -> dict[str, Any]:
        """The next event of a kind with these fields; others before it are kept in ``events``."""
        deadline = time.monotonic() + within_s
        while True:
            while b"\n" in self._unread:
                line, self._unread = self._unread.split(b"\n", 1)
                found: dict[str, Any] = json.loads(line)
                self.events.append(found)
                if found["type"] == event and fields.items() <= found.items():
                    return found
            ready, _, _ = select.select([self._socket], [], [], deadline - time.monotonic())
            data = self._socket.recv(1 << 16) if ready else b""
            if not data:
                raise AssertionError(f"no {event} {fields}: {self.events}\n{self.log.read_text()}")
            self._unread += data

    def end(self, number: int | None = None) -> int:
        """Wait for the end, after a signal if one is given; returns the status."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(10)

    def stop(self) -> None:
        status = self.end(signal.SIGTERM)
        assert status == 0, self.log.read_text()


class SwitchedLab(Lab):
    """A whole network of a scenario with a private Open vSwitch; ``arp``: hosts that must ask."""

    def __init__(self, scenario: Scenario, folder: Path, *, arp: bool = False):
        super().__init__()
        self.network: Network = build_network(scenario)
        self._folder, self._arp = folder, arp
        self._ports: dict[str, dict[str, int]] = {s.name: {} for s in self.network.switches}
        self.hosts: dict[str, str] = {}
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        for node in self.network.units:
            self._add_host(node.name)
        done: set[str] = set()
        for link in self.network.links.values():
            ends = (link.source, link.target)
            if link.cable in done or not self._ports.keys() >= set(ends):
                continue
            done.add(link.cable)
            a, b = f"{ends[0]}-{ends[1]}", f"{ends[1]}-{ends[0]}"
            sh("ip", "-n", self.fabric, "link", "add", a, "up", "type", "veth", "peer", "name", b)
            sh("ip", "-n", self.fabric, "link", "set", b, "up")
            self._ports[ends[0]][a] = port_number(self.network, *ends)
            self._ports[ends[1]][b] = port_number(self.network, *reversed(ends))
        self._start_switches()

    def _add_host(self, host: str) -> None:
        node = self.network.nodes[host]
        (switch,) = self.network.graph.successors(host)
        inside, port = self.namespace(host), f"{switch}-{host}"
        self.hosts[host] = inside
        self._ports[switch][port] = port_number(self.network, switch, host)
        mac = host_mac(self.network, node)
        sh("ip", "-n", self.fabric, "link", "add", port, "up", "type", "veth", "peer",
           "name", "eth0", "address", mac, "netns", inside)  # fmt: skip
        length = 8 if self._arp else 32
        lines = ["link set eth0 up", f"addr add {host_ip(self.network, node)}/{length} dev eth0"]
        if not self._arp:
            lines += [
                f"neigh add {GATEWAY_IP} lladdr {GATEWAY_MAC} dev eth0 nud permanent",
                f"route add {GATEWAY_IP}/32 dev eth0 scope link",
                f"route add default via {GATEWAY_IP} dev eth0",
            ]
        sh("ip", "-n", inside, "-batch", "-", input="\n".join(lines) + "\n")

    def _start_switches(self) -> None:
        folder = self._folder / "ovs"
        folder.mkdir()
        names = ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")
        self._environment = {**os.environ, **dict.fromkeys(names, str(folder))}
        sh("ovsdb-tool", "create", str(folder / "conf.db"), SCHEMA, env=self._environment)
        quiet = {"env": self._environment, "stderr": subprocess.DEVNULL}
        remote = f"--remote=punix:{folder / 'db.sock'}"
        self.spawn("ovsdb-server", str(folder / "conf.db"), remote, "--no-chdir", **quiet)
        while not (folder / "db.sock").exists():
            time.sleep(0.01)
        self.vsctl("--no-wait", "init")
        self._daemon = self.spawn(
            "ovs-vswitchd", f"unix:{folder / 'db.sock'}", "--no-chdir", **quiet
        )
        self.vsctl(*[word for switch in self._ports for word in self.bridge(switch)])

    def bridge(self, switch: str) -> list[str]:
        """The words of ovs-vsctl that make a switch with all of its ports."""
        identity = datapath_id(self.network, self.network.nodes[switch])
        words = ["--", "add-br", switch, "--", "set", "bridge", switch, "datapath_type=netdev"]
        words += ["fail_mode=secure", "protocols=OpenFlow13"]
        words += [f"other-config:datapath-id={identity:016x}"]
        words += ["--", "set-controller", switch, "tcp:127.0.0.1:6653"]
        words += ["--", "set", "controller", switch, "max_backoff=1000"]
        for port, number in self._ports[switch].items():
            words += ["--", "add-port", switch, port]
            words += ["--", "set", "interface", port, f"ofport_request={number}"]
        return words

    def vsctl(self, *words: str) -> str:
        database = f"--db=unix:{self._folder / 'ovs' / 'db.sock'}"
        return sh("ovs-vsctl", database, "--timeout=20", *words, env=self._environment)

    def kill_switches(self) -> None:
        """End Open vSwitch without a word."""
        self._daemon.kill()

    def flows(self, switch: str, match: str) -> str:
        """The flows of a switch that fit, as Open vSwitch prints them, with names of ports."""
        return self._ofctl(switch, "dump-flows", match)

    def add_flow(self, switch: str, flow: str) -> None:
        """Add a flow behind the controller's back."""
        self._ofctl(switch, "add-flow", flow)

    def _ofctl(self, switch: str, command: str, what: str) -> str:
        socket_ = str(self._folder / "ovs" / f"{switch}.mgmt")
        words = ["ovs-ofctl", "-O", "OpenFlow13", "--names", command, f"unix:{socket_}", what]
        return sh(*words, env=self._environment)

    def set_cable(self, a: str, b: str, *, up: bool) -> None:
        sh("ip", "-n", self.fabric, "link", "set", f"{a}-{b}", "up" if up else "down")

    def ping(self, source: str, target: str, *options: str) -> bool:
        """Whether a ping from one host to another is answered within a second."""
        address = host_ip(self.network, self.network.nodes[target])
        inside = ["nsenter", f"--net=/run/netns/{self.hosts[source]}", "--"]
        done = subprocess.run(
            [*inside, "ping", "-c1", "-W1", *options, address], capture_output=True
        )
        return done.returncode == 0

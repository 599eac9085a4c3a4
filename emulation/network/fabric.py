"""The emulated network of a run, built from a Mininet ``Topo`` by netlink.

All switch interfaces and all shaped queues live in one namespace, the *fabric*, with Open vSwitch
and the controller; every host has a namespace of its own with one interface, ``eth0``, and nothing
else. A cable between a and b is two pairs of interfaces with a joint in the middle:

    a ══ b-a ─copy→ a-b ══ b        queue of a>b: where packets leave a-b
    a ══ b-a ←copy─ a-b ══ b        queue of b>a: where packets leave b-a

where ``a ══`` is a host's ``eth0`` or a switch's port ``p-a-b``. So every queue stands in the
network and belongs to no sender's socket; see ``shaping.pass_on`` for why that matters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mininet.topo import Topo

from emulation.host import netlink, sysctls
from emulation.host.iproute import Batch
from emulation.host.ledger import Ledger
from emulation.network import shaping
from emulation.network.openvswitch import Bridge, Datapath, OpenVSwitch
from emulation.network.shaping import Shape
from model.addressing import GATEWAY_IP, GATEWAY_MAC, interface_name
from model.network import Link

FABRIC = "fabric"
_INITIAL_WINDOW_SEGMENTS = 3000
"""A transfer is paced at its rate from the first packet on, as the model says; slow start would add
its own delays. 3000 segments of 1448 bytes also cover the default buffer of a link."""

_MIN_RETRANSMISSION_TIMEOUT_MS = 5000
"""A link's default buffer holds 3.2 s at 10 Mbps. A timer shorter than that takes a queue that has
grown for a loss. A loss is found by duplicate acknowledgements, where packets of the same transfer
arrive after it. Where none does, the last packets of a transfer above all, only this timer finds
it: ``sysctls`` switches tail-loss probes off, which would send a tail again that only waits. The
timer is real time: at speed-up k such a task loses at least 5·k s of scenario time."""


@dataclass(frozen=True, slots=True)
class Cable:
    """One link of the ``Topo``: both ends, their port numbers and Mininet's options."""

    ends: tuple[str, str]
    ports: tuple[int, int]
    options: dict[str, Any]

    def shape(self, speedup: float) -> Shape | None:
        """The queue of each direction; at speed-up k buffers hold 1/k of the bytes."""
        if "bw" not in self.options:
            return None
        delay = str(self.options.get("delay", "0ms"))
        return Shape(
            rate_mbps=float(self.options["bw"]),
            buffer_bytes=round(self.options.get("buffer_bytes", 4_000_000) / speedup),
            delay_ms=float(delay.removesuffix("ms")) / speedup,
            loss_percent=float(self.options.get("loss", 0.0)),
        )


def cables(topo: Topo) -> Iterator[Cable]:
    """The links of a ``Topo`` in their order."""
    for a, b, info in topo.links(withInfo=True):
        yield Cable((a, b), (info.get("port1", 0), info.get("port2", 0)), info)


class Fabric:
    """Builds the network and answers where its parts are.

    Attributes:
        namespaces: node name → namespace, for every host, and ``fabric``.
        shapes: directed link name → its queue.
    """

    def __init__(self, topo: Topo, ledger: Ledger, datapath: Datapath, speedup: float = 1.0):
        self._topo, self._ledger, self._datapath = topo, ledger, datapath
        self._speedup = speedup
        self.namespaces = ledger.create_namespaces([FABRIC])
        self.shapes: dict[str, Shape] = {}
        self._fabric = self.namespaces[FABRIC]
        self._ports: dict[str, dict[str, int]] = {s: {} for s in topo.switches()}
        self.switch = OpenVSwitch(
            Path(ledger.directory, "ovs"), self._fabric, process_environment(ledger)
        )
        sysctls.write(self._fabric, {}, sysctls.OFF_IN_FABRIC)
        ip = Batch("ip", self._fabric)
        ip.add("link set lo up")
        ip.run()

    def build(self) -> None:
        """Build and verify everything.

        Raises ``UserError`` or ``RunError``; the ledger has what was made.
        """
        self.switch.start()
        self.namespaces |= self._ledger.create_namespaces(self._topo.hosts())
        self._build_cables()
        with ThreadPoolExecutor(max_workers=4, thread_name_prefix="host") as pool:
            for done in [pool.submit(self._configure_host, h) for h in self._topo.hosts()]:
                done.result()
        bridges = [
            Bridge(name, self._topo.nodeInfo(name)["dpid"], self._ports[name])
            for name in self._topo.switches()
        ]
        self.switch.configure(bridges, self._datapath)
        # Last: what is read back now is what the run will have.
        self._verify_shapes()

    def _build_cables(self) -> None:
        ip, tc = Batch("ip", self._fabric), Batch("tc", self._fabric)
        interfaces: list[str] = []
        for cable in cables(self._topo):
            interfaces += self._add_cable(cable, ip, tc)
        ip.run()
        netlink.switch_offloads_off(self._fabric, interfaces)
        tc.run()

    def _add_cable(self, cable: Cable, ip: Batch, tc: Batch) -> list[str]:
        """Add what makes a cable to the batches; returns its interfaces in the fabric."""
        (a, b), wanted = cable.ends, cable.shape(self._speedup)
        for end, port, other in ((a, cable.ports[0], b), (b, cable.ports[1], a)):
            if self._topo.isSwitch(end):
                self._ports[end][port_name(end, other)] = port
        if wanted is None:
            return self._add_ideal_cable(a, b, ip)
        names = []
        for source, target in ((a, b), (b, a)):
            queue = interface_name(source, target)
            names += [queue, *self._attach(queue, end=target, other=source, ip=ip)]
            self.shapes[f"{source}>{target}"] = wanted
            shaping.shape(tc, queue, wanted)
            shaping.pass_on(tc, queue, interface_name(target, source))
        return names

    def _add_ideal_cable(self, a: str, b: str, ip: Batch) -> list[str]:
        """A host's cable without a queue: straight into the switch."""
        host, switch = (a, b) if self._topo.isSwitch(b) else (b, a)
        name = port_name(switch, host)
        self._attach(name, end=host, other=switch, ip=ip)
        return [name]

    def _attach(self, interface: str, *, end: str, other: str, ip: Batch) -> list[str]:
        """A pair of ``interface`` and what is at ``end``: a host's eth0, or a port of a switch.

        Returns the further interface of the fabric, if there is one.
        """
        if self._topo.isSwitch(end):
            port = port_name(end, other)
            ip.add(f"link add {interface} up type veth peer name {port}")
            ip.add(f"link set {port} up")
            return [port]
        mac, namespace = self._topo.nodeInfo(end)["mac"], self.namespaces[end]
        peer = f"name eth0 address {mac} netns {namespace}"
        ip.add(f"link add {interface} up type veth peer {peer}")
        return []

    def _configure_host(self, host: str) -> None:
        """Addresses, the one route, the one neighbour, and the settings of TCP."""
        namespace = self.namespaces[host]
        sysctls.write(namespace, sysctls.NEEDED_IN_HOSTS, sysctls.OFF_IN_HOSTS)
        netlink.switch_offloads_off(namespace, ["eth0"])
        address = self._topo.nodeInfo(host)["ip"].split("/")[0]
        windows = f"initcwnd {_INITIAL_WINDOW_SEGMENTS} initrwnd {_INITIAL_WINDOW_SEGMENTS}"
        windows += f" rto_min {_MIN_RETRANSMISSION_TIMEOUT_MS}ms"
        ip = Batch("ip", namespace)
        ip.add("link set lo up")
        # One packet at a time: the kernel would send a paced flow's bytes in bursts of up to 64 kB.
        ip.add("link set eth0 gso_max_segs 1")
        ip.add("link set eth0 up")
        ip.add(f"addr add {address}/32 dev eth0")
        ip.add(f"neigh add {GATEWAY_IP} lladdr {GATEWAY_MAC} dev eth0 nud permanent")
        ip.add(f"route add {GATEWAY_IP}/32 dev eth0 scope link")
        ip.add(f"route add default via {GATEWAY_IP} dev eth0 {windows}")
        ip.run()

    def _verify_shapes(self) -> None:
        with netlink.netlink(self._fabric) as handle:
            index = {m.get_attr("IFLA_IFNAME"): m["index"] for m in handle.get_links()}
            wanted = {index[_interface(name)]: (name, s) for name, s in self.shapes.items()}
            shaping.verify(handle, wanted)

    def change_rates(self, rates_mbps: Mapping[str, float]) -> None:
        """Give directed links other capacities c_l while packets flow."""
        tc = Batch("tc", self._fabric)
        for link, rate_mbps in rates_mbps.items():
            shaping.change_rate(tc, _interface(link), rate_mbps)
        tc.run()

    def set_cable(self, link: Link, *, up: bool) -> None:
        """Take both directions of a cable down, or up again; switches notice by their carrier.

        What waits in its queues is lost, as in a cable that is cut.
        """
        set_cable(self._fabric, link, up=up)

    def kill(self) -> None:
        """End the switches at once; interfaces go with the namespaces that the ledger removes."""
        self.switch.kill()

    def close(self) -> None:
        """End the switches and wait until they are gone."""
        self.switch.kill()
        self.switch.wait()


def set_cable(namespace: str, link: Link, *, up: bool) -> None:
    """Take both ends of a cable down, or up again, in the namespace of a run's fabric."""
    ip = Batch("ip", namespace)
    for ends in ((link.source, link.target), (link.target, link.source)):
        ip.add(f"link set {interface_name(*ends)} {'up' if up else 'down'}")
    ip.run()


def port_name(switch: str, neighbour: str) -> str:
    """Name of a switch's port towards a neighbour: ``p-bs1-c2d3``."""
    return f"p-{interface_name(switch, neighbour)}"


def _interface(link: str) -> str:
    source, target = link.split(">")
    return interface_name(source, target)


def process_environment(ledger: Ledger) -> dict[str, str]:
    """The whole environment of a run's processes: the mark of the run and where programs are."""
    return {**ledger.environment, "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}

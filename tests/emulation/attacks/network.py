"""Attacks by way of the network: sockets, packets, other units, the device's own interface."""

from __future__ import annotations

import os
import socket
import struct
from functools import partial
from itertools import product

from emulation.protocol.frames import Frame, FrameReader, Kind, encode
from model.addressing import GATEWAY_IP, TASK_PORT
from tests.emulation.attacks.base import Got, Scene, attack, each

_EDGE = "10.2.0.1"
_PEERS = [f"10.1.{c}.{k}" for c in (1, 2) for k in (1, 2)]
_OPERATOR_PORTS = (6653, 6633, 6640, 8080, 8000, 9090, 22)
_RTM_GETLINK, _RTM_GETQDISC, _DUMP = 18, 38, 0x301
_IFLA_IFNAME, _TCA_KIND = 3, 1


@attack
def operator_ports(scene: Scene) -> str:
    """Connect to controller, OpenFlow, Open vSwitch and API ports on every address in reach."""
    addresses = ["127.0.0.1", GATEWAY_IP, _EDGE, "10.0.0.2", "169.254.0.1", *_PEERS]
    return each(
        {f"{a}:{p}": partial(_connect, a, p) for a, p in product(addresses, _OPERATOR_PORTS)}
    )


def _connect(address: str, port: int) -> str:
    with socket.socket() as handle:
        handle.settimeout(0.02)
        handle.connect((address, port))
        return "connected"


@attack
def raw_sockets(scene: Scene) -> str:
    """Sniff and forge packets: packet, raw and vsock sockets."""
    kinds = {
        "AF_PACKET": (socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)),
        "raw ICMP": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "raw IP": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
        "raw TCP": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
        "AF_VSOCK": (40, socket.SOCK_STREAM, 0),
        "AF_XDP": (44, socket.SOCK_RAW, 0),
        "AF_ALG": (38, socket.SOCK_SEQPACKET, 0),
    }
    return each({n: partial(socket.socket, *k) for n, k in kinds.items()})


@attack
def change_own_network(scene: Scene) -> str:
    """Take another device's address: bind to it, add it, send from it, go promiscuous."""
    own = _own_address()
    other = next(a for a in _PEERS if a != own)
    return each(
        {
            "bind to another's address": partial(_bind, other, ()),
            "bind freely": partial(_bind, other, ((socket.IPPROTO_IP, 15),)),
            "bind transparently": partial(_bind, other, ((socket.IPPROTO_IP, 19),)),
            "another device by mark": partial(_bind, own, ((socket.SOL_SOCKET, 36),)),
            "packet info": partial(_send_from, other),
            "add an address": partial(_netlink_add, other),
        }
    )


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.connect((GATEWAY_IP, 9))
        return str(handle.getsockname()[0])


def _bind(address: str, options: tuple[tuple[int, int], ...]) -> str:
    with socket.socket() as handle:
        for level, option in options:
            handle.setsockopt(level, option, 1)
        handle.bind((address, 0))
        if options and options[0][1] == 15:
            # Free binding is allowed to everybody; what counts is whether an answer comes.
            handle.settimeout(0.3)
            handle.connect((_EDGE, TASK_PORT))
        return "bound"


def _send_from(address: str) -> str:
    info = struct.pack("i4s4s", 0, socket.inet_aton(address), bytes(4))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as handle:
        handle.settimeout(0.3)
        packet = struct.pack("!BBHHH", 8, 0, 0, 0, 0) + bytes(16)
        handle.sendmsg([packet], [(socket.IPPROTO_IP, 8, info)], 0, (_EDGE, 0))
        handle.recv(100)
        return "answered"


def _netlink(kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as handle:
        handle.settimeout(0.5)
        handle.bind((0, 0))
        handle.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            data = handle.recv(1 << 18)
            while len(data) >= 16:
                size, what = struct.unpack_from("=IH", data)
                if what == 2 and (code := struct.unpack_from("=i", data, 16)[0]) != 0:
                    raise OSError(-code, os.strerror(-code))
                if what in (2, 3):
                    return found
                found.append((what, data[16:size]))
                data = data[(size + 3) & ~3 :]


def _netlink_add(address: str) -> str:
    packed = socket.inet_aton(address)
    body = struct.pack("=BBBBi", 2, 32, 0, 0, 2)
    body += b"".join(struct.pack("=HH4s", 8, kind, packed) for kind in (1, 2))
    _netlink(20, 0x605, body)
    return "added"


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        if size < 4:
            break
        found[kind] = data[4:size]
        data = data[(size + 3) & ~3 :]
    return found


@attack
def read_queues(scene: Scene) -> str:
    """Read queues, rates and backlogs by netlink: other interfaces, shaped queues."""
    links = _netlink(_RTM_GETLINK, _DUMP, struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0))
    names = {_attributes(b[16:])[_IFLA_IFNAME].rstrip(b"\0").decode() for _, b in links}
    queues = _netlink(_RTM_GETQDISC, _DUMP, struct.pack("=BBHiIII", 0, 0, 0, 0, 0, 0, 0))
    kinds = {_attributes(b[20:])[_TCA_KIND].rstrip(b"\0").decode() for _, b in queues}
    if names - {"lo", "eth0"} or kinds & {"htb", "tbf", "bfifo", "netem", "fq", "fq_codel"}:
        raise Got(f"interfaces {sorted(names)}, queues {sorted(kinds)}")
    return f"its own interfaces {sorted(names)} with queues {sorted(kinds) or 'none'} alone"


@attack
def task_in_anothers_name(scene: Scene) -> str:
    """Send a task to the edge in another device's name, and in its own with another's number."""
    return each(
        {f"as device {k}": partial(_send_task, k, 0) for k in range(4) if not _is_own(scene, k)}
        | {"a task beyond the last": partial(_send_task, _own_index(scene), 2**31)}
    )


def _own_index(scene: Scene) -> int:
    names = sorted([t for t, k in zip(scene.profile.targets, scene.profile.kinds, strict=True)
                    if k in ("self", "device")])  # fmt: skip
    return names.index(scene.profile.name)


def _is_own(scene: Scene, index: int) -> bool:
    return index == _own_index(scene)


def _send_task(device: int, task: int) -> str:
    reader = FrameReader(Kind.ARRIVED, Kind.RESULT, Kind.ERROR)
    with socket.create_connection((_EDGE, TASK_PORT), 1.0) as handle:
        handle.sendall(encode(Frame(Kind.TASK, device, task, 1, 0, 0.001)))
        for frame, payload in reader.feed(handle.recv(4096)):
            if frame.kind is Kind.ERROR:
                raise PermissionError(payload.decode(errors="replace"))
            return frame.kind.name
    raise ConnectionError("closed without an answer")


@attack
def import_the_operator(scene: Scene) -> str:
    """Use the project's own code: runs, namespaces, scenarios, the operator's client."""
    return each(
        {
            "living runs": _living_runs,
            "namespaces": _namespaces,
            "load the scenario": _load,
            "a run's fabric": _fabric,
        }
    )


def _found(loot: object) -> object:
    if not loot:
        raise LookupError("nothing there")
    return loot


def _living_runs() -> object:
    from emulation.host.ledger import living_runs

    return _found(living_runs())


def _namespaces() -> object:
    from emulation.host.netlink import existing_namespaces

    return _found(existing_namespaces())


def _load() -> object:
    from model.scenario.load import load_scenario

    return load_scenario("mini", {}).network.access


def _fabric() -> object:
    from emulation.host.ledger import Ledger

    return Ledger.open_new()

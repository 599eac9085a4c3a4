"""The one place that speaks netlink: namespaces, interfaces, addresses, offloads.

A netlink socket belongs to the namespace in which it was opened, so one socket per namespace is
opened by a short-lived thread that enters it, and then used from wherever.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pyroute2 import IPRoute, netns

from model.errors import RunError

NETNS_DIR = Path("/run/netns")
T = TypeVar("T")

# linux/ethtool.h, linux/sockios.h. The ioctls that switch one offload each have been there since
# Linux 2.6 and work on every veth; the newer netlink family is missing on some kernels.
_SIOCETHTOOL = 0x8946
_ETHTOOL_SWITCHES = {
    "tx checksum": 0x00000017,
    "tcp segmentation": 0x0000001F,
    "generic segmentation": 0x00000024,
    "generic receive": 0x0000002C,
}


def inside(namespace: str, work: Callable[[], T]) -> T:
    """Call ``work`` in a thread that has entered a named network namespace; return its result.

    The calling thread never changes its namespace, so nothing can be left in the wrong one.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def enter_and_work() -> None:
        try:
            netns.setns(namespace, flags=0)
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=enter_and_work, name=f"in {namespace}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def namespace_path(name: str) -> str:
    """Path by which a process can enter a named namespace."""
    return str(NETNS_DIR / name)


def open_netlink(namespace: str) -> IPRoute:
    """A netlink socket of a namespace; the caller closes it."""
    return inside(namespace, IPRoute)


def switch_offloads_off(namespace: str, interfaces: list[str]) -> None:
    """Switch segmentation, receive and checksum offloads off.

    With them on, one "packet" in a queue may be 64 kB: a ping then does not wait behind what the
    queue really holds, and a user-space switch would see packets without checksums.

    Raises ``RunError`` naming the interface and what the kernel does not switch off.
    """

    def switch_off() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            for interface in interfaces:
                for what, command in _ETHTOOL_SWITCHES.items():
                    _ethtool(handle, interface, command, what)

    inside(namespace, switch_off)


def _ethtool(handle: socket.socket, interface: str, command: int, what: str) -> None:
    """Switch an offload off; what the interface does not have is off."""
    try:
        _ask_ethtool(handle, interface, command)
    except OSError as error:
        with suppress(OSError):
            # The question about an offload is the number before the order.
            if _ask_ethtool(handle, interface, command - 1) == 0:
                return
        raise RunError(
            f"{interface}: the kernel does not switch off {what}: {error.strerror}"
        ) from error


def _ask_ethtool(handle: socket.socket, interface: str, command: int) -> int:
    value = ctypes.create_string_buffer(struct.pack("II", command, 0))
    request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
    fcntl.ioctl(handle, _SIOCETHTOOL, request)
    return int(struct.unpack_from("II", value)[1])


@contextmanager
def netlink(namespace: str) -> Iterator[IPRoute]:
    """A netlink socket of a namespace for the length of a ``with`` block."""
    handle = open_netlink(namespace)
    try:
        yield handle
    finally:
        handle.close()


def existing_namespaces() -> list[str]:
    """Names of the network namespaces on this machine."""
    return sorted(p.name for p in NETNS_DIR.iterdir()) if NETNS_DIR.exists() else []

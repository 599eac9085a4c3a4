"""Sockets that send at a rate on the wire.

x is the rate on the wire, in whole Ethernet frames, as the capacities of links are. The kernel
paces a socket's payload, so the socket is asked for x · 1448/1514: 1448 bytes of payload with TCP
timestamps make a frame of 1514. Three quirks of its pacing matter (Linux 6.18, measured):

- A connection's first ten segments leave unpaced. HELLO is therefore sent in eleven pieces.
- Bursts: below some RTT the kernel sends up to 64 kB at once. The orchestrator limits them, by
  ``gso_max_segs 1`` on the host's interface.
- A lower rate holds at once, a higher one only from the next acknowledgement on. After a slower
  transfer the rate is set back to x_max, and one more HELLO brings that acknowledgement.
"""

from __future__ import annotations

import socket
import struct

from emulation.node.sockets import Sockets
from model.packet_sizes import PAYLOAD_PER_WIRE_BYTE
from model.rates import bytes_per_s

_SO_MAX_PACING_RATE = 47


def pacing_bytes_per_s(rate_mbps: float) -> int:
    """The pacing rate that makes ``rate_mbps`` on the wire."""
    return max(1, int(bytes_per_s(rate_mbps) * PAYLOAD_PER_WIRE_BYTE))


def pace(handle: socket.socket, rate_mbps: float) -> None:
    """Let a socket send at a rate on the wire, and no faster."""
    # 64 bits: the 32-bit form of this option reads all ones as "unlimited".
    option = struct.pack("Q", pacing_bytes_per_s(rate_mbps))
    handle.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, option)


def task_socket(sockets: Sockets) -> socket.socket:
    """Make a TCP socket with the options that both ends need. Raises ``OSError``.

    reno, because the default may be bbr, which chooses a pacing rate of its own, and because it is
    the one that every unprivileged process may choose on every kernel.
    """
    handle = sockets.tcp()
    handle.setblocking(False)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return handle

"""Events to the orchestrator and its commands, as JSON lines over an inherited stream socket.

Times are CLOCK_MONOTONIC in real s, bytes are real bytes. Events::

    {"event": "listening"}
    {"event": "switch", "name": "bs1", "up": true}
    {"event": "installed", "flows": 210}            all switches are there, barriers answered
    {"event": "link", "cable": "bs1-bs2", "up": false}
    {"event": "rerouted", "flows_changed": 30, "seconds": 0.004}   noticed until barriers answered
    {"event": "links", "slot": 1, "sampled_at": 81.2,
     "links": [[name, backlog_bytes, sent_bytes, drops, up], ...],
     "virtual_backlog_bytes": [V of eq. (2) for each of them]}
    {"event": "ports", "slot": 1, "sampled_at": 81.2, "switch": "bs1",
     "ports": [[neighbour, rx_bytes, tx_bytes, rx_packets, tx_packets, rx_dropped, tx_dropped],
               ...]}

    {"event": "queues", "sampled_at": 81.3, "links": [[name, backlog_bytes, sent_bytes], ...]}

``queues`` comes at every look, of the links on which something waits or did at the look before;
its ``sent_bytes`` are totals since the network was built. ``links`` comes at the end of slots 1...N
in ``Network.shaped_links`` order; its ``sent_bytes`` and ``drops`` are totals since the first look.
``ports`` comes from each switch in slots 0...N, its totals since the switch was made.
Commands::

    {"cmd": "start", "t0": 80.2, "slot_s": 1.0, "slots": 300}      slot k ends at t0 + k * slot_s;
                                 "looks": n, if given, is how often a slot the queues are looked at;
                                 "first": k, if given: the first look is when slot k ends, and the
                                 first ``links`` is of slot k + 1
    {"cmd": "rate", "link": "bs1>bs2", "rate_mbps": 15}             c_l of eq. (2) has changed
    {"cmd": "units", "slot": 1, "units": [[name, queue_ghz_s, ghz, busy_share], ...]}
    {"cmd": "stop"}
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import traceback
from collections.abc import Callable
from typing import Any

from controller.switch_messages import Failed

log = logging.getLogger("controller")


class Channel:
    """One end of the socket. Reading has a thread of its own, which only passes lines on."""

    def __init__(self, descriptor: int):
        """Take over an inherited descriptor. Raises ``OSError`` if it is no socket."""
        self._socket = socket.socket(fileno=descriptor)

    def listen(self, receive: Callable[[dict[str, Any] | Failed | None], None]) -> None:
        """Hand every command to ``receive``, and None when the other end has closed."""
        threading.Thread(target=self._read, args=(receive,), name="commands", daemon=True).start()

    def _read(self, receive: Callable[[dict[str, Any] | Failed | None], None]) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    command = json.loads(line)
                    if not isinstance(command, dict):
                        raise TypeError(f"a command is an object, not {line!r}")  # noqa: TRY301
                    receive(command)
            receive(None)
        except ConnectionResetError:
            receive(None)
        except Exception:  # noqa: BLE001 - whoever receives it ends the process with it
            receive(Failed(traceback.format_exc()))

    def send(self, event: dict[str, Any]) -> None:
        """Send an event. Raises ``OSError`` if the other end has gone."""
        self._socket.sendall(json.dumps(event, separators=(",", ":")).encode() + b"\n")

"""Events to the orchestrator and its commands over an inherited stream socket.

``model.controller_messages`` defines both; one message a line.
"""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from collections.abc import Callable

from controller.switch_messages import Failed
from model.controller_messages import Command, Event, decode_command, encode

log = logging.getLogger("controller")


class Channel:
    """One end of the socket. Reading has a thread of its own, which only passes lines on."""

    def __init__(self, descriptor: int):
        """Take over an inherited descriptor. Raises ``OSError`` if it is no socket."""
        self._socket = socket.socket(fileno=descriptor)

    def listen(self, receive: Callable[[Command | Failed | None], None]) -> None:
        """Hand every command to ``receive``, and None when the other end has closed."""
        threading.Thread(target=self._read, args=(receive,), name="commands", daemon=True).start()

    def _read(self, receive: Callable[[Command | Failed | None], None]) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    receive(decode_command(line))
            receive(None)
        except ConnectionResetError:
            receive(None)
        except Exception:  # noqa: BLE001 - whoever receives it ends the process with it
            receive(Failed(traceback.format_exc()))

    def send(self, event: Event) -> None:
        """Send an event. Raises ``OSError`` if the other end has gone."""
        self._socket.sendall(encode(event))

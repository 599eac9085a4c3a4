"""The orchestrator's side of the spawner: asking for nodes, hearing of their ends."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emulation.protocol.briefing import Briefing
from emulation.protocol.messages import NodeConfig
from model.errors import RunError

_CHUNK = 65536


@dataclass(frozen=True, slots=True)
class Spawned:
    """A node and this side's end of its control socket, which the holder closes.

    ``pid`` is of the process that carries it, perhaps with others. ``worker`` is the process that
    does its real work, ``guest`` that of its policy, if it has one.
    """

    name: str
    pid: int
    control: socket.socket
    worker: int | None = None
    guest: int | None = None


class SpawnerLink:
    """Talks with ``emulation.sandbox.spawner`` over one end of a socket pair, blocking.

    Attributes:
        walls: which walls around nodes this machine lacks, and why.
        exited: exit status of the nodes that have ended; below 0: minus the number of a signal.
    """

    def __init__(self, handle: socket.socket, timeout_s: float = 15.0):
        self.socket = handle
        handle.settimeout(timeout_s)
        self._received = b""
        self._descriptors: deque[int] = deque()
        self.exited: dict[str, int] = {}
        self.walls: dict[str, str] = {}

    def wait_ready(self) -> int:
        """Wait until the spawner has loaded everything; returns its pid.

        Raises ``TimeoutError``, or ``ConnectionError`` if the spawner has gone.
        """
        answer = self._answer("ready")
        self._note(answer)
        return int(answer["ready"])

    def spawn(self, processes: Sequence[Sequence[tuple[NodeConfig, Briefing]]]) -> list[Spawned]:
        """Ask for processes of a node or several, wait for all, and brief each node.

        Raises ``RunError`` with the spawner's reason if one cannot be made.
        """
        spawned: list[Spawned] = []
        for nodes in processes:
            found = self._spawn_one([config for config, _ in nodes])
            for node, (_, briefing) in zip(found, nodes, strict=True):
                node.control.settimeout(self.socket.gettimeout())
                # A node that has ended has sent why, which is read from its socket later.
                with contextlib.suppress(ConnectionError):
                    node.control.sendall(json.dumps(briefing.to_json()).encode() + b"\n")
            spawned += found
        return spawned

    def _spawn_one(self, configs: Sequence[NodeConfig]) -> list[Spawned]:
        """One process. One request at a time: neither side's buffer fills while both write."""
        prepared = []
        for config in configs:
            self._ask({"prepare": asdict(config), "shared": len(configs) > 1})
            answer = self._answer("prepared")
            control = socket.socket(fileno=self._descriptors.popleft())
            prepared.append((config.name, control, answer["worker"], answer["guest"]))
        self._ask({"carry": [config.name for config in configs]})
        pid = int(self._answer("carried")["pid"])
        return [Spawned(name, pid, *rest) for name, *rest in prepared]

    def end(self, name: str) -> None:
        """End a node at once; its exit is noted like any other."""
        with contextlib.suppress(ConnectionError):
            self._ask({"end": name})

    def _ask(self, request: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def poll_exits(self) -> dict[str, int]:
        """Note the ends of nodes that have been reported meanwhile; returns ``exited``."""
        limit = self.socket.gettimeout()
        self.socket.setblocking(False)
        try:
            while True:
                self._receive()
                while (answer := self._take()) is not None:
                    self._note(answer)
        except BlockingIOError:
            return self.exited
        finally:
            self.socket.settimeout(limit)

    def close(self) -> None:
        """Close the socket: the spawner ends its nodes and itself."""
        self.socket.close()
        for descriptor in self._descriptors:
            socket.close(descriptor)

    def _answer(self, wanted: str) -> dict[str, Any]:
        while True:
            while (answer := self._take()) is not None:
                if wanted in answer:
                    return answer
                self._note(answer)
            self._receive()

    def _note(self, answer: dict[str, Any]) -> None:
        if "walls" in answer:
            self.walls = dict(answer["walls"])
        elif "exited" in answer:
            self.exited[str(answer["exited"])] = int(answer["status"])
        elif "failed" in answer:
            raise RunError(f"{answer['failed']}: {answer['error']}")

    def _take(self) -> dict[str, Any] | None:
        line, newline, rest = self._received.partition(b"\n")
        if not newline:
            return None
        self._received = rest
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _receive(self) -> None:
        data, descriptors, _flags, _ = socket.recv_fds(self.socket, _CHUNK, 8)
        self._descriptors.extend(descriptors)
        if not data:
            raise ConnectionError("the spawner has gone; its log says why")
        self._received += data

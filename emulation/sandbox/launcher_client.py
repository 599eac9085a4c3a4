"""The simulation's side of the launcher: asks for policies' processes, and talks with them.

Nothing that comes from a process is believed: an answer has one of few forms, and its size is
limited. What a policy raises, or a process that ends, ends the simulation with one line.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emulation.protocol import guest_codec as codec
from emulation.protocol import simulator_codec as packets
from emulation.sandbox import privileges
from emulation.sandbox.policy_files import PROJECT, user_folder
from model.aliases import Value
from model.errors import UserError
from model.text import safe_line
from rl.policies.checking import PolicyError

_MOST_ANSWER = 1 << 20
_MOST_PRINTED = 200
_MOST_AT_ONCE = 20_000
"""Lines that a policy may print before it answers."""
_READY_TIMEOUT_S, _CHUNK, _MOST_DESCRIPTORS = 100.0, 65536, 64
_TRACE_LINES = 60
_KEPT = ("PATH", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")

Print = Callable[[str], None]
"""Takes a line that a policy prints."""


class Guest:
    """A pipe to one process of policies."""

    def __init__(self, policy: str, pipe: socket.socket, on_print: Print):
        self.policy = policy
        self._pipe = pipe
        self._on_print = on_print
        self._printed = 0
        self._buffer = bytearray(_MOST_ANSWER)
        self._view = memoryview(self._buffer)

    def send(self, packet: bytes | bytearray | memoryview, who: str) -> None:
        """Send a packet; ``who`` names policy and device in what goes wrong.

        Raises ``UserError`` if the process has ended, or the packet is too large for a pipe.
        """
        try:
            self._pipe.send(packet)
        except ConnectionError:
            self._take(who)  # what it has said before it ended
            raise _ended(who) from None
        except OSError as error:
            raise UserError(
                f"{who}: {len(packet)} bytes of one observation do not fit into a pipe "
                f"({error.strerror}); raise net.core.wmem_max, or run as root"
            ) from error

    def receive(self, who: str) -> memoryview:
        """Wait for an answer: its kind and what follows, valid until the next one.

        Raises ``PolicyError`` for what a policy has raised or decided, ``UserError`` for a mistake
        of the user's and for a process that ends or answers with anything else.
        """
        answer = self._take(who)
        kind = answer[:1]
        if kind in (packets.DECISION, packets.DONE, packets.FACTS):
            return answer
        line, _, trace = bytes(answer[1:]).decode(errors="replace").partition("\n")
        line = safe_line(line)
        if kind == packets.REFUSED:
            raise UserError(line)
        if kind not in (packets.FAULT, packets.RAISED):
            raise _rubbish(who)
        error = PolicyError(f"{who}: {line}" if kind == packets.FAULT else line)
        error.trace = "\n".join(map(safe_line, trace.splitlines()[-_TRACE_LINES:]))
        raise error

    def _take(self, who: str) -> memoryview:
        """The next packet that is no printed line."""
        for _ in range(_MOST_AT_ONCE):
            try:
                size = self._pipe.recv_into(self._buffer)
            except ConnectionResetError:
                size = 0
            if size == 0:
                raise _ended(who)
            answer = self._view[:size]
            if answer[:1] != packets.PRINTED:
                return answer
            self._print(who, bytes(answer[1:]))
        raise UserError(f"{who}: its process has printed {_MOST_AT_ONCE} lines without an answer")

    def _print(self, who: str, line: bytes) -> None:
        self._printed += 1
        if self._printed <= _MOST_PRINTED:
            self._on_print(f"{who} prints: {codec.from_text(line)}")
        if self._printed == _MOST_PRINTED:
            self._on_print(f"{who} has printed {_MOST_PRINTED} lines; further ones are left out")

    def describe(self, params: Mapping[str, Value] | None = None) -> packets.Facts:
        """The facts of the policy's class; with ``params`` one is made. Raises like ``receive``."""
        who = f"policy '{self.policy}'"
        self.send(packets.to_describe(self.policy, params), who)
        answer = self.receive(who)
        try:
            return packets.from_facts(bytes(answer[1:]))
        except ValueError:
            raise UserError(
                f"{who}: its class does not say what it needs: observation, state or truth"
            ) from None


def _ended(who: str) -> UserError:
    return UserError(f"{who}: its process has ended")


def _rubbish(who: str) -> UserError:
    return UserError(f"{who}: its process has sent what is no answer")


class LauncherClient:
    """Starts the launcher, and asks it for batches of processes.

    Attributes:
        walls: which walls around policies this machine lacks, and why.
        is_closed: whether it can be asked no more.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "emulation.sandbox.launcher",
                 "--control-fd", str(theirs.fileno())],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )  # fmt: skip
        self._socket.settimeout(_READY_TIMEOUT_S)
        self._received = b""
        self._descriptors: deque[int] = deque()
        self.is_closed = False
        self.walls: dict[str, str] = dict(self._answer()["walls"])
        if "files" in self.walls:
            privileges.hide_memory()

    def start(
        self, policy: str, files: Sequence[str], count: int, core: int | None = None
    ) -> list[socket.socket]:
        """Processes for a policy, all on ``core``; those of an earlier batch end.

        Raises ``UserError`` if they cannot be started.
        """
        folder = user_folder()
        request = {
            "policy": policy,
            "folder": str(folder) if folder else None,
            "files": list(files),
            "count": count,
            "core": core,
        }
        started = int(self._ask(request)["started"])
        return [socket.socket(fileno=self._descriptors.popleft()) for _ in range(started)]

    def end(self) -> None:
        """End the batch that runs."""
        if not self.is_closed:
            self._ask({"end": True})

    def close(self) -> None:
        """End the launcher and everything that it has started."""
        self.is_closed = True
        self._socket.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            return self._answer()
        except (ConnectionError, TimeoutError) as error:
            self.close()
            raise UserError(f"the process that starts policies has ended ({error})") from error
        except BaseException:
            # Its answer may be under way still, and would be taken for the next one's.
            self.close()
            raise

    def _answer(self) -> dict[str, Any]:
        while b"\n" not in self._received:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _CHUNK, _MOST_DESCRIPTORS)
            self._descriptors.extend(descriptors)
            if not data:
                raise UserError("the process that starts policies has ended; see above")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise UserError(f"the policy's process cannot be started: {answer['failed']}")
        return answer


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(PROJECT),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        "LANG": "C.UTF-8",
    }


_launchers: dict[int, LauncherClient] = {}
"""Of this process, by its pid: a process that was forked from it has none."""


def launcher() -> LauncherClient:
    """The launcher of this process, started by the first call. Raises ``UserError``."""
    own = os.getpid()
    if own not in _launchers or _launchers[own].is_closed:
        _launchers.clear()
        _launchers[own] = LauncherClient()
        atexit.register(_close, own)
    return _launchers[own]


def _close(pid: int) -> None:
    if pid == os.getpid() and pid in _launchers:
        _launchers.pop(pid).close()


@contextmanager
def guests(
    policy: str,
    params: Mapping[str, Value],
    count: int = 1,
    on_print: Print = lambda _: None,
    core: int | None = None,
) -> Iterator[list[Guest]]:
    """Processes for a user's policy, all on ``core``, which end with the block.

    Raises ``UserError`` if they cannot be started.
    """
    files = [v for v in params.values() if isinstance(v, str) and Path(v).is_absolute()]
    own = launcher()
    made = own.start(policy, [f for f in files if "\0" not in f], count, core)
    try:
        yield [Guest(policy, pipe, on_print) for pipe in made]
    finally:
        for pipe in made:
            pipe.close()
        own.end()

"""A run as a user starts it, in a process of its own, and where its parts are meanwhile."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emulation.host.ledger import processes_of
from emulation.host.netlink import namespace_path
from emulation.network.fabric import FABRIC
from emulation.orchestrator.cells import cells
from emulation.orchestrator.deployment import PROJECT
from model.errors import RunError
from model.network import build_network
from model.scenario import Scenario
from records.reader import find_results

LIMIT_S = 60.0
"""What a run of a few slots may take, however it is hurt; more is a hang."""
_PROGRAMS = {
    "controller.process": "controller",
    "emulation.sandbox.spawner": "spawner",
    "ovs-vswitchd": "ovs-vswitchd",
    "ovsdb-server": "ovsdb-server",
}


class HangError(RunError):
    """Something that should have happened has not, for a long time."""


def wait_until(what: str, condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Wait for a condition. Raises ``HangError``."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise HangError(f"waited {limit_s:g} s in vain for {what}")
        time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run has ended: exit status (below 0: minus a signal's number), all that it said."""

    status: int
    output: str
    seconds: float


class Running:
    """A run that is under way."""

    def __init__(
        self,
        scenario: Scenario,
        out: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ):
        """Start it; ``scenario`` is written beside ``out``, which need not exist yet."""
        self.scenario, self.out, self.arguments = scenario, out, tuple(arguments)
        self._begin = time.monotonic()
        file = out.parent / f"{out.name}.yaml"
        file.write_text(scenario.model_dump_json(), encoding="utf-8")
        words = [str(PROJECT / "lab"), "run", str(file), "--out", str(out), *arguments]
        self._process = subprocess.Popen(
            words,
            cwd=PROJECT,
            env={**os.environ, "LAB_VENV": sys.prefix, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C is for whoever hurts the run, who then ends it.
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, name="output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        with self._process.stdout as lines:
            for line in lines:
                self._lines.append(line)

    @property
    def output(self) -> str:
        """What it has said so far."""
        return "".join(self._lines)

    @property
    def process_id(self) -> int:
        """Pid of the orchestrator."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    @property
    def at_its_end(self) -> bool:
        """Whether its last slot has passed, or it has ended otherwise."""
        slots = self.scenario.slots
        return self.ended or f"slot {slots}/{slots} " in self.output

    def wait_for(self, pattern: str) -> None:
        """Wait until it has said something, or has ended. Raises ``HangError``."""
        found = re.compile(pattern)
        wait_until(pattern, lambda: bool(found.search(self.output)) or self.ended)

    def wait_for_slots(self) -> None:
        """Wait until the first slot has ended."""
        self.wait_for(r"(?m)^slot \d+/")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the orchestrator alone."""
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """Ctrl-C, which a terminal sends to the whole process group."""
        if not self.ended:
            os.killpg(self._process.pid, signal.SIGINT)

    def finish(self, limit_s: float = LIMIT_S) -> Ended:
        """Wait for its end. Raises ``HangError``, after it was killed, if it does not end."""
        try:
            status = self._process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait()
            raise HangError(f"the run had not ended after {limit_s:g} s:\n{self.output}") from error
        # Whoever is left and holds the pipe would hold the reader, too.
        self._reader.join(5.0)
        return Ended(status, self.output, time.monotonic() - self._begin)

    def kill(self) -> None:
        """End it, if it has not ended; what stays is ``clean``'s."""
        if not self.ended:
            self._process.kill()
            self._process.wait()

    @property
    def run_id(self) -> str:
        """The run's id, once it has a result folder."""
        wait_until("a result folder", lambda: self.out.is_dir() and bool(find_results(self.out)))
        return find_results(self.out)[0].name.rpartition("-")[2]

    def namespace(self, label: str = FABRIC) -> str:
        """Name of the namespace of a host, or of the fabric."""
        return f"ce{self.run_id}-{label}"

    def pid(self, name: str) -> int:
        """Pid of the controller, the spawner, a daemon of Open vSwitch, or a host's node.

        Raises ``HangError`` if there is no such process for a while.
        """
        found: list[int] = []
        carrier = next(iter(self.carried_with(name)), name)

        def look() -> bool:
            found[:] = self.pids().get(carrier, [])
            return bool(found)

        wait_until(f"process {name}", look, 10.0)
        return found[0]

    def send(self, name: str, number: int) -> None:
        """Send a signal to one of the run's processes, named as ``pid`` has it."""
        os.kill(self.pid(name), number)

    def pids(self) -> dict[str, list[int]]:
        """The run's processes by name; a user's program within a host goes by the host's.

        A process that carries several devices goes by the first one's.
        """
        found: dict[str, list[int]] = {}
        hosts = self._hosts()
        for pid in processes_of(self.run_id):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                inode = Path(f"/proc/{pid}/ns/net").stat().st_ino
            except OSError:
                continue  # it has just ended
            named = [n for w, n in _PROGRAMS.items() if w.encode() in words]
            name = hosts.get(inode) or (named[0] if named else "")
            if name:
                found.setdefault(name, []).append(pid)
        return found

    def carried_with(self, name: str) -> tuple[str, ...]:
        """All hosts whose nodes share a process with a host's, in order; none for programs.

        The process lives in the namespace of the first of them.
        """
        real = self.scenario.compute.work != "timed"
        groups = cells(build_network(self.scenario), apart=real)
        names = (tuple(n.name for n in group) for group in groups)
        return next((group for group in names if name in group), ())

    def _hosts(self) -> dict[int, str]:
        """Inode of a network namespace → the host that lives there."""
        prefix = self.namespace("")
        paths = Path(namespace_path(prefix)).parent.glob(f"{prefix}*")
        names = {p.stat().st_ino: p.name.removeprefix(prefix) for p in paths}
        return {inode: name for inode, name in names.items() if name != FABRIC}

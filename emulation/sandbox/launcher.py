"""The parent of policies' processes of simulations: ``python -m emulation.sandbox.launcher``.

A program of its own, started by the simulation's process and not forked from it: the memory that
its children inherit has never held a scenario, a seed, a trace or F(t). It runs as the caller (root
or not), runs nothing of a user's, and puts each child behind the walls that this machine has.

Requests are lines of JSON, one batch of processes at a time:

    {"policy": "module:Class", "folder": path, "files": [path], "count": n, "core": k}
    {"end": true}                      end the batch

Answers, one a line:

    {"ready": pid, "walls": {…}}       once; which walls are missing, and why
    {"started": n}                     with n ends of packet pipes attached (SCM_RIGHTS)
    {"ended": true}
    {"failed": text}

When the control socket closes, all children are ended and so is the launcher.
"""

from __future__ import annotations

import os

# Before numpy is loaded: a process that has threads can neither fork safely nor enter a namespace.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import encodings.ascii
import encodings.idna
import gc
import importlib
import json
import pkgutil
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import rl.policies
from emulation.host import syscalls
from emulation.sandbox import privileges, unprivileged
from emulation.sandbox import simulator_batch as batches
from emulation.sandbox.namespaces import outcome, try_walls
from emulation.sandbox.policy_files import PROJECT, place_of, policy_file
from emulation.sandbox.policy_sources import Sources
from emulation.sandbox.simulator_batch import Batch, Setting

_LAZY = (encodings.ascii, encodings.idna, np.random.default_rng)
"""Loaded here, because a child may not be able to read their files."""
_MOST_REQUEST_BYTES = 1 << 24
_PACKET_BYTES, _SNDBUFFORCE = 1 << 20, 32


class Launcher:
    """Starts and ends batches of policies' processes on request."""

    def __init__(self, control: socket.socket, walls: dict[str, str], *, namespaces: bool):
        self._control, self._walls, self._namespaces = control, walls, namespaces
        self._batch: Batch | None = None

    def run(self) -> None:
        """Serve until the control socket closes."""
        self._say({"ready": os.getpid(), "walls": self._walls})
        with self._control.makefile("rb") as lines:
            while line := lines.readline(_MOST_REQUEST_BYTES):
                try:
                    self._carry_out(json.loads(line))
                except Exception as error:  # noqa: BLE001 - goes back to the process that asked
                    self._end()
                    self._say({"failed": f"{type(error).__name__}: {error}"})
        self._end()

    def _carry_out(self, request: dict[str, Any]) -> None:
        self._end()
        if "end" in request:
            self._say({"ended": True})
            return
        setting = self._setting(
            request["policy"], request["folder"], request["files"], request["core"]
        )
        with ExitStack() as stack:
            pairs = [_packet_pair(stack) for _ in range(request["count"])]
            self._batch = Batch.start(setting, [lower for _, lower in pairs])
            self._say({"started": len(pairs)}, [upper.fileno() for upper, _ in pairs])

    def _end(self) -> None:
        if self._batch is not None:
            self._batch.end()
            self._batch = None

    def _setting(
        self, policy: str, folder: str | None, files: list[str], core: int | None
    ) -> Setting:
        place = Path(folder) if folder else None
        file = policy_file(policy, place)
        ours = file is not None and file.is_relative_to(PROJECT)
        packages = (file.relative_to(PROJECT).parts[0],) if ours and file else ()
        return Setting(
            sources=_sources(policy, place, file),
            files=tuple(files),
            packages=packages,
            missing=tuple(self._walls),
            namespaces=self._namespaces,
            core=core,
        )

    def _say(self, answer: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        line = json.dumps(answer).encode() + b"\n"
        with suppress(BrokenPipeError, ConnectionResetError):
            if descriptors:
                # A descriptor travels with the first byte; the rest may follow by itself.
                sent = socket.send_fds(self._control, [line], list(descriptors))
                line = line[sent:]
            self._control.sendall(line)


@cache
def _sources(policy: str, folder: Path | None, file: Path | None) -> tuple[Sources, ...]:
    places = [folder, *(place_of(policy, file) if file else ())]
    return tuple(Sources(p, policy) for p in places if p is not None)


def _packet_pair(stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """A pipe of packets, as large as the observation of a large cell where root asks for it."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        stack.enter_context(end)
        with suppress(PermissionError):
            end.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, _PACKET_BYTES)
    return pair


def _enter_namespaces() -> dict[str, str]:
    """Without root: what of the walls this machine lacks, after entering what it has.

    Continues in a child, process 1 of a PID namespace, where the machine has user namespaces.
    """
    missing = {"own uid": "without root, policies have the caller's uid"}
    if why := outcome(batches.try_namespaces):
        missing["namespaces"] = why
        if not unprivileged.landlock_version():
            missing["files"] = f"{why}; the kernel has no Landlock"
    else:
        unprivileged.enter_user_namespace()
        syscalls.unshare(syscalls.NEW_PID)
        _continue_in_a_child()
    if why := outcome(batches.try_filter):
        missing["system calls"] = why
    return missing


def _continue_in_a_child() -> None:
    child = os.fork()
    if child == 0:
        privileges.end_with_parent()
        return
    os.closerange(3, 1024)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)


def main() -> None:
    """Take the control socket over and serve it."""
    parser = argparse.ArgumentParser(prog="emulation.sandbox.launcher")
    parser.add_argument("--control-fd", type=int, required=True)
    handle = socket.socket(fileno=parser.parse_args().control_fd)
    # Ctrl-C is for the simulation, which then closes the control socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in pkgutil.iter_modules(rl.policies.__path__, "rl.policies."):
        importlib.import_module(module.name)
    walls = try_walls() if os.geteuid() == 0 else _enter_namespaces()
    gc.collect()
    gc.freeze()
    Launcher(handle, walls, namespaces=os.geteuid() != 0 and "namespaces" not in walls).run()


if __name__ == "__main__":
    main()

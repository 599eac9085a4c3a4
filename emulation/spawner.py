"""The parent of all nodes: ``python -m emulation.spawner --control-fd N``.

Loads once the code that every node needs, and forks a node in milliseconds whenever the
orchestrator asks. Node processes share its memory, so it knows nothing of scenario, network or
tasks: what a node may know, the orchestrator tells it alone. It keeps root only to place its
children behind their walls (``emulation.walls``, ``emulation.privileges``). A user's policy runs in
no node, but in a process that serves its device alone (``emulation.guest``): without network, files
or /proc, and it has given up every privilege before it imports the policy.

Requests are lines of JSON, ``emulation.messages.NodeConfig`` or {"end": name}. Answers, one a line:

    {"ready": pid, "walls": {…}}       once, when everything is loaded; which walls are missing: why
    {"spawned": name, "pid": pid, "worker": pid, "guest": pid}
                                       with the node's control socket attached (SCM_RIGHTS); worker
                                       does its real work, guest is the process of its policy; null
                                       where there is none
    {"failed": name, "error": text}    the request was not carried out
    {"exited": name, "status": n}      a node has ended; below 0: minus the number of a signal

When the control socket closes, or on SIGTERM, all children are ended and so is the spawner.
"""

from __future__ import annotations

import os

# Before numpy is loaded: a thread pool in each of dozens of processes is of no use, and a process
# that has threads must not fork.
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import encodings.ascii
import encodings.idna
import gc
import importlib
import json
import pkgutil
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np

import rl.policies
from emulation import kernel, privileges, seccomp
from emulation.guest import filter as guest_filter
from emulation.guest import room
from emulation.guest.process import run_guest
from emulation.guest.sources import Sources
from emulation.identities import GUESTS
from emulation.messages import Fatal, NodeConfig, guest_name, to_list
from emulation.node import run_node
from emulation.policy_files import PROJECT, policy_file, user_folder
from emulation.transcoding.worker import serve
from emulation.walls import ProcessWall, View, arrange, try_walls
from model.errors import UserError
from rl.policies import weights

_BRIEFING_TIMEOUT_S = 2.0
_MAX_REQUEST_BYTES = 16 * 1024 * 1024
_SNDBUFFORCE, _PACKET_BYTES = 32, 1 << 20
_GUESTS_OOM_SCORE = 900
"""Policies are to be killed for memory before nodes."""
_LAZY = (encodings.ascii, encodings.idna, np.random.default_rng)
"""Loaded here, because a child that has left root behind may not be able to read their files."""


def _load_policies() -> None:
    """The policies that come with the lab are ours; they need not be readable for everybody."""
    for module in pkgutil.iter_modules(rl.policies.__path__, "rl.policies."):
        importlib.import_module(module.name)


class Spawner:
    """Forks nodes on request and tells when they end."""

    def __init__(self, control: socket.socket):
        self._control = control
        self._received = bytearray()
        self._children: dict[int, str] = {}
        self._companions: dict[int, tuple[int, ...]] = {}
        self._view: View | None = None
        self._room: View | None = None
        self._sources: list[Sources] | None = None
        self._missing = try_walls()
        self._folder = user_folder()
        self._pidfd = os.pidfd_open(os.getpid())
        self._ending = False
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)

    def run(self) -> None:
        """Serve until the control socket closes or SIGTERM comes; then end all children."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._signalled)
        signal.signal(signal.SIGTERM, self._signalled)
        # Ctrl-C is for the orchestrator, which then closes the control socket.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._say({"ready": os.getpid(), "walls": self._missing})
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._ending:
                for key, _ in selector.select():
                    if key.fileobj is self._wake:
                        self._wake.recv(4096)
                    else:
                        self._read()
                self._reap()
        self._end_children()

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self._ending = True

    def _read(self) -> None:
        try:
            data = self._control.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self._ending = True
            return
        self._received += data
        *lines, self._received = self._received.split(b"\n")
        if len(self._received) > _MAX_REQUEST_BYTES:
            raise ValueError("a request without an end")
        for line in lines:
            self._request(line)

    def _request(self, line: bytes | bytearray) -> None:
        name = "?"
        try:
            value = json.loads(line)
            if "end" in value:
                self._end(str(value["end"]))
                return
            name = str(value["name"])
            self._spawn(NodeConfig.from_json(value))
        except Exception as error:  # noqa: BLE001 - goes back to whoever asked
            text = (
                str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            )
            self._say({"failed": name, "error": text})

    def _end(self, name: str) -> None:
        for pid, child in self._children.items():
            if child == name:
                os.kill(pid, signal.SIGKILL)

    def _view_for(self, config: NodeConfig) -> View | None:
        if "files" in self._missing:
            return None
        if self._view is None:
            self._view = View(partial(arrange, config.hidden))
        return self._view

    def _room_for(self, config: NodeConfig) -> View | None:
        """What policies see; the same for all of a run."""
        policy = policy_file(config.policy, self._folder)
        ours = policy is not None and policy.is_relative_to(PROJECT)
        if self._sources is None:
            places = [self._folder, *(_place_of(config.policy, policy) if policy else ())]
            self._sources = [Sources(p, config.policy) for p in places if p is not None]
        if "files" in self._missing:
            return None
        if self._room is None:
            packages = (policy.relative_to(PROJECT).parts[0],) if ours and policy else ()
            self._room = View(partial(room.arrange, room.visible(config.files, packages)))
        return self._room

    def _spawn(self, config: NodeConfig) -> None:
        if config.checkpoint:
            # Data, no code: read here once, for the nodes may not be able to reach the file.
            weights.load(config.checkpoint)
        child = _Child(config, self._view_for(config), self._pidfd, self._missing)
        ours, theirs = socket.socketpair()
        with ours, theirs, ExitStack() as stack:
            ends: dict[str, socket.socket] = {}
            pids: dict[str, int | None] = {"worker": None, "guest": None}
            if config.worker:
                ends["worker"], lower = (stack.enter_context(e) for e in socket.socketpair())
                # Without a name: a worker ends with its node, and only the node's end is reported.
                pids["worker"] = self._fork("", partial(child.run_worker, lower))
            if config.guest:
                ends["guest"], lower = (stack.enter_context(e) for e in _packet_pair())
                view = self._room_for(config)
                run = partial(child.run_guest, lower, view, self._sources or [])
                pids["guest"] = self._fork(guest_name(config.name), run)
            pid = self._fork(config.name, partial(child.run, theirs, **ends))
            self._companions[pid] = tuple(filter(None, pids.values()))
            self._say({"spawned": config.name, "pid": pid, **pids}, ours.fileno())

    def _fork(self, name: str, run: Callable[[], NoReturn]) -> int:
        wall = nullcontext() if "processes" in self._missing else ProcessWall()
        with wall:
            pid = os.fork()
            if pid == 0:
                self._forget()
                run()
        self._children[pid] = name
        return pid

    def _forget(self) -> None:
        """A child need not know of others, nor touch what is the parent's."""
        self._children.clear()
        self._received.clear()

    def _say(self, answer: dict[str, Any], *descriptors: int) -> None:
        line = json.dumps(answer).encode() + b"\n"
        try:
            if descriptors:
                # A descriptor travels with the first byte; the rest may follow by itself.
                sent = socket.send_fds(self._control, [line], list(descriptors))
                line = line[sent:]
            self._control.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            self._ending = True

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name = self._children.pop(pid, None)
            # A policy would not end by itself with its device.
            for companion in self._companions.pop(pid, ()):
                if companion in self._children:
                    os.kill(companion, signal.SIGKILL)
            if name:
                self._say({"exited": name, "status": os.waitstatus_to_exitcode(status)})

    def _end_children(self) -> None:
        # As process 1 of its namespace a child takes no other signal; what it had to tell, it has
        # told in answer to the orchestrator's order to stop.
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)


def _packet_pair() -> tuple[socket.socket, socket.socket]:
    """A pipe of packets both ways, as large as the observation of a large cell."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, _PACKET_BYTES)
    return pair


def _place_of(policy: str, file: Path) -> list[Path]:
    """The folder that a policy's module is named from, where that is neither ours nor a library."""
    depth = policy.partition(":")[0].count(".") + (file.name == "__init__.py")
    place = file.parents[depth]
    own = (PROJECT, Path(sys.prefix), Path(sys.base_prefix))
    return [] if any(place.is_relative_to(p) for p in own) else [place]


class _Child:
    """From the fork to the end of a node."""

    def __init__(self, config: NodeConfig, view: View | None, parent: int, missing: dict[str, str]):
        self._config, self._view = config, view
        self._parent, self._missing = parent, missing

    def run(self, control: socket.socket, **ends: socket.socket) -> NoReturn:
        """Be the node, to the end of this process: none of the parent's code may run in it.

        ``ends``: of the pipes to its worker and its guest.
        """
        status = 1
        try:
            status = self._run(control, **ends)
        finally:
            os._exit(status)

    def run_guest(
        self, device: socket.socket, view: View | None, sources: list[Sources]
    ) -> NoReturn:
        """Be the process of a device's policy, to the end of this process."""
        status = 1
        try:
            self._become_guest(device.fileno(), view)
            sys.meta_path.extend(sources)
            status = run_guest(device)
        except BaseException:  # noqa: BLE001 - os._exit would swallow it
            traceback.print_exc()
        finally:
            os._exit(status)

    def run_worker(self, node: socket.socket) -> NoReturn:
        """Be the process that does the node's real work, to the end of this process."""
        status = 1
        try:
            self._become_nobody(node.fileno(), is_worker=True)
            status = serve(node)
        except BaseException:  # noqa: BLE001 - os._exit would swallow it
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _run(self, control: socket.socket, **ends: socket.socket) -> int:
        try:
            self._become_nobody(control.fileno(), *(e.fileno() for e in ends.values()))
        except Exception as error:  # noqa: BLE001 - reported; the parent's code must not run on
            line = json.dumps(to_list(Fatal(f"{type(error).__name__}: {error}", user=False))) + "\n"
            control.sendall(line.encode())
            # Closed with a briefing unread, the socket would seem broken at the other end.
            control.settimeout(_BRIEFING_TIMEOUT_S)
            while not control.recv(65536).endswith(b"\n"):
                continue
            return 1
        try:
            return run_node(self._config.name, control, **ends)
        except BaseException:  # noqa: BLE001 - os._exit would swallow it
            traceback.print_exc()
            return 1
        finally:
            sys.stderr.flush()

    def _become_nobody(self, *kept: int, is_worker: bool = False) -> None:
        config = self._config
        last_capability = self._begin(config.oom_score_adj)
        if is_worker:
            kernel.unshare(kernel.NEW_NET)  # FFmpeg needs no network: none, and no loopback
        else:
            privileges.enter_namespace(config.netns)
        if self._view is not None:
            self._view.enter(without_proc=is_worker)
        privileges.close_all_but(*kept, self._parent)
        install = None if "system calls" in self._missing else seccomp.install
        privileges.drop(config.uid, config.gid, self._parent, last_capability, install)

    def _become_guest(self, device: int, view: View | None) -> None:
        last_capability = self._begin(_GUESTS_OOM_SCORE)
        kernel.unshare(kernel.NEW_NET)  # nothing in it, and its loopback is down
        if view is not None:
            view.enter(without_proc=True)
        privileges.close_all_but(device, self._parent)
        install = None if "system calls" in self._missing else guest_filter.install
        uid, gid = self._config.uid + GUESTS, self._config.gid + GUESTS
        share = privileges.GUESTS_SHARE
        privileges.drop(uid, gid, self._parent, last_capability, install, share)

    @staticmethod
    def _begin(oom_score_adj: int) -> int:
        """Leave what is the parent's; returns the last capability."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        return privileges.prepare(oom_score_adj)


def main() -> None:
    """Take the control socket over and serve it."""
    parser = argparse.ArgumentParser(prog="emulation.spawner", description="Forks node processes.")
    parser.add_argument("--control-fd", type=int, required=True)
    handle = socket.socket(fileno=parser.parse_args().control_fd)
    _load_policies()
    gc.collect()
    gc.freeze()
    Spawner(handle).run()


if __name__ == "__main__":
    main()

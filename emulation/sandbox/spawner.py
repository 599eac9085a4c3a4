"""The parent of all nodes: ``python -m emulation.sandbox.spawner --control-fd N``.

Loads once the code that every node needs, and forks a node in milliseconds whenever the
orchestrator asks. Node processes share its memory, so it knows nothing of scenario, network or
tasks: what a node may know, the orchestrator tells it alone. It keeps root only to place its
children behind their walls (``emulation.sandbox.namespaces``, ``emulation.sandbox.privileges``),
and to make sockets in the namespaces of devices that share a process (``emulation.node.sockets``).
A user's policy runs in no node, but in a process that serves its device alone
(``emulation.guest``): without network, files or /proc, and it has given up every privilege before
it imports the policy.

Requests are lines of JSON, each to be answered before the next:

    {"prepare": NodeConfig, "shared": bool}
                                       make a node's pipes, and fork the worker that does its real
                                       work and the guest that runs its policy, if it has any;
                                       shared: its process will live in another node's namespace
    {"carry": [name, …]}               fork the process that carries nodes which were prepared
    {"end": name}                      end the process of a node, or of a guest; without an answer

Answers:

    {"ready": pid, "walls": {…}}       once, when everything is loaded; which walls are missing: why
    {"prepared": name, "worker": pid, "guest": pid}
                                       with the node's control socket attached (SCM_RIGHTS)
    {"carried": name, "pid": pid}      the first of the nodes
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
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import numpy as np

import rl.policies
from emulation.node.main import Ends
from emulation.protocol.messages import NodeConfig, guest_name
from emulation.sandbox import guest_root
from emulation.sandbox.child import Child
from emulation.sandbox.namespaces import ProcessWall, View, arrange, try_walls
from emulation.sandbox.policy_files import PROJECT, place_of, policy_file, user_folder
from emulation.sandbox.policy_sources import Sources
from emulation.sandbox.socket_maker import SocketMaker
from model.errors import UserError
from rl.policies import checkpoint

_MAX_REQUEST_BYTES = 16 * 1024 * 1024
_SNDBUFFORCE, _PACKET_BYTES = 32, 1 << 20
_LAZY = (encodings.ascii, encodings.idna, np.random.default_rng)
"""Loaded here, because a child that has left root behind may not be able to read their files."""


def _load_policies() -> None:
    """The policies that come with the lab are ours; they need not be readable for everybody."""
    for module in pkgutil.iter_modules(rl.policies.__path__, "rl.policies."):
        importlib.import_module(module.name)


class _Prepared(NamedTuple):
    """A node without a process yet."""

    config: NodeConfig
    ends: Ends
    companions: tuple[int, ...]


class Spawner:
    """Forks nodes on request and tells when they end."""

    def __init__(self, control: socket.socket):
        self._control = control
        self._received = bytearray()
        self._children: dict[int, tuple[str, ...]] = {}
        self._companions: dict[int, tuple[int, ...]] = {}
        self._prepared: dict[str, _Prepared] = {}
        self._view: View | None = None
        self._room: View | None = None
        self._sources: list[Sources] | None = None
        self._missing = try_walls()
        self._folder = user_folder()
        self._pidfd = os.pidfd_open(os.getpid())
        self._ending = False
        self._selector = selectors.DefaultSelector()
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
        with self._selector as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._ending:
                for key, _ in selector.select():
                    if key.fileobj is self._wake:
                        self._wake.recv(4096)
                    elif isinstance(key.data, SocketMaker):
                        self._make_socket(key.data)
                    else:
                        self._read()
                self._reap()
        self._end_children()

    def _make_socket(self, maker: SocketMaker) -> None:
        if not maker.serve():
            self._selector.unregister(maker.pipe)
            maker.close()

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
            if "carry" in value:
                name = str(value["carry"][0])
                self._carry([str(n) for n in value["carry"]])
                return
            name = str(value["prepare"]["name"])
            self._prepare(NodeConfig.from_json(value["prepare"]), shared=bool(value["shared"]))
        except Exception as error:  # noqa: BLE001 - goes back to whoever asked
            text = (
                str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            )
            self._say({"failed": name, "error": text})

    def _end(self, name: str) -> None:
        for pid, names in self._children.items():
            if name in names:
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
            places = [self._folder, *(place_of(config.policy, policy) if policy else ())]
            self._sources = [Sources(p, config.policy) for p in places if p is not None]
        if "files" in self._missing:
            return None
        if self._room is None:
            packages = (policy.relative_to(PROJECT).parts[0],) if ours and policy else ()
            self._room = View(
                partial(guest_root.arrange, guest_root.visible(config.files, packages))
            )
        return self._room

    def _prepare(self, config: NodeConfig, *, shared: bool) -> None:
        """Make a node's pipes, and fork its worker and its guest.

        One node after another, so that a guest inherits nothing of other nodes.
        """
        child = Child(config, self._view_for(config), self._pidfd, self._missing)
        with ExitStack() as stack:
            control, ours = socket.socketpair()
            stack.enter_context(control)
            ends = Ends(config.name, ours)
            pids: dict[str, int | None] = {"worker": None, "guest": None}
            if config.worker:
                ends.worker, lower = socket.socketpair()
                stack.enter_context(lower)
                # Without a name: a worker ends with its node, and only the node's end is reported.
                pids["worker"] = self._fork([], partial(child.run_worker, lower))
            if config.guest:
                ends.guest, lower = _packet_pair()
                stack.enter_context(lower)
                run = partial(child.run_guest, lower, self._room_for(config), self._sources or [])
                pids["guest"] = self._fork([guest_name(config.name)], run)
            if shared:
                maker, ends.sockets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                served = SocketMaker(maker, config.netns)
                self._selector.register(maker, selectors.EVENT_READ, served)
            companions = tuple(p for p in pids.values() if p is not None)
            self._prepared[config.name] = _Prepared(config, ends, companions)
            self._say({"prepared": config.name, **pids}, control.fileno())

    def _carry(self, names: Sequence[str]) -> None:
        """Fork the process that carries nodes, which were prepared."""
        nodes = [self._prepared.pop(name) for name in names]
        leader = nodes[0].config
        if leader.checkpoint:
            # Data, no code: read here once, for the nodes may not be able to reach the file.
            checkpoint.load(leader.checkpoint)
        child = Child(leader, self._view_for(leader), self._pidfd, self._missing)
        try:
            pid = self._fork(names, partial(child.run, [node.ends for node in nodes]))
        finally:
            for node in nodes:
                node.ends.close()
        self._companions[pid] = tuple(p for node in nodes for p in node.companions)
        self._say({"carried": names[0], "pid": pid})

    def _fork(self, names: Sequence[str], run: Callable[[], NoReturn]) -> int:
        wall = nullcontext() if "processes" in self._missing else ProcessWall()
        with wall:
            pid = os.fork()
            if pid == 0:
                self._forget()
                run()
        self._children[pid] = tuple(names)
        return pid

    def _forget(self) -> None:
        """A child need not know of others, nor touch what is the parent's."""
        self._children.clear()
        self._prepared.clear()
        self._received.clear()

    def _say(self, answer: dict[str, Any], *descriptors: int) -> None:
        line = json.dumps(answer).encode() + b"\n"
        try:
            if descriptors:
                # A descriptor travels with the first byte; the rest may follow by itself.
                sent = socket.send_fds(self._control, [line], list(descriptors))
                line = line[sent:]
            self._control.sendall(line)
        except ConnectionError:
            self._ending = True

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            names = self._children.pop(pid, ())
            # A policy would not end by itself with its device.
            for companion in self._companions.pop(pid, ()):
                if companion in self._children:
                    os.kill(companion, signal.SIGKILL)
            for name in names:
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


def main() -> None:
    """Take the control socket over and serve it."""
    parser = argparse.ArgumentParser(
        prog="emulation.sandbox.spawner", description="Forks node processes."
    )
    parser.add_argument("--control-fd", type=int, required=True)
    handle = socket.socket(fileno=parser.parse_args().control_fd)
    _load_policies()
    gc.collect()
    gc.freeze()
    Spawner(handle).run()


if __name__ == "__main__":
    main()

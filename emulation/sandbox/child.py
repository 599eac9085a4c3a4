"""What the spawner forks: from the fork to the end of a node, a worker or a policy's process."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from emulation.guest.process import run_guest
from emulation.host import syscalls
from emulation.host.uids import GUESTS
from emulation.node.main import Ends, run_nodes
from emulation.node.transcoding.worker import serve
from emulation.protocol.messages import Fatal, NodeConfig, to_list
from emulation.sandbox import guest_seccomp as guest_filter
from emulation.sandbox import privileges, seccomp
from emulation.sandbox.namespaces import View
from emulation.sandbox.policy_sources import Sources

_BRIEFING_TIMEOUT_S = 2.0
_GUESTS_OOM_SCORE = 900
"""Policies are to be killed for memory before nodes."""


class Child:
    """Runs a node's process, its worker's or its guest's, from the fork to its end.

    ``parent`` is a pidfd of the spawner; ``missing``: which walls this machine lacks, and why.
    """

    def __init__(self, config: NodeConfig, view: View | None, parent: int, missing: dict[str, str]):
        self._config, self._view = config, view
        self._parent, self._missing = parent, missing

    def run(self, nodes: Sequence[Ends]) -> NoReturn:
        """Carry nodes, to the end of this process: none of the parent's code may run in it."""
        status = 1
        try:
            status = self._run(nodes)
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

    def _run(self, nodes: Sequence[Ends]) -> int:
        try:
            self._become_nobody(*(d for node in nodes for d in node.descriptors()))
        except Exception as error:  # noqa: BLE001 - reported; the parent's code must not run on
            _report_failure(nodes[0].control, error)
            return 1
        try:
            return run_nodes(nodes)
        except BaseException:  # noqa: BLE001 - os._exit would swallow it
            traceback.print_exc()
            return 1
        finally:
            sys.stderr.flush()

    def _become_nobody(self, *kept: int, is_worker: bool = False) -> None:
        config = self._config
        last_capability = self._begin(config.oom_score_adj)
        if is_worker:
            syscalls.unshare(syscalls.NEW_NET)  # FFmpeg needs no network: none, and no loopback
        else:
            privileges.enter_namespace(config.netns)
        if self._view is not None:
            self._view.enter(without_proc=is_worker)
        privileges.close_all_but(*kept, self._parent)
        install = None if "system calls" in self._missing else seccomp.install
        privileges.drop(config.uid, config.gid, self._parent, last_capability, install)

    def _become_guest(self, device: int, view: View | None) -> None:
        last_capability = self._begin(_GUESTS_OOM_SCORE)
        syscalls.unshare(syscalls.NEW_NET)  # nothing in it, and its loopback is down
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


def _report_failure(control: socket.socket, error: Exception) -> None:
    """Send why a process cannot become a node."""
    line = json.dumps(to_list(Fatal(f"{type(error).__name__}: {error}", user=False))) + "\n"
    control.sendall(line.encode())
    # Closed with a briefing unread, the socket would seem broken at the other end.
    control.settimeout(_BRIEFING_TIMEOUT_S)
    while not control.recv(65536).endswith(b"\n"):
        continue

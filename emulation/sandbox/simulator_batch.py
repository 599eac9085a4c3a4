"""The processes of one simulation's policies: a parent that puts up walls, and a child a pipe.

The parent ("batch") is forked by the launcher. It enters an empty network namespace and a minimal
root (``room``) once, for all its children; each child then gets scratch space and, where it can be,
a PID namespace and a uid of its own, gives up every right, and imports the policy.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from emulation.guest.simulator_process import run_simulator_guest
from emulation.host import syscalls
from emulation.host.uids import first_uid_of_simulation
from emulation.protocol import simulator_codec as packets
from emulation.sandbox import guest_root, privileges, unprivileged
from emulation.sandbox import guest_seccomp as guest_filter
from emulation.sandbox import namespaces as walls
from emulation.sandbox.policy_sources import Sources

_OOM_SCORE = 900
"""Policies are to be killed for memory before anything else."""
_PROCESSES = 64
"""That policies may start beside their own."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the processes of a batch see, and behind which walls they are.

    Attributes:
        sources: of the user's folder.
        files: that parameters name.
        packages: further folders of the project, where the policy is in one.
        missing: walls that this machine lacks.
        namespaces: whether walls are made without root, in a user namespace.
        core: of the processor, that they run on; None: any.
    """

    sources: tuple[Sources, ...]
    files: tuple[str, ...]
    packages: tuple[str, ...]
    missing: tuple[str, ...]
    namespaces: bool
    core: int | None = None

    @property
    def root(self) -> bool:
        """Whether the walls are root's."""
        return os.geteuid() == 0

    def has(self, wall: str) -> bool:
        """Whether the machine has a wall that the launcher has tried."""
        return wall not in self.missing

    @property
    def has_mounts(self) -> bool:
        """Whether a root of its own can be mounted."""
        return self.has("files") if self.root else self.namespaces

    @property
    def has_processes(self) -> bool:
        """Whether there are PID namespaces."""
        return self.has("processes") if self.root else self.namespaces


class Batch:
    """The launcher's hold on a batch."""

    def __init__(self, pid: int, stop: int):
        self._pid, self._stop = pid, stop

    @classmethod
    def start(cls, setting: Setting, pipes: Sequence[socket.socket]) -> Batch:
        """Fork the parent of a batch, with a child for each pipe."""
        told, stop = os.pipe()
        launcher = os.pidfd_open(os.getpid())
        pid = os.fork()
        if pid == 0:
            os.close(stop)
            _be_parent(setting, pipes, told, launcher)
        os.close(told)
        os.close(launcher)
        return cls(pid, stop)

    def end(self) -> None:
        """End all processes of the batch."""
        os.close(self._stop)
        os.waitpid(self._pid, 0)


def try_namespaces() -> None:
    """Make all namespaces and a root without being root. Raises ``OSError``."""
    unprivileged.enter_user_namespace()
    syscalls.unshare(syscalls.NEW_PID | syscalls.NEW_NET | syscalls.NEW_IPC | syscalls.NEW_MOUNTS)
    guest_root.arrange(guest_root.visible(()))
    pid = os.fork()
    if pid == 0:
        os._exit(0 if os.getpid() == 1 else 1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise OSError("a new PID namespace does not begin with process 1")


def try_filter() -> None:
    """Put the filter on this process. Raises ``OSError``."""
    syscalls.prctl(38, 1)  # no_new_privs, of this trial's process
    guest_filter.install()


def _be_parent(
    setting: Setting, pipes: Sequence[socket.socket], told: int, launcher: int
) -> NoReturn:
    children: list[int] = []
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        privileges.close_all_but(told, launcher, *(pipe.fileno() for pipe in pipes))
        privileges.end_with_parent()
        if setting.core is not None:
            os.sched_setaffinity(0, {setting.core})
        _Parent(setting, len(pipes)).fork_all(pipes, children, told, launcher)
        for pipe in pipes:
            pipe.close()
        os.read(told, 1)  # until the launcher closes its end, or has ended
    except BaseException as error:  # noqa: BLE001 - nothing of the launcher's may run here
        for pipe in pipes:
            _refuse(pipe, error)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)
        os._exit(0)


def _refuse(pipe: socket.socket, error: BaseException) -> None:
    text = f"the policy's process cannot be started: {type(error).__name__}: {error}"
    with suppress(OSError):
        pipe.send(packets.to_fault(packets.REFUSED, text))


class _Parent:
    """Puts walls up, once for all children."""

    def __init__(self, setting: Setting, count: int):
        self._setting, self._count = setting, count
        self._last_capability = privileges.prepare(_OOM_SCORE)
        self._uid = first_uid_of_simulation() if setting.root else os.geteuid()
        self._own_processes = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._paths = guest_root.visible(setting.files, setting.packages)
        processors = walls.processors()
        if setting.root or setting.namespaces:
            with suppress(OSError):  # a container without the right: sockets are refused anyway
                syscalls.unshare(syscalls.NEW_NET | syscalls.NEW_IPC)
        if setting.has_mounts:
            syscalls.unshare(syscalls.NEW_MOUNTS)
            guest_root.arrange(self._paths)
            walls.cover_proc(processors)

    def fork_all(
        self, pipes: Sequence[socket.socket], children: list[int], told: int, launcher: int
    ) -> None:
        """Fork a child for each pipe."""
        os.close(launcher)
        parent = os.pidfd_open(os.getpid())
        for number, pipe in enumerate(pipes):
            if self._setting.has_processes:
                syscalls.unshare(syscalls.NEW_PID)
            pid = os.fork()
            if pid == 0:
                self._be_child(pipe, number, parent)
            children.append(pid)
            if self._setting.has_processes:
                syscalls.setns(self._own_processes, syscalls.NEW_PID)
        os.close(parent)

    def _be_child(self, pipe: socket.socket, number: int, parent: int) -> NoReturn:
        try:
            if self._setting.has_mounts:
                syscalls.unshare(syscalls.NEW_MOUNTS | syscalls.NEW_IPC)
                walls.mount_scratch()
            privileges.close_all_but(pipe.fileno(), parent)
            self._drop(number, parent)
            sys.meta_path.extend(self._setting.sources)
            run_simulator_guest(pipe)
        except BaseException as error:  # noqa: BLE001 - nothing of the parent's may run here
            _refuse(pipe, error)
        finally:
            os._exit(1)

    def _drop(self, number: int, parent: int) -> None:
        setting = self._setting
        install = guest_filter.install if setting.has("system calls") else None
        if setting.root:
            uid, share = self._uid + number, privileges.GUESTS_SHARE
            privileges.drop(uid, uid, parent, self._last_capability, install, share)
            return
        processes = _PROCESSES + self._count if setting.namespaces else None
        unprivileged.drop(parent, processes)
        if not setting.namespaces and setting.has("files"):
            unprivileged.hide_files(self._paths)
        if install is not None:
            # Nothing but a PID namespace would end what it starts, or count it for it alone.
            install(processes=setting.namespaces)

"""What a node can see of the machine's files and processes: nearly nothing.

Two walls, each tried once by the spawner, because not every machine (or container) has them:

- ``processes``: a PID namespace per node. It is process 1 there, can signal nobody else, and
  whatever it has started dies with it. Edges and the cloud see themselves in /proc.
- ``files``: a mount namespace per node, copied from one *view* that the spawner makes. In it
  everything is read-only, and /run (ledger, sockets of Open vSwitch and of the operator's API,
  network namespaces), /sys, /dev and the run's folders are empty. A node has 16 MB of its own in
  /dev/shm. A device has no /proc: even a process's own part of it (``/proc/self/net/sockstat``)
  counts what all namespaces of the machine do together, hidden queues among it. Only ``cpuinfo`` is
  there, as it was at the start, for libraries that ask which instructions they may use.

Where a wall is missing, the run says so in its manifest; the others stand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from emulation.host import syscalls
from emulation.sandbox import seccomp

_EMPTY = "mode=0555,size=4k,nr_inodes=16"
_NO_PROC, _MOST_CPUINFO = "mode=0555,size=128k,nr_inodes=4", 1 << 16
_SCRATCH = "/dev/shm"  # noqa: S108 - a file system of the node's own
_SCRATCH_OPTIONS = "mode=1777,size=16m,nr_inodes=1024"
_ALWAYS_HIDDEN = ("/run", "/sys")
DEVICES = ("null", "zero", "full", "random", "urandom")
_PROC_OPTIONS = ("hidepid=2,subset=pid", "hidepid=2", "")
"""The first one that the kernel knows (5.8) also leaves out what tells of the whole machine."""


def try_walls() -> dict[str, str]:
    """Which walls this machine lacks, and why: tried in processes that end at once."""
    trials = {"processes": _try_processes, "files": _try_files, "system calls": _try_filter}
    return {name: why for name, trial in trials.items() if (why := outcome(trial))}


def outcome(trial: Callable[[], None]) -> str:
    """Return what ``trial`` raises in a process of its own, in one line; '' if nothing."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            trial()
        except BaseException as error:  # noqa: BLE001 - the parent hears of it
            os.write(writer, f"{type(error).__name__}: {error}"[:400].encode() or b"?")
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:  # noqa: PTH123 - a descriptor
        text = pipe.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return text or ("" if status == 0 else f"ended with {status}")


def _try_processes() -> None:
    with ProcessWall():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if os.getpid() == 1 else 1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise OSError("a new PID namespace does not begin with process 1")


def _try_files() -> None:
    syscalls.unshare(syscalls.NEW_MOUNTS)
    arrange([])


def _try_filter() -> None:
    syscalls.prctl(38, 1)  # no_new_privs, of this trial's process
    seccomp.install()


class ProcessWall:
    """In this block, every fork's child is process 1 of a PID namespace of its own."""

    def __enter__(self) -> None:
        syscalls.unshare(syscalls.NEW_PID)

    def __exit__(self, *_: object) -> None:
        # Only who is back in its own namespace can make the next one.
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(own, syscalls.NEW_PID)
        finally:
            os.close(own)


class View:
    """A mount namespace that nodes copy, kept alive by a descriptor."""

    def __init__(self, arrange: Callable[[], None]):
        """Arrange it in a child, since a process cannot come back. Raises ``OSError``.

        ``arrange`` makes a new mount namespace what nodes are to see.
        """
        self._processors = processors()
        ready_in, ready_out = os.pipe()
        parent_in, parent_out = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(parent_out)
            try:
                syscalls.unshare(syscalls.NEW_MOUNTS)
                arrange()
                os.write(ready_out, b"+")
            except BaseException as error:  # noqa: BLE001 - the parent raises it again
                os.write(ready_out, f"-{error}"[:400].encode())
            os.read(parent_in, 1)  # until the parent has taken hold of the namespace, or has gone
            os._exit(0)
        os.close(ready_out)
        os.close(parent_in)
        try:
            answer = os.read(ready_in, 4096).decode(errors="replace")
            if answer != "+":
                raise OSError(f"cannot arrange what nodes see: {answer[1:]}")
            self._descriptor = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(ready_in)
            os.close(parent_out)
            os.waitpid(pid, 0)

    def enter(self, *, without_proc: bool) -> None:
        """Give this process a copy of its own, with its own scratch space and /proc, or none."""
        syscalls.setns(self._descriptor, syscalls.NEW_MOUNTS)
        syscalls.unshare(syscalls.NEW_MOUNTS | syscalls.NEW_IPC)
        if without_proc:
            cover_proc(self._processors)
        else:
            _mount_proc()
        mount_scratch()


def mount_scratch() -> None:
    """Give this process scratch space of its own. Raises ``OSError``."""
    syscalls.mount("tmpfs", _SCRATCH, syscalls.HARMLESS, _SCRATCH_OPTIONS)
    os.environ["TMPDIR"] = _SCRATCH


def cover_proc(processors: bytes) -> None:
    """Leave nothing in /proc but the processors' description. Raises ``OSError``."""
    syscalls.mount("tmpfs", "/proc", syscalls.HARMLESS, _NO_PROC)
    Path("/proc/cpuinfo").write_bytes(processors)
    Path("/proc/cpuinfo").chmod(0o444)


def processors() -> bytes:
    """The processors' description, for libraries that ask which instructions they may use."""
    return Path("/proc/cpuinfo").read_bytes()[:_MOST_CPUINFO]


def _mount_proc() -> None:
    for options in _PROC_OPTIONS:
        try:
            syscalls.mount("proc", "/proc", syscalls.READ_ONLY, options)
        except OSError:
            if not options:
                raise
        else:
            return


def arrange(hidden: Sequence[str]) -> None:
    """Make this process's mount namespace what nodes may see: everything but ``hidden``."""
    syscalls.make_private()
    folders = [os.path.realpath(f) for f in (*_ALWAYS_HIDDEN, *hidden)]
    for folder in sorted({f for f in folders if Path(f).is_dir()}):
        _release(folder)
        syscalls.mount("tmpfs", folder, syscalls.READ_ONLY, _EMPTY)
    _replace_devices()
    syscalls.make_read_only()


def _release(folder: str) -> None:
    """Unmount what is mounted below: a hidden mount would still be kept alive by every node."""
    below = [p for p in set(syscalls.mount_points()) if p.startswith(f"{folder}/")]
    for point in sorted(below, key=len, reverse=True):
        # It may have been unmounted with one above it, or the run that owned it has just ended.
        try:
            syscalls.detach(point)
        except OSError:
            continue


def _replace_devices() -> None:
    """/dev of five harmless devices and a place for the node's scratch space."""
    # The new /dev hides the old one, so the devices are held by descriptors meanwhile.
    held = {name: os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES}
    syscalls.mount("tmpfs", "/dev", syscalls.HARMLESS & ~4, "mode=0755,size=64k,nr_inodes=32")
    for name, descriptor in held.items():
        Path("/dev", name).touch()
        syscalls.bind(f"/proc/self/fd/{descriptor}", f"/dev/{name}")
        os.close(descriptor)
    Path(_SCRATCH).mkdir()
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1")):
        Path("/dev", name).symlink_to(target)

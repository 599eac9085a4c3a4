"""From root to nobody: what a node process gives up before it runs anything of a user's."""

from __future__ import annotations

import os
import resource
import select
import signal
import stat
from collections.abc import Callable
from pathlib import Path

from emulation.host import syscalls

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_TIMERSLACK = 29
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_TIMER_SLACK_NS = 1000
_MAX_FILES = 65536
_MAX_PROCESSES = 64
"""Processes and threads of one node, which has a uid of its own: a fork bomb ends there."""
_MAX_FILE_BYTES = 64 * 1024 * 1024
"""Of the one file that a node could make grow: the log that its standard error goes to."""
NODES_SHARE, GUESTS_SHARE = 4, 16
"""A process gets at most the machine's memory divided by this."""
_LEAST_MEMORY_BYTES = 1 << 30


def enter_namespace(path: str) -> None:
    """Move this process into the network namespace at ``path``; raises ``OSError``."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(handle, syscalls.NEW_NET)
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error
    finally:
        os.close(handle)


def close_all_but(*keep: int) -> None:
    """Close every descriptor except 0, 1, 2 and ``keep``; 0 becomes /dev/null."""
    begin = 3
    for descriptor in sorted(keep):
        os.closerange(begin, descriptor)
        begin = descriptor + 1
    os.closerange(begin, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _keep_log_to_root()


def _keep_log_to_root() -> None:
    """What others print must not be read through /proc/self/fd/2."""
    for descriptor in (1, 2):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = most if hard == resource.RLIM_INFINITY else min(hard, most)
    resource.setrlimit(kind, (value, value))


def limit_resources(share: int, processes: int | None = _MAX_PROCESSES) -> None:
    """Limit files, memory, what is written to a file, and this uid's processes; None: these not."""
    _limit(resource.RLIMIT_CORE, 0)
    # An edge has one connection and more for every device.
    _limit(resource.RLIMIT_NOFILE, _MAX_FILES)
    if processes is not None:
        _limit(resource.RLIMIT_NPROC, processes)
    _limit(resource.RLIMIT_FSIZE, _MAX_FILE_BYTES)
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # What is written to, not what is mapped: libraries map many gigabytes and use few.
    _limit(resource.RLIMIT_DATA, max(_LEAST_MEMORY_BYTES, machine // share))


def prepare(oom_score_adj: int) -> int:
    """What needs the machine's /proc, before it is out of sight; returns the last capability."""
    Path("/proc/self/oom_score_adj").write_text(str(oom_score_adj), encoding="ascii")
    return last_capability()


def last_capability() -> int:
    """Number of the last capability that this kernel knows."""
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))


def drop(
    uid: int,
    gid: int,
    parent: int,
    last_capability: int,
    install_filter: Callable[[], None] | None,
    share: int = NODES_SHARE,
) -> None:
    """Become an unprivileged process for good, one that dies with its parent.

    No supplementary groups, no capabilities (nor a way to get any back), no core files, no way for
    siblings to trace it, ``umask`` 077, the system calls that ``install_filter`` leaves.
    ``parent`` is a pidfd of it, closed here; ``share``: at most 1/``share`` of the memory.
    Raises ``OSError``, and ``ValueError`` for uid or gid 0. Ends the process if the parent has
    died meanwhile.
    """
    if uid <= 0 or gid <= 0:
        raise ValueError(f"nodes run unprivileged: uid {uid} and gid {gid} must be above 0")
    limit_resources(share)
    syscalls.prctl(_PR_SET_TIMERSLACK, _TIMER_SLACK_NS)
    os.umask(0o077)
    os.chdir("/")
    syscalls.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(last_capability + 1):
        syscalls.prctl(_PR_CAPBSET_DROP, capability)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    # The change from uid 0 clears the permitted and effective capabilities.
    os.setresuid(uid, uid, uid)
    seal(parent)
    if install_filter is not None:
        install_filter()


def hide_memory() -> None:
    """Keep processes of the same user out of this one's memory and of its part of /proc."""
    syscalls.prctl(_PR_SET_DUMPABLE, 0)


def end_with_parent() -> None:
    """Have this process killed when its parent ends."""
    syscalls.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def seal(parent: int) -> None:
    """Get no privilege any more, be traced by no sibling, and end with the parent.

    ``parent`` is a pidfd of it, closed here. Ends the process if the parent has died meanwhile.
    """
    syscalls.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    hide_memory()
    # A change of uid clears the death signal, hence only now; the parent may be gone already. Its
    # pid would not tell: seen from another PID namespace it is 0, alive or dead.
    end_with_parent()
    if select.select([parent], [], [], 0)[0]:
        os._exit(1)
    os.close(parent)

"""System calls that Python 3.11 lacks: namespaces, mounts, prctl."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

NEW_NET = 0x40000000
NEW_PID = 0x20000000
NEW_IPC = 0x08000000
NEW_MOUNTS = 0x00020000

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH = 2
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID = 1, 2

HARMLESS = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
READ_ONLY = HARMLESS | _MS_RDONLY
NO_EXEC = _MS_NOEXEC
_SYS_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SCHED_ATTR = struct.Struct("IIQiIQQQII")
"""size, policy, flags, niceness, priority, runtime, deadline, period in ns, two clamps."""
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, *arguments: int) -> None:
    """Change something of this process, by up to four numbers. Raises ``OSError``."""
    values = [ctypes.c_ulong(v) for v in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(ctypes.c_int(option), *values), f"prctl({option})")


def set_slice(pid: int, seconds: float) -> None:
    """Have a process take the processor for so short a time that it gets it soon when it wakes.

    Its share does not change. The kernel takes this from 6.12 on; before, it ignores it.
    Raises ``OSError``.
    """
    nice, runtime_ns = os.getpriority(os.PRIO_PROCESS, pid), round(seconds * 1e9)
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, 0, 0, nice, 0, runtime_ns, 0, 0, 0, 0)
    number = _SYS_SCHED_SETATTR.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "sched_setattr")
    _check(_libc.syscall(number, pid, attributes, 0), "sched_setattr")


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace behind a descriptor. Raises ``OSError``."""
    _check(_libc.setns(descriptor, kind), "setns")


def unshare(kinds: int) -> None:
    """Make new namespaces for this process. Raises ``OSError``."""
    _check(_libc.unshare(kinds), "unshare")


def mount(kind: str, target: str, flags: int, options: str = "") -> None:
    """Mount a filesystem that has no source. Raises ``OSError``."""
    data = (kind.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(_libc.mount(*data), f"mount {kind} on {target}")


def mount_points() -> list[str]:
    """Return where something is mounted in this process's mount namespace."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [line.split(" ")[4].encode().decode("unicode_escape") for line in lines]


def bind(source: str, target: str) -> None:
    """Let a file or folder appear in another place too. Raises ``OSError``."""
    arguments = (source.encode(), target.encode(), None, ctypes.c_ulong(_MS_BIND), None)
    _check(_libc.mount(*arguments), f"bind {source} to {target}")


def make_private() -> None:
    """What is mounted or unmounted from here on concerns this namespace alone."""
    flags = ctypes.c_ulong(_MS_REC | _MS_PRIVATE)
    _check(_libc.mount(None, b"/", None, flags, None), "make / private")


def detach(target: str) -> None:
    """Unmount, now or as soon as nobody is in there. Raises ``OSError``."""
    _check(_libc.umount2(target.encode(), _MNT_DETACH), f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make the mount at ``new`` this namespace's root, and the old root a mount at ``old``.

    Raises ``OSError``.
    """
    number = _SYS_PIVOT_ROOT.get(os.uname().machine, 155)
    _check(_libc.syscall(ctypes.c_long(number), new.encode(), old.encode()), "pivot_root")


def make_read_only() -> None:
    """Nothing of the whole tree can be written in this namespace. Raises ``OSError``."""
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY | _ATTR_NOSUID, 0, 0, 0)
    # Through syscall(2): glibc has no name for it before 2.36.
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(b"/"),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, "make / read-only")

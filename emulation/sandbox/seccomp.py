"""System calls that a node never needs and an attack would begin with, refused by the kernel.

A filter of classic BPF, written out here rather than with libseccomp, which would be one more thing
to install: it is a list of numbers and a return value each. It cannot be taken off again, and what
a node forks or executes inherits it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Callable, Iterator, Sequence

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020000
"""Every flag of clone that makes a namespace: a child in a user namespace would have capabilities
again, over that namespace, and with them more of the kernel to try."""
_FAMILIES = (1, 2, 10, 16)
"""Unix, IPv4, IPv6, netlink (names of hosts need it). Not packet, vsock, Bluetooth, ALG, …"""

_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "pidfd_getfd": 438, "mount_setattr": 442,
}  # fmt: skip
"""Calls as new as these have one number on all architectures."""
# ``sysinfo`` tells load and free memory of the whole machine. glibc does not look whether it
# failed: ``os.sysconf("SC_PHYS_PAGES")`` means nothing on a node.
_DENIED = {
    "ptrace": (101, 117), "syslog": (103, 116), "pivot_root": (155, 41), "chroot": (161, 51),
    "acct": (163, 89), "mount": (165, 40), "umount2": (166, 39), "swapon": (167, 224),
    "reboot": (169, 142), "init_module": (175, 105), "delete_module": (176, 106),
    "kexec_load": (246, 104), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "unshare": (272, 97), "perf_event_open": (298, 241),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "setns": (308, 268),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "finit_module": (313, 273), "kexec_file_load": (320, 294), "bpf": (321, 280),
    "userfaultfd": (323, 282), "sysinfo": (99, 179),
}  # fmt: skip
"""Name → number on x86_64, number on aarch64."""
_SPECIAL = {  # AUDIT_ARCH, socket, clone, clone3, prctl
    "x86_64": (0xC000003E, 41, 56, 435, 157),
    "aarch64": (0xC00000B7, 198, 220, 435, 167),
}
_SET_DEATH_SIGNAL = 1
"""Of prctl: a node dies with the spawner, and must not be able to change that."""

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, k."""


def refusal(code: int) -> Instruction:
    """Let the system call fail with an error number."""
    return _RETURN, 0, 0, _ERRNO | code


def _refuse(number: int, code: int) -> Iterator[Instruction]:
    yield _EQUAL, 0, 1, number
    yield refusal(code)


def allow(number: int) -> Iterator[Instruction]:
    """Allow a system call."""
    yield _EQUAL, 0, 1, number
    yield _RETURN, 0, 0, _ALLOW


def beginning(machine: str) -> list[Instruction]:
    """Refuse other architectures' calls, and leave the number loaded. Raises ``KeyError``."""
    architecture, _, _, clone3, _ = _SPECIAL[machine]
    return [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        refusal(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32_BIT),
        refusal(errno.EPERM),
        # Its flags lie in memory, which a filter cannot see; libraries fall back to clone.
        *_refuse(clone3, errno.ENOSYS),
    ]


def clone_and_prctl(machine: str, *, processes: bool = True) -> list[Instruction]:
    """Allow threads, ``processes`` in the same namespaces, and prctl but for the death signal."""
    _, _, clone, _, prctl = _SPECIAL[machine]
    wanted = [] if processes else [(_ANY_BIT, 1, 0, _CLONE_THREAD), refusal(errno.EPERM)]
    return [
        (_EQUAL, 0, 4 + len(wanted), clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _CLONE_NEW),
        refusal(errno.EPERM),
        *wanted,
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 4, prctl),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, _SET_DEATH_SIGNAL),
        refusal(errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def with_argument(
    number: int, position: int, values: Sequence[int], *, otherwise: int
) -> list[Instruction]:
    """Allow a system call with certain values of an argument; ``otherwise``: the error number."""
    return [
        (_EQUAL, 0, len(values) + 3, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * position),
        *((_EQUAL, len(values) - k, 0, value) for k, value in enumerate(values)),
        refusal(otherwise),
        (_RETURN, 0, 0, _ALLOW),
    ]


def program(machine: str) -> list[Instruction]:
    """The filter of nodes. Raises ``KeyError`` for an architecture that is not known."""
    lines = beginning(machine)
    column = list(_SPECIAL).index(machine)
    for number in (*(numbers[column] for numbers in _DENIED.values()), *_EVERYWHERE.values()):
        lines += _refuse(number, errno.EPERM)
    lines += clone_and_prctl(machine)
    lines += with_argument(_SPECIAL[machine][1], 0, _FAMILIES, otherwise=errno.EAFNOSUPPORT)
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def install() -> None:
    """Put the filter of nodes on this process, for good; ``no_new_privs`` must be set.

    Raises ``OSError`` if the kernel has no filters or the architecture is not known here.
    """
    load(program, platform.machine())


def load(make: Callable[[str], list[Instruction]], machine: str) -> None:
    """Put the filter that ``make`` gives for an architecture on this process.

    Raises ``OSError`` if the kernel has no filters or the architecture is not known here.
    """
    try:
        lines = make(machine)
    except KeyError as error:
        raise OSError(errno.ENOSYS, f"no filter for {error.args[0]}") from error
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    # struct sock_fprog: a count and, aligned, a pointer.
    at = ctypes.addressof
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), at(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(v) for v in (_SECCOMP_MODE_FILTER, at(header), 0, 0)]
    if libc.prctl(ctypes.c_int(_PR_SET_SECCOMP), *arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")

"""System calls that the process of a policy may make; the kernel refuses every other one.

Memory, threads, files that are in its view, clocks and its pipe. No sockets but pairs, no programs,
no memory files, no new namespaces, no priorities, and nothing that counts for the whole machine.
"""

from __future__ import annotations

import errno
import platform
from functools import partial

from emulation.sandbox import seccomp

_ON_BOTH = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "preadv": (295, 69), "pwritev": (296, 70), "close": (3, 57),
    "fstat": (5, 80), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226),
    "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233), "brk": (12, 214),
    "msync": (26, 227), "mincore": (27, 232), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "sigaltstack": (131, 132), "fcntl": (72, 25), "flock": (73, 32),
    "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46), "fallocate": (285, 47),
    "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50),
    "openat": (257, 56), "faccessat": (269, 48), "faccessat2": (439, 439), "newfstatat": (262, 79),
    "statx": (332, 291), "statfs": (137, 43), "fstatfs": (138, 44), "readlinkat": (267, 78),
    "unlinkat": (263, 35), "mkdirat": (258, 34), "renameat2": (316, 276), "fchmod": (91, 52),
    "fchmodat": (268, 53), "umask": (95, 166), "utimensat": (280, 88), "dup": (32, 23),
    "dup3": (292, 24), "pipe2": (293, 59), "eventfd2": (290, 19), "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21), "epoll_pwait": (281, 22), "ppoll": (271, 73), "pselect6": (270, 72),
    "timerfd_create": (283, 85), "timerfd_settime": (286, 86), "timerfd_gettime": (287, 87),
    "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212),
    "getsockopt": (55, 209), "shutdown": (48, 210), "socketpair": (53, 199),
    "getsockname": (51, 204), "getpeername": (52, 205), "futex": (202, 98),
    "get_robust_list": (274, 100), "set_robust_list": (273, 99), "set_tid_address": (218, 96),
    "rseq": (334, 293), "membarrier": (324, 283), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "getcpu": (309, 168), "gettid": (186, 178), "getpid": (39, 172), "getppid": (110, 173),
    "getpgid": (121, 155), "getsid": (124, 156), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "times": (100, 153), "getitimer": (36, 102), "setitimer": (38, 103),
    "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150), "capget": (125, 90),
    "uname": (63, 160), "getrusage": (98, 165), "getrlimit": (97, 163), "prlimit64": (302, 261),
    "getpriority": (140, 141), "getrandom": (318, 278), "exit": (60, 93), "exit_group": (231, 94),
    "wait4": (61, 260), "waitid": (247, 95), "kill": (62, 129), "tgkill": (234, 131),
    "restart_syscall": (219, 128), "sync_file_range": (277, 84), "copy_file_range": (326, 285),
    "fadvise64": (221, 223),
}  # fmt: skip
"""Name → number on x86_64, number on aarch64."""
_ON_X86_64 = {
    "open": 2, "stat": 4, "lstat": 6, "access": 21, "dup2": 33, "pipe": 22, "poll": 7, "select": 23,
    "epoll_wait": 232, "epoll_create": 213, "eventfd": 284, "readlink": 89, "unlink": 87,
    "mkdir": 83, "rmdir": 84, "rename": 82, "getdents": 78, "time": 201, "arch_prctl": 158,
    "chmod": 90, "getpgrp": 111, "alarm": 37, "signalfd4": 289, "pause": 34,
}  # fmt: skip
"""Old calls, which newer architectures never had."""
_ALLOWED = {
    "x86_64": (*(x86_64 for x86_64, _ in _ON_BOTH.values()), *_ON_X86_64.values()),
    "aarch64": tuple(aarch64 for _, aarch64 in _ON_BOTH.values()),
}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_REQUESTS = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)
"""Of ioctl: is it a terminal, how many bytes wait, do not block, close when a program starts."""


def program(machine: str, *, processes: bool = True) -> list[seccomp.Instruction]:
    """The filter for a processor architecture. Raises ``KeyError`` for an unknown one.

    ``processes``: whether a policy may fork, and not only start threads.
    """
    lines = seccomp.beginning(machine)
    lines += seccomp.clone_and_prctl(machine, processes=processes)
    lines += seccomp.with_argument(_IOCTL[machine], 1, _REQUESTS, otherwise=errno.ENOTTY)
    for number in _ALLOWED[machine]:
        lines += seccomp.allow(number)
    return [*lines, seccomp.refusal(errno.EPERM)]


def install(*, processes: bool = True) -> None:
    """Put the filter on this process, for good; ``no_new_privs`` must be set.

    ``processes``: whether a policy may fork, and not only start threads.

    Raises ``OSError`` if the kernel has no filters or the architecture is not known here.
    """
    seccomp.load(partial(program, processes=processes), platform.machine())

"""System calls that the process of a policy may make; the kernel refuses every other one.

Memory, threads, files that are in its view, clocks and its pipe. No sockets but pairs, no programs,
no memory files, no new namespaces, no priorities, and nothing that counts for the whole machine.
"""

from __future__ import annotations

import errno
import platform
from functools import partial

from emulation.sandbox import seccomp

_ALLOWED = {
    "x86_64": {
        "read": 0, "write": 1, "readv": 19, "writev": 20, "pread64": 17, "pwrite64": 18,
        "preadv": 295, "pwritev": 296, "close": 3, "fstat": 5, "lseek": 8, "mmap": 9,
        "mprotect": 10, "munmap": 11, "mremap": 25, "madvise": 28, "brk": 12, "msync": 26,
        "mincore": 27, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
        "rt_sigpending": 127, "rt_sigtimedwait": 128, "sigaltstack": 131, "fcntl": 72,
        "flock": 73, "fsync": 74, "fdatasync": 75, "ftruncate": 77, "fallocate": 285,
        "getdents64": 217, "getcwd": 79, "chdir": 80, "fchdir": 81, "openat": 257,
        "faccessat": 269, "faccessat2": 439, "newfstatat": 262, "statx": 332, "statfs": 137,
        "fstatfs": 138, "readlinkat": 267, "unlinkat": 263, "mkdirat": 258, "renameat2": 316,
        "fchmod": 91, "fchmodat": 268, "umask": 95, "utimensat": 280, "dup": 32, "dup3": 292,
        "pipe2": 293, "eventfd2": 290, "epoll_create1": 291, "epoll_ctl": 233,
        "epoll_pwait": 281, "ppoll": 271, "pselect6": 270, "timerfd_create": 283,
        "timerfd_settime": 286, "timerfd_gettime": 287, "sendto": 44, "recvfrom": 45,
        "sendmsg": 46, "recvmsg": 47, "getsockopt": 55, "shutdown": 48, "socketpair": 53,
        "getsockname": 51, "getpeername": 52, "futex": 202, "get_robust_list": 274,
        "set_robust_list": 273, "set_tid_address": 218, "rseq": 334, "membarrier": 324,
        "sched_yield": 24, "sched_getaffinity": 204, "sched_getparam": 143,
        "sched_getscheduler": 145, "sched_get_priority_max": 146, "sched_get_priority_min": 147,
        "getcpu": 309, "gettid": 186, "getpid": 39, "getppid": 110, "getpgid": 121,
        "getsid": 124, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230,
        "nanosleep": 35, "gettimeofday": 96, "times": 100, "getitimer": 36, "setitimer": 38,
        "getuid": 102, "geteuid": 107, "getgid": 104, "getegid": 108, "getgroups": 115,
        "getresuid": 118, "getresgid": 120, "capget": 125, "uname": 63, "getrusage": 98,
        "getrlimit": 97, "prlimit64": 302, "getpriority": 140, "getrandom": 318, "exit": 60,
        "exit_group": 231, "wait4": 61, "waitid": 247, "kill": 62, "tgkill": 234,
        "restart_syscall": 219, "sync_file_range": 277, "copy_file_range": 326,
        "fadvise64": 221, "open": 2, "stat": 4, "lstat": 6, "access": 21, "dup2": 33,
        "pipe": 22, "poll": 7, "select": 23, "epoll_wait": 232, "epoll_create": 213,
        "eventfd": 284, "readlink": 89, "unlink": 87, "mkdir": 83, "rmdir": 84, "rename": 82,
        "getdents": 78, "time": 201, "arch_prctl": 158, "chmod": 90, "getpgrp": 111,
        "alarm": 37, "signalfd4": 289, "pause": 34,
    },
    "aarch64": {
        "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68,
        "preadv": 69, "pwritev": 70, "close": 57, "fstat": 80, "lseek": 62, "mmap": 222,
        "mprotect": 226, "munmap": 215, "mremap": 216, "madvise": 233, "brk": 214, "msync": 227,
        "mincore": 232, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
        "rt_sigpending": 136, "rt_sigtimedwait": 137, "sigaltstack": 132, "fcntl": 25,
        "flock": 32, "fsync": 82, "fdatasync": 83, "ftruncate": 46, "fallocate": 47,
        "getdents64": 61, "getcwd": 17, "chdir": 49, "fchdir": 50, "openat": 56,
        "faccessat": 48, "faccessat2": 439, "newfstatat": 79, "statx": 291, "statfs": 43,
        "fstatfs": 44, "readlinkat": 78, "unlinkat": 35, "mkdirat": 34, "renameat2": 276,
        "fchmod": 52, "fchmodat": 53, "umask": 166, "utimensat": 88, "dup": 23, "dup3": 24,
        "pipe2": 59, "eventfd2": 19, "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22,
        "ppoll": 73, "pselect6": 72, "timerfd_create": 85, "timerfd_settime": 86,
        "timerfd_gettime": 87, "sendto": 206, "recvfrom": 207, "sendmsg": 211, "recvmsg": 212,
        "getsockopt": 209, "shutdown": 210, "socketpair": 199, "getsockname": 204,
        "getpeername": 205, "futex": 98, "get_robust_list": 100, "set_robust_list": 99,
        "set_tid_address": 96, "rseq": 293, "membarrier": 283, "sched_yield": 124,
        "sched_getaffinity": 123, "sched_getparam": 121, "sched_getscheduler": 120,
        "sched_get_priority_max": 125, "sched_get_priority_min": 126, "getcpu": 168,
        "gettid": 178, "getpid": 172, "getppid": 173, "getpgid": 155, "getsid": 156,
        "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "nanosleep": 101,
        "gettimeofday": 169, "times": 153, "getitimer": 102, "setitimer": 103, "getuid": 174,
        "geteuid": 175, "getgid": 176, "getegid": 177, "getgroups": 158, "getresuid": 148,
        "getresgid": 150, "capget": 90, "uname": 160, "getrusage": 165, "getrlimit": 163,
        "prlimit64": 261, "getpriority": 141, "getrandom": 278, "exit": 93, "exit_group": 94,
        "wait4": 260, "waitid": 95, "kill": 129, "tgkill": 131, "restart_syscall": 128,
        "sync_file_range": 84, "copy_file_range": 285, "fadvise64": 223,
    },
}  # fmt: skip
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
    for number in _ALLOWED[machine].values():
        lines += seccomp.allow(number)
    return [*lines, seccomp.refusal(errno.EPERM)]


def install(*, processes: bool = True) -> None:
    """Put the filter on this process, for good; ``no_new_privs`` must be set.

    ``processes``: whether a policy may fork, and not only start threads.

    Raises ``OSError`` if the kernel has no filters or the architecture is not known here.
    """
    seccomp.load(partial(program, processes=processes), platform.machine())

"""Walls around a policy's process that a user without root can put up.

Runs in the launcher of such processes (``launcher.py``) and in what it forks, with the caller's own
uid. First choice is a user namespace: in it the launcher may make the same mount, network and PID
namespaces as root does. Where the machine allows none, Landlock hides files and ends signals.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from emulation.host import syscalls
from emulation.sandbox import privileges

_NEW_USER = 0x10000000
_CAPSET = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION = 0x20080522
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""As new as these, system calls have one number on all architectures."""
_VERSION_FLAG, _RULE_PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights of files each version of Landlock knows; 16 from version 5 on."""
_SCOPED_SINCE, _SCOPED = 6, 0b11
"""Abstract Unix sockets and signals to processes outside."""
_WRITABLE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_libc = ctypes.CDLL(None, use_errno=True)


def enter_user_namespace() -> None:
    """Move this process into a user namespace of its own, with the same uid. Raises ``OSError``."""
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(_NEW_USER)
    own = Path("/proc/self")
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"),
    ):  # fmt: skip
        (own / name).write_text(text, encoding="ascii")


def give_up_capabilities() -> None:
    """Drop what a user namespace has given, for good. Raises ``OSError``."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION, 0))
    none = ctypes.create_string_buffer(bytes(24))
    _call(_CAPSET.get(os.uname().machine, 126), header, none)


def drop(parent: int, processes: int | None) -> None:
    """Become a process that can get no right back and dies with its parent, whose pidfd this is.

    ``processes``: the most that its user namespace may have. The filter of system calls is the
    caller's to install. Raises ``OSError``.
    """
    privileges.limit_resources(privileges.GUESTS_SHARE, processes)
    os.umask(0o077)
    os.chdir("/")
    give_up_capabilities()
    privileges.seal(parent)


def landlock_version() -> int:
    """The kernel's version of Landlock; 0 if it has none."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    except OSError:
        return 0


def hide_files(paths: Sequence[Path]) -> None:
    """Let this process open nothing but ``paths``, to read, and harmless devices.

    ``no_new_privs`` must be set. Raises ``OSError``.
    """
    version = landlock_version()
    handled = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    scoped = (0, _SCOPED) if version >= _SCOPED_SINCE else ()
    attributes = ctypes.create_string_buffer(struct.pack(f"<{1 + len(scoped)}Q", handled, *scoped))
    rules = _call(_CREATE_RULESET, attributes, 8 * (1 + len(scoped)), 0)
    try:
        for path in paths:
            _allow(rules, path, _READ_FILE | (_READ_DIR if path.is_dir() else 0))
        _allow(rules, Path("/proc/cpuinfo"), _READ_FILE)
        for name in _WRITABLE:
            _allow(rules, Path(name), _READ_FILE | _WRITE_FILE)
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there: not seen either
    try:
        rule = ctypes.create_string_buffer(struct.pack("<Qi", rights, place))
        _call(_ADD_RULE, rules, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *values))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"system call {number}: {os.strerror(code)}")
    return result

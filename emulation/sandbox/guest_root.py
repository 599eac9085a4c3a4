"""What the process of a policy sees of the machine's files: an interpreter, packages, named files.

A root of its own, read-only: the system's programs and libraries, the Python environment, the
project's packages, and the files that the policy's parameters name. No home, no /tmp, no results,
no scenarios, no /proc, no /sys, no sockets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from emulation.host import syscalls
from emulation.sandbox.namespaces import DEVICES

PROJECT = Path(__file__).resolve().parents[2]
_ROOM = Path("/run")
"""Where the new root is put together; the old one, and with it the old /run, is then let go."""
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc/ld.so.cache", "/etc/localtime")
_EMPTY_FOLDERS = ("proc", "dev/shm", "tmp")
_CODE = ("analysis", "emulation", "experiments", "metrics", "model", "records", "rl", "topologies")


def visible(files: Sequence[str], packages: Sequence[str] = ()) -> list[Path]:
    """The paths that a policy's process sees.

    ``files`` are those that its parameters name, ``packages`` further folders of the project.
    """
    code = [PROJECT / name for name in (*_CODE, *packages)]
    interpreter = {Path(p).resolve() for p in (sys.prefix, sys.base_prefix)}
    named = [Path(f) for f in files if Path(f).is_file()]
    return [*map(Path, _SYSTEM), *sorted(interpreter), *code, *named]


def arrange(paths: Sequence[Path]) -> None:
    """Make ``paths`` all that this process's mount namespace has. Raises ``OSError``."""
    syscalls.make_private()
    # No path of ``paths`` may lie in the folder that is covered.
    syscalls.mount("tmpfs", str(_ROOM), syscalls.HARMLESS & ~syscalls.NO_EXEC, "mode=0755,size=4m")
    for path in _without_nested(paths):
        _show(path)
    for name in _EMPTY_FOLDERS:
        (_ROOM / name).mkdir(parents=True, exist_ok=True)
    for name in DEVICES:
        device = _ROOM / "dev" / name
        device.touch()
        syscalls.bind(f"/dev/{name}", str(device))
    os.chdir(_ROOM)
    syscalls.pivot_root(".", ".")
    syscalls.detach(".")
    os.chdir("/")
    syscalls.make_read_only()


def _without_nested(paths: Sequence[Path]) -> Iterator[Path]:
    """Each path once, and none that a folder before it shows already."""
    shown: list[Path] = []
    for path in dict.fromkeys(paths):
        if path.exists() and not any(path.is_relative_to(s) for s in shown):
            shown.append(path)
            yield path


def _show(path: Path) -> None:
    place = _ROOM / path.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place.symlink_to(path.readlink())
        return
    if path.is_dir():
        place.mkdir(exist_ok=True)
    else:
        place.touch()
    syscalls.bind(str(path), str(place))

"""Memory that runs out for one run alone: a cgroup with little room, and somebody who takes it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import sys
import time

from emulation.host.ledger import CGROUPS

_GONE_IN_S = 5.0
_HOG = """
import sys, time
group, score, size = sys.argv[1:]
for file, word in ((group + "/cgroup.procs", "0"), ("/proc/self/oom_score_adj", score)):
    with open(file, "w") as out:
        out.write(word)
held = [b"\\1" * 2**20 for _ in range(int(size))]
time.sleep(0.3)
"""


class MemoryGroup:
    """A cgroup, version 1 or 2, whose memory can be made scarce."""

    def __init__(self, name: str):
        """Name it; it is not made yet."""
        first = CGROUPS / "memory"
        if first.is_dir():
            self._used, self._limit = "memory.usage_in_bytes", "memory.limit_in_bytes"
            self._reclaim = "memory.force_empty"
            self.folder = first / name
        else:
            self._used, self._limit = "memory.current", "memory.max"
            self._reclaim = "memory.reclaim"
            self.folder = CGROUPS / name

    def make(self) -> None:
        """Create it. Raises ``OSError`` where this process may not."""
        if (control := CGROUPS / "cgroup.subtree_control").exists():
            with contextlib.suppress(OSError):  # then the folder has no file for the limit
                control.write_text("+memory")
        self.folder.mkdir()
        if not (self.folder / self._limit).exists():
            self.folder.rmdir()
            raise OSError(f"no memory.* files in {self.folder.parent}")

    def add(self, pid: int) -> None:
        """Put a process, and what it starts from now on, into it."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def leave_room(self, megabytes: int) -> None:
        """Let it have so much more than it uses now; then the kernel kills somebody in it.

        Files' pages that the kernel could drop instead are dropped before.
        """
        with contextlib.suppress(OSError):  # version 2 complains when it finds less than asked for
            (self.folder / self._reclaim).write_text("1G")
        now = int((self.folder / self._used).read_text())
        (self.folder / self._limit).write_text(str(now + (megabytes << 20)))

    def take(self, megabytes: int, oom_score: int) -> bool:
        """Have a process in it take so much; whether it came to an end, not killed for it.

        Args:
            megabytes: what it takes, byte by byte.
            oom_score: 0 … 1000, how much rather than others it is killed (``proc(5)``).

        Raises ``OSError`` if the process could not even try.
        """
        words = [sys.executable, "-S", "-c", _HOG, str(self.folder), str(oom_score), str(megabytes)]
        ended = subprocess.run(words, check=False, capture_output=True, text=True)
        if ended.returncode not in (0, -signal.SIGKILL):
            raise OSError(ended.stderr.strip().rpartition("\n")[2])
        return ended.returncode == 0

    def remove(self) -> None:
        """Remove it, once the last process in it is gone. Raises ``OSError`` if one stays."""
        deadline = time.monotonic() + _GONE_IN_S
        while True:
            try:
                self.folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


def lacking() -> str:
    """Why no such cgroup can be made here, or ''."""
    group = MemoryGroup(f"chaos-{secrets.token_hex(4)}")
    try:
        group.make()
    except OSError as error:
        return f"no cgroup whose memory can be limited: {error}"
    group.remove()
    return ""

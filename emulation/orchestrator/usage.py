"""What each node uses of the machine, looked at from outside: CPU, memory, bytes in and out.

A node is its process, the worker beside it if it has one, and what that has started. The time of
FFmpegs that have come and gone between two looks is not lost: the kernel adds it to their worker's
when the worker has waited for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

_INTERFACE = "eth0"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a node has used so far: CPU time in s, memory in MB now, bytes of its interface."""

    cpu_s: float
    memory_mb: float
    received_bytes: int
    sent_bytes: int


class Monitor:
    """Looks at nodes; ``pids`` are those of each node's own processes, its unit's first.

    The mapping is looked at each time: a node that was started again has others, and goes on from
    the CPU time of those before.
    """

    def __init__(self, pids: Mapping[str, tuple[int, ...]]):
        self._pids = pids
        self._looked_at = dict(pids)
        self._used_s: dict[str, float] = {}
        self._used_before_s: dict[str, float] = {}

    def look(self) -> dict[str, Usage]:
        """Usage of each node that is alive."""
        parents: dict[int, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                parents.setdefault(process.ppid(), []).append(process)
        found = {}
        for name, pids in self._pids.items():
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
                usage = self._usage([psutil.Process(pid) for pid in pids], parents)
                found[name] = replace(usage, cpu_s=self._since_begin_s(name, pids, usage.cpu_s))
        return found

    def _since_begin_s(self, name: str, pids: tuple[int, ...], cpu_s: float) -> float:
        """CPU time of a node with that of its processes that have ended."""
        if self._looked_at.get(name) != pids:
            self._looked_at[name] = pids
            self._used_before_s[name] = self._used_s.get(name, 0.0)
        self._used_s[name] = self._used_before_s.get(name, 0.0) + cpu_s
        return self._used_s[name]

    def _usage(
        self, processes: list[psutil.Process], parents: Mapping[int, list[psutil.Process]]
    ) -> Usage:
        cpu_s = memory = 0.0
        for process in processes:
            times = process.cpu_times()
            cpu_s += sum(times[:4])  # its own, and of the children it has waited for
            memory += process.memory_full_info().pss
            for child in _below(process, parents):
                with contextlib.suppress(psutil.Error):
                    cpu_s += sum(child.cpu_times()[:4])
                    memory += child.memory_full_info().pss
        received, sent = interface_bytes(processes[0].pid)
        return Usage(cpu_s, memory / 1e6, received, sent)


def _below(
    process: psutil.Process, parents: Mapping[int, list[psutil.Process]]
) -> Iterator[psutil.Process]:
    for child in parents.get(process.pid, ()):
        yield child
        yield from _below(child, parents)


def interface_bytes(pid: int, interface: str = _INTERFACE) -> tuple[int, int]:
    """Bytes received and sent by an interface in a process's network namespace.

    psutil tells of one's own namespace only. Raises ``FileNotFoundError`` if the process has gone.
    """
    for line in Path(f"/proc/{pid}/net/dev").read_text(encoding="ascii").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == interface:
            fields = numbers.split()
            return int(fields[0]), int(fields[8])
    return 0, 0

"""How much of the machine each node's real work may use: CPU quotas by cgroup, version 1 or 2.

A quota caps a node at so many cores, whatever the others do, which is what an F_u is. Where the
machine offers none (a container, a kernel without bandwidth control), niceness is left: work is
then served as fast as the others leave room for, and the manifest says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emulation.host.ledger import CGROUPS, Ledger

PERIOD_US = 100_000
"""A quota holds over each such period, the kernel's default: in a shorter one a small share is so
short a turn that FFmpeg finds its caches cold each time."""
_LEAST_QUOTA_US = 1000
"""The kernel takes no less."""
LEAST_WEIGHT = {1: ("cpu.shares", "2"), 2: ("cpu.weight", "1")}
"""A quota says how much, not when: the processes that answer, measure and keep time go first."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Where quotas can be set: the version of cgroups, 0 where they cannot, and the root folder."""

    version: int
    root: Path

    @property
    def text(self) -> str:
        """For the manifest."""
        return f"cgroup v{self.version} quota" if self.version else "niceness"


def find_offer(mounted: Path = CGROUPS) -> Offer:
    """Look which cgroups with CPU quotas this process may make."""
    first = mounted / "cpu"
    if (first / "cpu.cfs_quota_us").exists() and os.access(first, os.W_OK):
        return Offer(1, first)
    allowed = mounted / "cgroup.subtree_control"
    if allowed.exists() and os.access(mounted, os.W_OK):
        if "cpu" not in allowed.read_text().split():
            with contextlib.suppress(OSError):
                allowed.write_text("+cpu")
        if "cpu" in allowed.read_text().split():
            return Offer(2, mounted)
    return Offer(0, mounted)


class Shares:
    """A cgroup for each node of a run, named after run and node and noted in its ledger.

    Raises ``OSError`` where the machine takes back what it offered.
    """

    def __init__(self, ledger: Ledger, cores: Mapping[str, float], offer: Offer | None = None):
        self.cores = dict(cores)
        self._offer = offer or find_offer()
        self._folders: dict[str, Path] = {}
        if self._offer.version:
            labels = {name: self._offer.root / f"ce{ledger.run_id}-{name}" for name in cores}
            ledger.create_cgroups(list(labels.values()))
            for name, folder in labels.items():
                self._limit(folder, cores[name])
            self._folders = labels

    def place(self, name: str, pid: int) -> None:
        """Let a process, and what it starts from now on, have the share of a node."""
        folder = self._folders.get(name)
        if folder is not None:
            (folder / "cgroup.procs").write_text(str(pid))

    def to_dict(self) -> dict[str, object]:
        """For the manifest."""
        return {"by": self._offer.text, "cores": self.cores}

    def _limit(self, folder: Path, cores: float) -> None:
        quota = max(_LEAST_QUOTA_US, round(cores * PERIOD_US))
        if self._offer.version == 1:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
        name, weight = LEAST_WEIGHT[self._offer.version]
        (folder / name).write_text(weight)

"""What the processes of users' policies may use of the machine, all together, by control group.

Processor time: half of the cores from the first slot on, and a quarter of a process's weight, so
that the network, the devices and the units come first. Before the first slot, while policies import
their libraries, only the weight holds. Memory: half of the machine's, shared memory and scratch
space counted, which a process's own limits (``emulation.sandbox.privileges``) do not count. Where
the machine lets no such group be made, those limits are all there is; the manifest has which.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from emulation.host import syscalls
from emulation.host.cpu_quota import PERIOD_US, Offer, find_offer
from emulation.host.ledger import CGROUPS, Ledger

CORES_SHARE, MEMORY_SHARE = 0.5, 0.5
WEIGHT = {1: ("cpu.shares", "256"), 2: ("cpu.weight", "25")}
"""A process alone has 1024, or 100. With the least weight, decisions come late as soon as other
programs fill the cores: docs/security.md has the figures."""
SLICE_S = 1e-4
"""Of the processor, the kernel's least. A group of little weight waits long for its turn otherwise:
a decision takes a few tens of µs, and its answer came 400 µs later."""
_LEAST_MEMORY_BYTES = 1 << 30
_OWN_MEMORY_GROUP = re.compile(r"(?m)^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(/.*)$")


class GuestLimits:
    """Control groups of a run's policies, noted in its ledger.

    Attributes:
        cores: how many cores' time they get together; None: the machine offers no quota.
        memory_bytes: how much memory; None: the machine offers no limit.
    """

    def __init__(self, ledger: Ledger):
        self._name = f"ce{ledger.run_id}-_policies"
        self._offer = find_offer()
        cores = len(os.sched_getaffinity(0)) * CORES_SHARE
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = max(_LEAST_MEMORY_BYTES, round(machine * MEMORY_SHARE))
        self._cpu = self._make(ledger, self._offer.root) if self._offer.version else None
        self.cores = None if self._cpu is None else cores
        if self._cpu is not None:
            name, weight = WEIGHT[self._offer.version]
            (self._cpu / name).write_text(weight)
        self._memory = self._limit_memory(ledger, memory)
        self.memory_bytes = None if self._memory is None else memory

    def place(self, pid: int) -> None:
        """Let a policy's process, and what it starts, be counted; have it answer soon."""
        # Another machine's call, or a process that has ended by itself, which is noticed elsewhere.
        with contextlib.suppress(OSError):
            syscalls.set_slice(pid, SLICE_S)
        for folder in {self._cpu, self._memory} - {None}:
            with contextlib.suppress(ProcessLookupError):
                (folder / "cgroup.procs").write_text(str(pid))  # type: ignore[operator]

    def begin(self) -> None:
        """The first slot comes: from now on the quota of processor time holds."""
        if self._cpu is None or self.cores is None:
            return
        quota = round(self.cores * PERIOD_US)
        if self._offer.version == 1:
            (self._cpu / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._cpu / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self._cpu / "cpu.max").write_text(f"{quota} {PERIOD_US}")

    def to_dict(self) -> dict[str, object]:
        """For the manifest; null: no control group holds it."""
        return {"cores": self.cores, "memory_bytes": self.memory_bytes, "slice_s": SLICE_S}

    def _make(self, ledger: Ledger, above: Path) -> Path | None:
        folder = above / self._name
        with contextlib.suppress(OSError):
            ledger.create_cgroups([folder])
            return folder
        return None

    def _limit_memory(self, ledger: Ledger, most: int) -> Path | None:
        folder, setting = self._cpu, "memory.max"
        if self._offer.version != 2:
            above, setting = own_memory_group(), "memory.limit_in_bytes"
            folder = None if above is None else self._make(ledger, above)
        elif not offers_memory(self._offer):
            return None
        if folder is None:
            return None
        try:
            (folder / setting).write_text(str(most))
        except OSError:
            return None
        return folder


def own_memory_group(mounted: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> Path | None:
    """This process's group of version 1's memory controller, below which others may be made."""
    found = _OWN_MEMORY_GROUP.search(own.read_text(encoding="utf-8"))
    folder = None if found is None else mounted / "memory" / found[1].lstrip("/")
    return folder if folder is not None and os.access(folder / "cgroup.procs", os.W_OK) else None


def offers_memory(offer: Offer) -> bool:
    """Whether groups of version 2 below the root can limit memory; asks the kernel for it."""
    allowed = offer.root / "cgroup.subtree_control"
    with contextlib.suppress(OSError):
        if "memory" not in allowed.read_text().split():
            allowed.write_text("+memory")
        return "memory" in allowed.read_text().split()
    return False

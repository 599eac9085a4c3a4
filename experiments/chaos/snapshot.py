"""A machine as found, to be compared with what a run has left: nothing more, and nothing less."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from emulation.host import syscalls
from emulation.host.commands import CommandError, run
from emulation.host.ledger import CGROUPS, RUNS_DIR, living_runs, run_processes
from emulation.host.netlink import NETNS_DIR, existing_namespaces
from emulation.host.uids import run_of_uid

_RUN = re.compile(rf"\bce([0-9a-f]{{4}})-|{RUNS_DIR}/([0-9a-f]{{4}})\b|\brun ([0-9a-f]{{4}})\b")
_SPAWNER = "emulation.sandbox.spawner"
_ORCHESTRATORS = {"cli", "emulation.run", "emulation.orchestrator.stepped_run"}
_SCRATCH = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - looked into, not written to
_MACHINE_OVS = Path("/var/run/openvswitch/db.sock")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What there is, each thing in a line such as ``namespace ce12ab-c1d1`` or ``link eth0``.

    Attributes:
        things: of the machine and of runs.
        living: runs that were under way.
    """

    things: frozenset[str]
    living: frozenset[str]

    def changes(self, later: Snapshot) -> list[str]:
        """What has come since (``+ …``) and gone (``- …``), but for what living runs have."""
        others = self.living | later.living
        came = [f"+ {t}" for t in later.things - self.things if _run_of(t) not in others]
        gone = [f"- {t}" for t in self.things - later.things if _run_of(t) not in others]
        return sorted(came + gone)

    def of_run(self, run_id: str) -> list[str]:
        """What a run has here."""
        return sorted(t for t in self.things if _run_of(t) == run_id)


def _run_of(thing: str) -> str | None:
    found = _RUN.search(thing)
    return next((k for k in found.groups() if k), None) if found else None


def take() -> Snapshot:
    """The machine now: namespaces, links, qdiscs, Open vSwitch, mounts, cgroups, processes, files.

    Of processes, cgroups and scratch files only those that carry a run's mark or a node's uid, for
    anybody may start a process; of everything else all that there is.
    """
    living = [*living_runs(), *_living_elsewhere()]
    things = [
        *(f"namespace {name}" for name in existing_namespaces()),
        *(f"link {link['ifname']}" for link in json.loads(run(["ip", "-j", "link"]))),
        *(f"qdisc {line.strip()}" for line in run(["tc", "qdisc"]).splitlines()),
        *(f"mount {point}" for point in _mounts()),
        *(f"cgroup {path}" for path in _below(CGROUPS) if _run_of(path.name)),
        *_open_vswitch(),
        *(f"process {pid} of run {run_id}" for pid, run_id in run_processes().items()),
        *_files(),
    ]
    # Again, since a run may have begun while its things were looked for.
    later = [*living_runs(), *_living_elsewhere()]
    return Snapshot(frozenset(things), frozenset({*living, *later}))


def _living_elsewhere() -> Iterator[str]:
    """Runs that are under way behind another root, whose ledgers are not seen from here."""
    for pid, run_id in run_processes().items():
        try:
            process = psutil.Process(pid)
            parent = process.parent() if _SPAWNER in process.cmdline() else None
            # One that was left behind has another parent than its orchestrator.
            if parent is not None and _ORCHESTRATORS & set(parent.cmdline()):
                yield run_id
        except psutil.Error:
            continue  # it has just ended


def _mounts() -> Iterator[str]:
    for point in syscalls.mount_points():
        # Made by the first `ip netns add` since the machine was started, whoever says it.
        if point != str(NETNS_DIR):
            yield point


def _open_vswitch() -> Iterable[str]:
    """Bridges and ports of the machine's own Open vSwitch, if it runs: no run needs it."""
    if not _MACHINE_OVS.exists():
        return []
    try:
        names = run(["ovs-vsctl", "--timeout=2", "--bare", "--columns=name", "list", "interface"])
    except CommandError:
        return []
    return [f"port {name}" for name in names.split()]


def _below(folder: Path) -> Iterator[Path]:
    """All files and folders below one; what goes meanwhile, with another run's end, is left out."""
    for above, folders, files in os.walk(folder):
        yield from (Path(above, name) for name in (*folders, *files))


def _files() -> Iterator[str]:
    yield from (f"file {path}" for path in _below(RUNS_DIR))
    for folder in _SCRATCH:
        for path in Path(folder).iterdir():
            try:
                uid = path.lstat().st_uid
            except OSError:
                continue  # it has just gone
            if (run_id := run_of_uid(uid)) is not None:
                yield f"file {path} of run {run_id}"

"""What a run makes on the machine, written down before it is made, and removed by what is written.

Every run has a directory ``/run/crowd-edge-lab/<run id>/`` with a lock that its orchestrator holds
while it lives and a ledger of namespaces and control groups. Its processes carry the run's id in
their environment, or in their uid. So whatever ended a run, the next ``clean`` removes exactly what
was that run's, and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from emulation.host import netlink
from emulation.host.iproute import Batch
from emulation.host.uids import draw_run_id, run_of_uid
from model.errors import UserError

RUNS_DIR = Path("/run/crowd-edge-lab")
RUN_VARIABLE = "CROWD_EDGE_RUN"
_TERM_GRACE_S = 2.0
CGROUPS = Path("/sys/fs/cgroup")
"""Where Linux mounts control groups."""
_CGROUP_GRACE_S = 2.0
_MOST_TRIES = 1000
_HIERARCHIES = ("freezer", "pids", "unified", "")
"""Version 1, where a group changes nothing of how its processes run; then version 2."""
_DEAD = re.compile(r"(?m)^State:\s+[ZX]")
_UID = re.compile(r"(?m)^Uid:\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Removed:
    """What cleaning one run removed."""

    run_id: str
    processes: int
    namespaces: int


@dataclass
class Ledger:
    """The ledger of one run. Create with ``Ledger.open_new``."""

    run_id: str
    directory: Path
    _lock: IO[str]
    _file: IO[str]

    @classmethod
    def open_new(cls) -> Ledger:
        """Begin a run: a fresh id, a directory that only root can read, a lock held until exit.

        Raises ``UserError`` if the directory cannot be made.
        """
        try:
            for _ in range(_MOST_TRIES):
                if (ledger := cls._try_new(draw_run_id())) is not None:
                    return ledger
        except OSError as error:
            raise UserError(f"cannot begin a run in {RUNS_DIR}: {error}") from error
        raise UserError(f"cannot begin a run in {RUNS_DIR}: somebody removes what is made there")

    @classmethod
    def _try_new(cls, run_id: str) -> Ledger | None:
        """A ledger of that id; None if there is one, or a ``clean`` has just removed this one."""
        directory = RUNS_DIR / run_id
        try:
            RUNS_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
            directory.mkdir(mode=0o700)
            lock = _lock(directory)
            if lock is None:
                shutil.rmtree(directory, ignore_errors=True)
                return None
            # Line-buffered: an entry is in the kernel's hands before the thing is made.
            file = (directory / "ledger.jsonl").open("a", buffering=1)
        except (FileExistsError, FileNotFoundError):
            return None
        return cls(run_id, directory, lock, file)

    def create_namespaces(self, labels: Sequence[str]) -> dict[str, str]:
        """Note and create network namespaces; returns label → name, ``ce<run>-<label>``."""
        names = {label: f"ce{self.run_id}-{label}" for label in labels}
        batch = Batch("ip")
        for name in names.values():
            self._file.write(json.dumps({"namespace": name}) + "\n")
            batch.add(f"netns add {name}")
        batch.run()
        return names

    def create_cgroups(self, folders: Sequence[Path]) -> None:
        """Note and create control groups, named ``ce<run>-…``. Raises ``OSError``."""
        for folder in folders:
            self._file.write(json.dumps({"cgroup": str(folder)}) + "\n")
            folder.mkdir()

    def gather(self, pid: int) -> bool:
        """Put a process, and all that it will start, into a control group of the run.

        Nothing in it can leave it or hide in it. Returns whether the machine offers such groups.
        """
        for name in _HIERARCHIES:
            folder = CGROUPS / name
            if os.access(folder / "cgroup.procs", os.W_OK):
                group = folder / f"ce{self.run_id}-_run"
                with contextlib.suppress(OSError):
                    self.create_cgroups([group])
                    (group / "cgroup.procs").write_text(str(pid))
                    return True
        return False

    @property
    def environment(self) -> dict[str, str]:
        """The variable that marks a process as this run's."""
        return {RUN_VARIABLE: self.run_id}

    def remove_all(self) -> Removed:
        """End the run: kill what is left of its processes, remove its namespaces and directory."""
        removed = _remove(self.directory)
        self._file.close()
        self._lock.close()
        _remove_if_empty(RUNS_DIR)
        return removed


def run_processes() -> dict[int, str]:
    """Pid → the id of the run that a process belongs to, by its uid or by its environment's mark.

    The uid comes first: a policy can write another run's mark into its environment, and a process
    that is just dying has none. Who is dead already is left out.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                run_id = _run_of_process(entry)
            except OSError:
                continue  # it has just ended, or is none of ours
            if run_id is not None:
                found[int(entry.name)] = run_id
    return found


def _run_of_process(entry: Path) -> str | None:
    status = (entry / "status").read_text(encoding="utf-8", errors="replace")
    if _DEAD.search(status):
        return None
    uid = _UID.search(status)
    if uid and (run_id := run_of_uid(int(uid[1]))) is not None:
        return run_id
    mark = f"{RUN_VARIABLE}=".encode()
    for value in (entry / "environ").read_bytes().split(b"\0"):
        if value.startswith(mark):
            return value.removeprefix(mark).decode(errors="replace")
    return None


def processes_of(run_id: str) -> list[int]:
    """Pids of a run's processes (this process excepted)."""
    return [p for p, of in run_processes().items() if of == run_id and p != os.getpid()]


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _in_cgroups(folders: Sequence[Path]) -> set[int]:
    """Pids of the processes in control groups."""
    pids: set[int] = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            pids |= {int(pid) for pid in (folder / "cgroup.procs").read_text().split()}
    return pids - {0, os.getpid()}


def _end_processes(run_id: str, folders: Sequence[Path]) -> int:
    """End what carries the run's uids or mark, or is in its control groups; returns how many."""

    def left() -> list[int]:
        return sorted({*processes_of(run_id), *_in_cgroups(folders)})

    first = pids = left()
    _signal(pids, signal.SIGTERM)
    deadline = time.monotonic() + _TERM_GRACE_S
    while pids and time.monotonic() < deadline:
        time.sleep(0.02)
        pids = left()
    while pids:
        _signal(pids, signal.SIGKILL)
        time.sleep(0.02)
        pids = left()
    return len(first)


def _ledger_entries(directory: Path, kind: str) -> list[str]:
    """What of a kind, ``namespace`` or ``cgroup``, was made or was about to be."""
    names = []
    path = directory / "ledger.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            names.append(str(json.loads(line)[kind]))
        except (ValueError, KeyError, TypeError):
            # Of another kind; or the orchestrator died while writing it, so nothing was made.
            continue
    return names


def _remove_cgroups(folders: Sequence[Path]) -> bool:
    """Remove control groups, whose processes have been ended, but may not be gone yet.

    Returns whether all are gone; a busy machine may take longer than is waited for here.
    """
    deadline = time.monotonic() + _CGROUP_GRACE_S
    left = [f for f in folders if f.is_dir()]
    while left:
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        left = [f for f in left if f.is_dir()]
        if time.monotonic() > deadline:
            break
        time.sleep(0.01 if left else 0.0)
    return not left


def _remove(directory: Path) -> Removed:
    """Remove what a run's directory tells of; safe to repeat."""
    run_id = directory.name
    noted = [Path(f) for f in _ledger_entries(directory, "cgroup")]
    groups = [f for f in noted if f.name.startswith(f"ce{run_id}-")]
    processes = _end_processes(run_id, groups)
    existing = set(netlink.existing_namespaces())
    mine = [n for n in _ledger_entries(directory, "namespace") if n.startswith(f"ce{run_id}-")]
    left = [name for name in mine if name in existing]
    batch = Batch("ip")
    for name in left:
        batch.add(f"netns del {name}")
    batch.run()
    # What is still there stays in the ledger, for the next clean-up.
    if _remove_cgroups(groups):
        shutil.rmtree(directory, ignore_errors=True)
    return Removed(run_id, processes, len(left))


def _lock(directory: Path) -> IO[str] | None:
    """The lock of a run, held; None if somebody else holds it.

    Raises ``FileNotFoundError`` if the run is gone, or goes while the lock is taken.
    """
    lock = (directory / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    if os.fstat(lock.fileno()).st_nlink == 0:
        lock.close()
        raise FileNotFoundError(lock.name)
    return lock


def _is_alive(directory: Path) -> bool:
    try:
        lock = _lock(directory)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True  # Only root can look; what is not known to be dead is left alone.
    if lock is not None:
        lock.close()
    return lock is None


def living_runs() -> list[str]:
    """Ids of the runs whose orchestrator is alive."""
    return [d.name for d in _run_directories() if _is_alive(d)]


def _run_directories() -> list[Path]:
    return sorted(d for d in RUNS_DIR.iterdir() if d.is_dir()) if RUNS_DIR.exists() else []


def clean() -> list[Removed]:
    """Remove what dead runs left; living runs are not touched."""
    removed = []
    for directory in _run_directories():
        try:
            lock = _lock(directory)
        except FileNotFoundError:
            continue  # another clean was faster
        if lock is not None:
            # Held while removing, so that no run that is just beginning takes it for its own.
            with lock:
                removed.append(_remove(directory))
    _remove_if_empty(RUNS_DIR)
    return removed


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):  # another run lives in it, or it is gone already
        directory.rmdir()

"""Cells on many machines, through Ray: simulations and trainings everywhere, emulations one a node.

Nothing is asked of a shared file system: a checkpoint goes along with the cell that needs it, and a
cell's folder comes back as a whole. Each node has the same checkout at the same path, set up.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.cells import ROOT, source_hash
from experiments.pool import THREADS
from experiments.sweep.cell import Cell
from experiments.sweep.execute import Job, Outcome, execute
from experiments.sweep.lanes import LOST, Ended
from model.errors import UserError

EMULATION = "emulation"
"""The resource of a node that can emulate; it has one of it."""
_CODE = ("model", "topologies", "controller", "emulation", "rl", "records", "experiments")
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LOCAL = "local"


@contextmanager
def connected(address: str, cores: int, *, can_emulate: bool) -> Iterator[None]:
    """Join the cluster at an address, or make one of this machine (``local``) for as long.

    Raises ``UserError`` if Ray is not installed or there is no cluster.
    """
    os.environ.update(_ENVIRONMENT)
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray: ./lab python -m pip install ray") from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    folder = None
    if address == LOCAL:
        # Short: paths of sockets below it are limited to 107 characters.
        folder = tempfile.mkdtemp(prefix="lab-ray-")
        options |= {"include_dashboard": False, "num_cpus": cores, "_temp_dir": folder}
        options |= {"resources": {EMULATION: 1} if can_emulate else {}}
    else:
        options["address"] = address
    try:
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            words = " ".join(str(error).split())[:200]
            raise UserError(f"--ray {address}: cannot join a cluster there: {words}") from None
        yield
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def emulating_nodes() -> int:
    """Nodes of the cluster that offer to emulate."""
    import ray

    return int(ray.cluster_resources().get(EMULATION, 0))


class Cluster:
    """An executor of everything that the cluster has, to be used while ``connected``."""

    def __init__(self, folder_of: Callable[[str], Path]):
        import ray

        self._ray, self._folder_of = ray, folder_of
        self._running: dict[Any, Cell] = {}
        variables = {"PYTHONPATH": str(ROOT), **dict.fromkeys(THREADS, "1")}
        # A lost cell comes back through the schedule, which counts how often.
        self._work = ray.remote(
            max_retries=0, max_calls=0, runtime_env={"env_vars": variables}
        )(_work)

    def has_room(self, cell: Cell) -> bool:
        """A core is free somewhere; or, for an emulation, a node that offers to emulate."""
        offered = self._ray.cluster_resources()
        emulation = cell.kind == "emulation"
        same = sum((c.kind == "emulation") == emulation for c in self._running.values())
        return bool(same < offered.get(EMULATION if emulation else "CPU", 0))

    def begin(self, job: Job, checkpoint: Path | None) -> None:
        """Send a cell to a node."""
        emulation = job.cell.kind == "emulation"
        wanted: dict[str, Any] = {"num_cpus": 0 if emulation else 1}
        wanted |= {"resources": {EMULATION: 1} if emulation else {}}
        policy = checkpoint.read_bytes() if checkpoint else None
        task = self._work.options(**wanted).remote(job, policy, source_hash(*_CODE))
        self._running[task] = job.cell

    def ended(self, timeout_s: float) -> list[Ended]:
        """Outcomes since, their folders in place; the cell of a killed worker is ``LOST``."""
        errors = self._ray.exceptions
        ready, _ = self._ray.wait(list(self._running), timeout=timeout_s) if self._running else ((), ())
        found: list[Ended] = []
        for task in ready:
            cell = self._running.pop(task)
            try:
                outcome, packed = self._ray.get(task)
            except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
                found.append((cell.key, LOST))
            except errors.RayError as error:
                found.append((cell.key, Outcome("failed", " ".join(str(error).split())[:500])))
            else:
                found.append((cell.key, self._unpacked(cell, outcome, packed)))
        return found

    def _unpacked(self, cell: Cell, outcome: Outcome, packed: bytes) -> Outcome:
        folder = self._folder_of(cell.key)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True)
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                archive.extractall(folder, filter="data")
        except OSError as error:
            return Outcome("unwritable", f"{folder}: cannot be written: {error.strerror or error}")
        return outcome

    def ask_to_stop(self) -> None:
        """Nothing: what is under way is waited for, since only what is whole comes back."""

    def close(self, *, kill: bool) -> None:
        """Cancel what still runs."""
        for task in self._running:
            self._ray.cancel(task, force=kill)


def _work(job: Job, policy: bytes | None, code: str) -> tuple[Outcome, bytes]:
    """On a node: the cell's outcome and its folder, packed."""
    if source_hash(*_CODE) != code:
        return Outcome("failed", f"{os.uname().nodename} has another version of the code"), _packed()
    # The same name for the same cell: what a killed attempt left here goes with the next one.
    folder = Path(tempfile.gettempdir()) / f"lab-sweep-{os.getuid()}-{job.cell.key}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        checkpoint = folder / "policy.npz" if policy else None
        if checkpoint and policy:
            checkpoint.write_bytes(policy)
        outcome = execute(job, folder / "cell", checkpoint)
        return outcome, _packed(folder / "cell")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _packed(folder: Path | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        if folder and folder.is_dir():
            archive.add(folder, arcname=".")
    return buffer.getvalue()

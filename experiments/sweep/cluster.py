"""Cells on many machines, through Ray: simulations and trainings everywhere, emulations one a node.

Nothing is asked of a shared file system: a checkpoint goes along with the cell that needs it, and a
cell's folder comes back as a whole. Each node has the same checkout at the same path, set up.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from experiments.keys import ROOT, source_hash
from experiments.sweep.cell import Cell
from experiments.sweep.execute import Job, Outcome, execute
from experiments.sweep.lanes import LOST, Ended
from experiments.sweep.worker_pool import THREADS
from model.errors import UserError

EMULATION = "emulation"
"""The resource of a node that can emulate; it has one of it."""
_CODE = (
    "model",
    "topologies",
    "controller",
    "emulation",
    "rl",
    "records",
    "metrics",
    "experiments",
)
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LOCAL = "local"
Files = dict[str, bytes]
"""Files of a folder by their path below it."""


@contextmanager
def connected(address: str, cores: int, *, can_emulate: bool) -> Iterator[dict[str, str]]:
    """Join the cluster at an address, or make one of this machine (``local``) for as long.

    Yields variables for the environment of the cells. Raises ``UserError`` if Ray is not installed
    or there is no cluster.
    """
    os.environ.update(_QUIET)
    if address == LOCAL:
        # Only who has its token may use the cluster; Ray would keep one in the home folder, and
        # looks once in the life of a process.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray: ./lab python -m pip install ray") from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    variables = {"PYTHONPATH": str(ROOT), **dict.fromkeys(THREADS, "1")}
    with ExitStack() as stack:
        if address == LOCAL:
            # Short: paths of sockets below it are limited to 107 characters.
            folder = stack.enter_context(_temporary("lab-ray-"))
            variables["TMPDIR"] = str(folder)
            options |= {"include_dashboard": False, "num_cpus": cores, "_temp_dir": str(folder)}
            options |= {"resources": {EMULATION: 1} if can_emulate else {}}
        else:
            _require_listener(address)
            options["address"] = address
        stack.callback(ray.shutdown)
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            words = " ".join(str(error).split())[:200]
            raise UserError(f"--ray {address}: cannot join a cluster there: {words}") from None
        yield variables


def _require_listener(address: str) -> None:
    """Raise ``UserError`` if nobody listens at HOST:PORT, for which Ray would wait minutes."""
    host, colon, port = address.rpartition(":")
    if address == "auto":
        return
    if not colon or not port.isdecimal():
        raise UserError(f"--ray {address}: must be local, auto or HOST:PORT, as 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--ray {address}: no cluster there: {error}; ray start --head") from None


@contextmanager
def _temporary(prefix: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        # The last of Ray's processes may still be writing.
        shutil.rmtree(folder, ignore_errors=True)


def emulating_nodes() -> int:
    """Nodes of the cluster that offer to emulate."""
    return int(_resources().get(EMULATION, 0))


def _resources() -> dict[str, float]:
    import ray

    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


class Cluster:
    """An executor of everything that the cluster has, to be used while ``connected``.

    Args:
        folder_of: where a cell's files belong on this machine.
        variables: of the environment of the cells.
    """

    def __init__(self, folder_of: Callable[[str], Path], variables: Mapping[str, str]):
        import ray

        self._ray, self._folder_of = ray, folder_of
        self._running: dict[Any, Cell] = {}
        # A lost cell comes back through the schedule, which counts how often.
        environment = {"env_vars": dict(variables)}
        self._work: Any = ray.remote(max_retries=0, runtime_env=environment)(_work)

    def has_room(self, cell: Cell) -> bool:
        """A core is free somewhere; or, for an emulation, a node that offers to emulate."""
        offered = _resources()
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
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), timeout=timeout_s)
        found: list[Ended] = []
        for task in ready:
            cell = self._running.pop(task)
            try:
                outcome, files = self._ray.get(task)
            except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError):
                found.append((cell.key, LOST))
            except errors.RayError as error:
                found.append((cell.key, Outcome("failed", " ".join(str(error).split())[:500])))
            else:
                found.append((cell.key, self._unpacked(cell, outcome, files)))
        return found

    def _unpacked(self, cell: Cell, outcome: Outcome, files: Files) -> Outcome:
        folder = self._folder_of(cell.key)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        except OSError as error:
            return Outcome("unwritable", f"{folder}: cannot be written: {error.strerror or error}")
        return outcome

    def ask_to_stop(self) -> None:
        """Nothing: what is under way is waited for, since only what is whole comes back."""

    def close(self, *, kill: bool) -> None:
        """Cancel what still runs."""
        for task in self._running:
            self._ray.cancel(task, force=kill)


def _work(job: Job, policy: bytes | None, code: str) -> tuple[Outcome, Files]:
    """On a node: the cell's outcome and the files of its folder."""
    if source_hash(*_CODE) != code:
        return Outcome("failed", f"{os.uname().nodename} has another version of the code"), {}
    # The same name for the same cell: what a killed attempt left here goes with the next one.
    folder = Path(tempfile.gettempdir()) / f"lab-sweep-{os.getuid()}-{job.cell.key}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        checkpoint = folder / "policy.npz" if policy else None
        if checkpoint and policy:
            checkpoint.write_bytes(policy)
        outcome = execute(job, folder / "cell", checkpoint)
        return outcome, _files(folder / "cell")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> Files:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

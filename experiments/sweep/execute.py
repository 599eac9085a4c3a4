"""Carries out one cell in a folder of its own, wherever that folder is; never raises."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from experiments.sweep.cell import Cell, RunCell, TrainCell, origin
from experiments.sweep.worker_pool import end_with_parent
from metrics.summary import Summary, summarise, summarise_tables
from model.errors import INTERRUPTED, LabError
from records.answers import status_of
from records.provenance import utc_now
from records.reader import Result, find_results, open_result

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.ENOTDIR}
EMULATION_LOG = "emulation.log"

Status = Literal["done", "failed", "stopped", "unwritable"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cell.

    Attributes:
        status: done; failed; stopped: by Ctrl-C, to be continued; unwritable: its folder cannot
            be written, and no other can be expected to.
        reason: one line, where it is not done.
        seconds: of wall time that it took.
        utc: when it began.
        machine: where.
        result: its result or training folder, below the cell's.
        fidelity: verdict of an emulation.
        metrics: flat, see ``metrics.summary`` and ``rl.learning.training``.
    """

    status: Status
    reason: str = ""
    seconds: float = 0.0
    utc: str = ""
    machine: str = ""
    result: str = ""
    fidelity: str = ""
    metrics: dict[str, float | int | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A cell to be carried out.

    Attributes:
        cell: which.
        sweep: name of what it is part of.
        command: as typed, for the result.
        keep_result: keep a simulation's result folder; else its metrics alone.
    """

    cell: Cell
    sweep: str
    command: tuple[str, ...] = ()
    keep_result: bool = True


def execute(
    job: Job,
    folder: Path,
    checkpoint: Path | None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Carry out a cell in its folder.

    What an earlier attempt left there is removed, except a training that can go on. What goes wrong
    is told in the outcome, with the whole of it in ``error.txt``.

    Args:
        job: the cell.
        folder: of the cell.
        checkpoint: what the training that the cell waited for has made.
        should_stop: whether a training is to save and end.
    """
    begin, utc = time.monotonic(), utc_now()
    try:
        outcome = _carry_out(job, folder, checkpoint, should_stop)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - one cell's fault is one cell's
        outcome = _fault(error, folder)
    seconds = round(time.monotonic() - begin, 3)
    return replace(outcome, seconds=seconds, utc=utc, machine=os.uname().nodename)


def _carry_out(
    job: Job, folder: Path, checkpoint: Path | None, should_stop: Callable[[], bool]
) -> Outcome:
    if isinstance(job.cell, TrainCell):
        return _train(job, job.cell, folder, should_stop)
    shutil.rmtree(folder, ignore_errors=True)
    given = {"checkpoint": str(checkpoint)} if checkpoint else {}
    cell = replace(job.cell, params={**job.cell.params, **given})
    carry_out = _simulate if cell.world == "simulator" else _emulate
    return carry_out(replace(job, cell=cell), cell, folder)


def _fault(error: BaseException, folder: Path) -> Outcome:
    words = " ".join(str(error).split()) or "no message"
    if _is_unwritable(error, folder):
        return Outcome("unwritable", words)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(traceback.format_exception(error))
        (folder / "error.txt").write_text(text, encoding="utf-8")
    except OSError as second:
        return Outcome("unwritable", f"{folder}: cannot be written: {second.strerror}")
    named = words if isinstance(error, LabError) else f"{type(error).__name__}: {words}"
    return Outcome("failed", named[:500])


def _is_unwritable(error: BaseException, folder: Path) -> bool:
    """Whether a folder cannot be written, which no fault of the cell itself amounts to."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    if cause is None:
        return False
    where = Path(cause.filename) if isinstance(cause.filename, str) else None
    ours = where is not None and (where.is_relative_to(folder) or where in folder.parents)
    return cause.errno in _FULL or (cause.errno in _FORBIDDEN and ours)


def _train(job: Job, cell: TrainCell, folder: Path, should_stop: Callable[[], bool]) -> Outcome:
    # torch takes seconds to load, which the other cells need not wait for.
    from rl.learning.training import Training

    where = folder / cell.scenario.name / cell.policy / f"seed{cell.seed}"
    if not (where / "state.pt").is_file():
        shutil.rmtree(folder, ignore_errors=True)
    where.mkdir(parents=True, exist_ok=True)
    training = Training(cell.config, cell.scenario, cell.seed, where, " ".join(job.command))
    training.resume()
    if not training.run(lambda *_: None, should_stop=should_stop):
        return Outcome("stopped", f"after {training.slots} of {cell.config.slots} slots")
    # Hundreds of MB where there is a replay memory, and there is nothing to go on with.
    (where / "state.pt").unlink()
    metrics: dict[str, float | int | str | None] = {
        "held_out_unit_delay": training.best["unit_delay"],
        "best_slots": training.best["slots"],
        "trained_slots": training.slots,
        "cpu_s": round(training.cpu_s, 1),
    }
    return Outcome("done", result=str(where.relative_to(folder)), metrics=metrics)


def _simulate(job: Job, cell: RunCell, folder: Path) -> Outcome:
    from experiments.simulated import simulate_to_folder, simulated

    if not job.keep_result:
        tables = simulated(cell.scenario, cell.policy, cell.params, cell.seed)
        return Outcome("done", metrics=_flat(summarise_tables(cell.scenario, tables)))
    found = simulate_to_folder(
        cell.scenario,
        cell.policy,
        cell.params,
        cell.seed,
        folder,
        command_line=job.command,
        origin=origin(cell, job.sweep),
    )
    return _measured(open_result(found), folder)


def _measured(result: Result, folder: Path) -> Outcome:
    where = str(result.folder.relative_to(folder))
    verdict = result.verdict if result.manifest["world"] == "emulation" else ""
    return Outcome("done", result=where, fidelity=verdict, metrics=_flat(summarise(result)))


def _flat(summary: Summary) -> dict[str, float | int | str | None]:
    metrics: dict[str, float | int | str | None] = {}
    for name, value in summary.to_dict().items():
        if isinstance(value, dict):
            metrics |= {f"{name}_{key}": inner for key, inner in value.items()}
        else:
            metrics[name] = value
    return metrics


def _emulate(job: Job, cell: RunCell, folder: Path) -> Outcome:
    """An emulation in a process of its own, which has the terminal's place and the signals."""
    folder.mkdir(parents=True, exist_ok=True)
    process = get_context("spawn").Process(target=_emulation, args=(job, cell, folder))
    process.start()
    try:
        process.join()
    finally:
        if process.is_alive():
            process.terminate()  # An orderly end: nothing of it stays on the machine.
            process.join()
    found = find_results(folder)
    if process.exitcode == INTERRUPTED:
        return Outcome("stopped", "the run was interrupted")
    if process.exitcode != 0 or not found:
        why = _why_broken(folder, process.exitcode)
        full = any(os.strerror(number) in why for number in _FULL)
        return Outcome("unwritable" if full else "failed", why)
    return _measured(open_result(found[0]), folder)


def _emulation(job: Job, cell: RunCell, folder: Path) -> None:
    from emulation.options import RunOptions
    from emulation.orchestrator.session import run_session
    from emulation.run import require_machine, require_policy

    # A group of its own: Ctrl-C is the sweep's, which passes it on.
    os.setpgid(0, 0)
    end_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    (folder / "pid").write_text(str(os.getpid()))
    log = os.open(folder / EMULATION_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    options = RunOptions(
        scenario=cell.scenario,
        policy=cell.policy,
        policy_params=dict(cell.params),
        seed=cell.seed,
        speedup=cell.speedup,
        out=folder,
        without_netem=cell.without_netem,
        command_line=job.command,
        origin=origin(cell, job.sweep),
    )
    sys.exit(status_of(lambda: run_session(require_machine(require_policy(options)))))


def _why_broken(folder: Path, status: int | None) -> str:
    log = folder / EMULATION_LOG
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    said = next((w for w in reversed(lines) if w.startswith("lab: ")), "")
    return said.removeprefix("lab: ") or f"the emulation ended with status {status}; see {log}"


def interrupt_emulation(folder: Path) -> None:
    """Ask the emulation that is under way in a cell's folder for an orderly end."""
    try:
        os.kill(int((folder / "pid").read_text()), signal.SIGINT)
    except (OSError, ValueError):
        return  # It has not begun, or has ended.

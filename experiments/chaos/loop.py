"""Draws faults from a seed, does them to real runs, and checks what must be true afterwards."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from emulation.host.ledger import clean
from experiments.chaos import snapshot
from experiments.chaos.fault import SPEEDUP, Fault, Scene, short_scenario
from experiments.chaos.invariants import records_wrong
from experiments.chaos.running import Ended, HangError, Running
from model.errors import RunError, UserError
from records.reader import Result, find_results, open_result


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault.

    Attributes:
        fault: its name.
        status: exit status of the run; None: it hung.
        seconds: how long all of it took.
        said: the last line that tells of the fault: of the run, or of its verdict.
        broken: invariants that do not hold, in words.
        kept: where the run's records and output are, if something is broken.
    """

    fault: str
    status: int | None
    seconds: float
    said: str
    broken: tuple[str, ...]
    kept: Path | None


def draw(seed: int, index: int, names: Sequence[str]) -> tuple[str, Random]:
    """The name of a seed's ``index``-th fault of ``names``, and what draws the rest of it."""
    rng = Random(f"{seed}:{index}")
    return rng.choice(sorted(names)), rng


def run_fault(fault: Fault, rng: Random) -> Outcome:
    """Start a run, do a fault to it, and check everything."""
    begin = time.monotonic()
    clean()  # what others' dead runs had left would go with ours
    before = snapshot.take()
    folder = new_folder("chaos-")
    ended, said, broken = _run_in(folder, fault, rng)
    clean()
    broken += [f"the machine: {change}" for change in before.changes(snapshot.take())]
    seconds = time.monotonic() - begin
    status = ended.status if ended else None
    if broken:
        (folder / "output.txt").write_text(ended.output if ended else "", encoding="utf-8")
        return Outcome(fault.name, status, seconds, said, tuple(broken), folder)
    shutil.rmtree(folder)
    return Outcome(fault.name, status, seconds, said, (), None)


def _run_in(folder: Path, fault: Fault, rng: Random) -> tuple[Ended | None, str, list[str]]:
    out = folder / "results"
    undo = fault.prepare(out) if fault.prepare else lambda: None
    arguments = ["--speedup", f"{SPEEDUP:g}", "--policy", fault.policy]
    beside = fault.environment(folder) if fault.environment else {}
    scene = Scene(Running(short_scenario(), out, arguments, beside), rng)
    ended = None
    try:
        in_time = _strike(fault, scene)
        ended = scene.running.finish()
        if not in_time:
            return ended, "the run ended before the fault was complete", []
        said, broken = _judge(fault, scene, ended, result_in(out))
    except HangError as error:
        return None, "it hangs", [str(error)]
    except UserError as error:
        return ended, "its records cannot be opened", [str(error)]
    else:
        return ended, said, broken
    finally:
        for running in (scene.running, *scene.others):
            running.kill()
        undo()


def _strike(fault: Fault, scene: Scene) -> bool:
    """Do it; returns whether the run was still there to be hurt.

    Raises whatever goes wrong while the run is in its slots or before.
    """
    try:
        fault.strike(scene)
    except (OSError, RunError):
        if not scene.running.at_its_end:
            raise
        return False
    return True


def new_folder(prefix: str) -> Path:
    """A folder for a run's results; its nodes are nobody, and must be able to enter."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    return folder


def result_in(out: Path) -> Result | None:
    """The result of the one run below a folder, if it came to have one."""
    folders = find_results(out) if out.is_dir() else []
    return open_result(folders[0]) if folders else None


def _judge(
    fault: Fault, scene: Scene, ended: Ended, result: Result | None
) -> tuple[str, list[str]]:
    verdict = result.verdict if result else "no result"
    broken = fault.wrong(scene, ended, verdict)
    if result:
        broken += records_wrong(result)
        if fault.check and not broken:
            broken += fault.check(scene, result)
    lines = [k for k in ended.output.splitlines() if k.startswith(("lab: ", "note: at "))]
    return (lines[-1] if lines else verdict), broken


def bring_ups(count: int) -> Iterator[tuple[float, int, float]]:
    """Bring a network up and down again and again in this process.

    Yields after each: seconds, open file descriptors and resident memory of this process, MB.
    """
    import psutil

    from emulation.host.ledger import Ledger
    from emulation.options import RunOptions
    from emulation.orchestrator.deployment import Machinery

    me = psutil.Process()
    for _ in range(count):
        begin = time.monotonic()
        ledger = Ledger.open_new()
        machinery = Machinery(RunOptions(short_scenario()), ledger)
        try:
            machinery.bring_up(lambda _: None)
        finally:
            machinery.tear_down()
            ledger.remove_all()
        # What is garbage already is no growth.
        gc.collect()
        yield time.monotonic() - begin, me.num_fds(), me.memory_info().rss / 1e6

"""What the machine does to a run, or other runs on it; and nothing at all, to compare with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from emulation.host.commands import run
from emulation.orchestrator.session import BROKEN, DONE
from experiments.chaos import clock, pressure
from experiments.chaos.fault import Scene, fault
from experiments.chaos.invariants import records_wrong
from experiments.chaos.processes import a_moment, goes_on
from experiments.chaos.running import Running
from records.reader import Result, find_results, open_result

_SMALL = "size=4m"
_CHUNK = bytes(64 * 1024)
_ROOM_MB = 16
_HOUR_S = 3600


@fault()
def none(scene: Scene) -> None:
    """Nothing happens."""


def _small_disk(out: Path) -> Callable[[], object]:
    out.mkdir(parents=True)
    run(["mount", "-t", "tmpfs", "-o", _SMALL, "chaos", str(out)])
    return partial(run, ["umount", str(out)])


@fault(
    statuses=frozenset({BROKEN}),
    says="(?m)^lab: .*No space left on device",
    prepare=_small_disk,
)
def disk_full(scene: Scene) -> None:
    """The disk that results are written to is full (a tmpfs of 4 MB, filled)."""
    a_moment(scene)
    with (scene.running.out / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(_CHUNK) == len(_CHUNK):
                continue
        except OSError:
            return


def _memory_of(out: Path) -> pressure.MemoryGroup:
    return pressure.MemoryGroup(out.parent.name)


def _scarce_memory(out: Path) -> Callable[[], object]:
    group = _memory_of(out)
    group.make()
    return group.remove


def _run_out_of_memory(scene: Scene, taken_mb: int, oom_score: int) -> None:
    group = _memory_of(scene.running.out)
    group.add(scene.running.process_id)
    a_moment(scene, 0.3)
    group.leave_room(_ROOM_MB)
    scene.notes["taken"] = group.take(taken_mb, oom_score)
    group.leave_room(1024)


def _the_other_was_killed(scene: Scene, result: Result) -> list[str]:
    wrong = ["the other program got all that it asked for"] if scene.notes["taken"] else []
    return wrong + goes_on(scene, result)


@fault(
    says=None,  # before the other's pages are free, the kernel may take a node's as well
    prepare=_scarce_memory,
    lacking=pressure.lacking,
    check=_the_other_was_killed,
)
def memory_pressure(scene: Scene) -> None:
    """Another program takes what memory there is, until the kernel kills it."""
    _run_out_of_memory(scene, 4 * _ROOM_MB, 1000)


@fault(
    statuses=frozenset({DONE, BROKEN}),
    says="was killed by SIGKILL",
    prepare=_scarce_memory,
    lacking=pressure.lacking,
)
def memory_exhausted(scene: Scene) -> None:
    """Another program takes what memory there is, and the kernel kills parts of the run for it."""
    # A node or two make room for what it takes over, and are killed for it before all others.
    _run_out_of_memory(scene, _ROOM_MB + 2, 0)


@fault(
    says="wall clock against monotonic clock",
    lacking=clock.lacking,
    environment=clock.environment,
    check=goes_on,
)
def wall_clock_jumps(scene: Scene) -> None:
    """The orchestrator's wall clock jumps by an hour, forward or back."""
    a_moment(scene, 0.3)
    clock.jump(scene.running.out.parent, scene.rng.choice((-_HOUR_S, _HOUR_S)))


def _other_is_whole(scene: Scene, _: Result) -> list[str]:
    (other,) = scene.others
    ended = other.finish()
    (folder,) = find_results(other.out)
    wrong = [f"the other run: {w}" for w in records_wrong(open_result(folder))]
    return wrong + ([] if ended.status == 0 else [f"the other run: {ended.output}"])


@fault(check=_other_is_whole)
def two_runs(scene: Scene) -> None:
    """Another run is started meanwhile."""
    if scene.rng.random() < 0.5:
        scene.running.wait_for_slots()
    out = scene.running.out
    scene.others.append(Running(scene.scenario, out.with_name("other"), scene.running.arguments))

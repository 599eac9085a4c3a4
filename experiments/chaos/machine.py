"""What the machine does to a run, or other runs on it; and nothing at all, to compare with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from emulation.commands import run
from emulation.session import BROKEN
from experiments.chaos.fault import Scene, fault
from experiments.chaos.invariants import records_wrong
from experiments.chaos.processes import a_moment
from experiments.chaos.running import Running
from records.reader import Result, find_results, open_result

_SMALL = "size=4m"
_CHUNK = bytes(64 * 1024)


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

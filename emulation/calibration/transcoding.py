"""What transcoding costs on this machine: the numbers that a scenario's works are made of.

Clips of each representation and of three lengths are transcoded and checked as a worker does it, as
many at a time as there are cores: cores share caches, and often are but half a core each, so that
alone on the machine FFmpeg would be faster than it is in a run. The CPU time of a clip is then
fitted by ``start + slope * length``; times what GHz a core stands for in the scenario, that is its
work, and s/F the time it takes a unit with its share of the machine.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

import numpy as np

from emulation.node.transcoding import ffmpeg
from emulation.node.transcoding.worker import transcoded
from emulation.orchestrator.clip_cache import make
from model.clips import Clip, catalogue, picture
from model.errors import RunError, UserError
from model.scenario import ClipsSpec, RepresentationSpec, Scenario
from model.scenario.yaml_reader import dump_yaml

_REPEATS = 3
_LENGTHS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """A clip's length, s, and the CPU times that transcoding it took, s."""

    clip: Clip
    cpu_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """CPU time of a representation's clips: start + slope · length, s; the largest error, s."""

    name: str
    start_s: float
    slope: float
    error_s: float


def steps(scenario: Scenario) -> int:
    """How often ``measure`` calls ``progress``."""
    return len(_clips(scenario)[1])


def measure(scenario: Scenario, progress: Callable[[str], None]) -> list[Measured]:
    """Transcode clips of every representation and of three lengths.

    Raises ``UserError`` if the scenario has no clips, ``FFmpegError`` or ``RunError`` if FFmpeg
    fails.
    """
    spec, clips = _clips(scenario)
    found = []
    for clip in clips:
        progress(f"{clip.source}, {clip.duration_s:.1f} s")
        data = make(spec, clip)
        found.append(Measured(clip, tuple(_cost(spec, clip, data) for _ in range(_REPEATS))))
    return found


def fit(measured: list[Measured]) -> list[Fit]:
    """A line through the CPU times of each representation, neither end of it below 0."""
    fits = []
    for name in dict.fromkeys(m.clip.source for m in measured):
        mine = [(m.clip.duration_s, s) for m in measured if m.clip.source == name for s in m.cpu_s]
        length, cpu = np.array(mine).T
        slope, start = np.polyfit(length, cpu, 1)
        slope, start = max(0.0, float(slope)), max(0.0, float(start))
        error = float(np.abs(start + slope * length - cpu).max())
        fits.append(Fit(name, start, slope, error))
    return fits


def scenario_text(scenario: Scenario, fits: list[Fit], extends: str) -> str:
    """A scenario file with what was measured here, on top of ``extends``, a name or a path."""
    assert scenario.clips is not None  # noqa: S101 - for the type checker: it was measured
    ghz, by_name = scenario.compute.core_ghz, {f.name: f for f in fits}
    fitted = [
        r if r.name not in by_name else _fitted(r, by_name[r.name], ghz)
        for r in scenario.clips.representations
    ]
    clips = catalogue(scenario.clips.model_copy(update={"representations": tuple(fitted)}))
    data = {
        "extends": extends,
        "name": scenario.name,
        "workload": {"work_ghz_s": round(float(np.mean([c.work_ghz_s for c in clips])), 2)},
        "clips": {"representations": [r.model_dump(exclude_defaults=True) for r in fitted]},
    }
    head = f"# {scenario.name} with what FFmpeg {ffmpeg.version()} costs on this machine."
    return f"{head}\n{dump_yaml(data)}"


def _fitted(of: RepresentationSpec, found: Fit, core_ghz: float) -> RepresentationSpec:
    costs = {
        "start_ghz_s": round(found.start_s * core_ghz, 2),
        "ghz": round(found.slope * core_ghz, 3),
    }
    return of.model_copy(update=costs)


def _clips(scenario: Scenario) -> tuple[ClipsSpec, list[Clip]]:
    if scenario.clips is None:
        raise UserError(f"scenario {scenario.name} has no clips, so there is nothing to calibrate")
    low, high = scenario.clips.duration_s
    found: list[Clip] = []
    for length in np.linspace(low, high, _LENGTHS):
        update = {"duration_s": (float(length), float(length)), "versions": 1}
        found += catalogue(scenario.clips.model_copy(update=update))
    return scenario.clips, sorted(found, key=lambda c: (c.index, c.duration_s))


def _cost(spec: ClipsSpec, clip: Clip, data: bytes) -> float:
    """CPU time of FFmpeg and of the check of its result, s: mean over one for each core."""
    wanted = picture(spec, clip.result)
    job = {"job": 0, "result": astuple(wanted), "frames": clip.result_frames(wanted)}
    cores = len(os.sched_getaffinity(0))
    before = _children_s()
    with ThreadPoolExecutor(cores) as pool:
        answers = list(pool.map(lambda _: transcoded(job, data)[0], range(cores)))
    for answer in answers:
        if answer["error"]:
            raise RunError(f"a clip of {clip.source} cannot be transcoded: {answer['error']}")
    return (_children_s() - before) / cores


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

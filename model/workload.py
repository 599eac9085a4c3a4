"""The task trace: what every device has to do, and when; the same bytes in both worlds.

Section VI-A of the paper: at each device epochs follow each other after U[5, 20] s; each epoch
brings K ~ Poisson(λ1) tasks with s ~ Poisson(λ2) GHz·s and o ~ Poisson(λ3) MB. Where tasks are
about clips (Section VI-C), each is about one of the catalogue's, which has its s and its o.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.clips import Clip, catalogue_of
from model.network import Network, build_network
from model.random_streams import stream
from model.scenario import Scenario, WorkloadSpec


@dataclass(frozen=True, slots=True)
class TaskTrace:
    """All tasks of a run, ordered by time of birth (ties: by device, then by draw).

    Attributes:
        device: int32 (tasks,), index into ``network.devices``.
        born_s: float64 (tasks,), scenario time of birth, s.
        work_ghz_s: float64 (tasks,), s_i, GHz·s.
        data_mb: float64 (tasks,), o_i, MB.
        clip: int32 (tasks,), index into ``model.clips.catalogue``; -1: about no clip.

    A task's id is its position in these arrays.
    """

    device: NDArray[np.int32]
    born_s: NDArray[np.float64]
    work_ghz_s: NDArray[np.float64]
    data_mb: NDArray[np.float64]
    clip: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.device)

    def of_device(self, index: int) -> NDArray[np.int64]:
        """Ids of the tasks of one device, in order of birth."""
        return np.flatnonzero(self.device == index)


_Columns = tuple[list[float], list[float], list[float], list[int]]


def _device_tasks(
    spec: WorkloadSpec, clips: tuple[Clip, ...], duration_s: float, rng: np.random.Generator
) -> _Columns:
    """(born, work, data, clip) of one device over [0, duration)."""
    born: list[float] = []
    work: list[float] = []
    data: list[float] = []
    clip: list[int] = []
    low, high = spec.epoch_gap_s
    # The first epoch lies a random part of a gap into the run, so that the devices are not in step.
    epoch = float(rng.uniform(0.0, high))
    while epoch < duration_s:
        gap = float(rng.uniform(low, high))
        count = int(rng.poisson(spec.tasks_per_epoch))
        offsets = (
            np.sort(rng.uniform(0.0, gap, count)) if spec.arrival == "spread" else np.zeros(count)
        )
        works, datas, chosen = _draw(spec, clips, count, rng)
        for k in range(count):
            at = epoch + float(offsets[k])
            if at < duration_s:
                born.append(at)
                work.append(works[k])
                data.append(datas[k])
                clip.append(chosen[k])
        epoch += gap
    return born, work, data, clip


def _draw(
    spec: WorkloadSpec, clips: tuple[Clip, ...], count: int, rng: np.random.Generator
) -> tuple[list[float], list[float], list[int]]:
    """Work, data and clip of so many tasks."""
    if not clips:
        works, datas = rng.poisson(spec.work_ghz_s, count), rng.poisson(spec.data_mb, count)
        return [float(w) for w in works], [float(o) for o in datas], [-1] * count
    chosen = [int(k) for k in rng.integers(len(clips), size=count)]
    return (
        [clips[k].work_ghz_s for k in chosen],
        [clips[k].data_bytes / 1e6 for k in chosen],
        chosen,
    )


def generate_trace(scenario: Scenario, seed: int, network: Network | None = None) -> TaskTrace:
    """The trace of (scenario, seed): byte-identical on every machine and in both worlds.

    Each device draws from a stream of its own, so adding a device changes no other's tasks.
    """
    network = network or build_network(scenario)
    device: list[int] = []
    columns: _Columns = ([], [], [], [])
    clips = catalogue_of(scenario)
    for index, node in enumerate(network.devices):
        rng = stream(seed, "arrivals", node.name)
        drawn = _device_tasks(scenario.workload, clips, scenario.duration_s, rng)
        device += [index] * len(drawn[0])
        for column, values in zip(columns, drawn, strict=True):
            column += values  # type: ignore[operator]
    born = np.asarray(columns[0], dtype=np.float64)
    order = np.lexsort((np.arange(len(born)), np.asarray(device, dtype=np.int32), born))
    return TaskTrace(
        np.asarray(device, dtype=np.int32)[order],
        born[order],
        np.asarray(columns[1], dtype=np.float64)[order],
        np.asarray(columns[2], dtype=np.float64)[order],
        np.asarray(columns[3], dtype=np.int32)[order],
    )

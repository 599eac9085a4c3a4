"""Attacks from inside Python: everything that can be reached from the policy's own process."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np

import model.scenario.schema as scenario_module
from emulation.protocol.briefing import Briefing
from emulation.protocol.messages import NodeConfig
from tests.emulation.attacks.base import MASK, Got, Scene, attack, masked

_OBSERVED = {
    "time_s", "queue_ghz_s", "ghz", "inflight_tasks", "inflight_work_ghz_s", "inflight_data_mb",
    "rtt_s", "rtt_age_s", "idle_rtt_s", "delivery_s", "delivery_data_mb", "delivery_age_s",
    "processing_s", "processing_work_ghz_s", "processing_age_s", "results",
    "status_queue_ghz_s", "status_ghz",
}  # fmt: skip
_TOLD = {
    "name", "targets", "kinds", "own_edge", "prices", "rates_mbps", "min_rate_mbps",
    "max_rate_mbps", "alpha", "beta", "slot_s", "max_ghz",
}  # fmt: skip
_FORBIDDEN_TYPES = {
    "Scenario", "Network", "NetworkSpec", "LinkSpec", "TaskTrace", "RunOptions",
    "Machinery", "Ledger", "Fabric", "Spawned", "ComputeSpec", "WorkloadSpec", "Briefer",
    "TaskBook",
}  # fmt: skip
_MAX_OBJECTS = 3_000_000


@attack
def look_at_the_observation(scene: Scene) -> str:
    """Find more in observation and profile than the model allows."""
    seen = {f.name for f in dataclasses.fields(scene.observation)}
    told = {f.name for f in dataclasses.fields(scene.profile)}
    if seen != _OBSERVED or told != _TOLD:
        raise Got(str(sorted((seen ^ _OBSERVED) | (told ^ _TOLD))))
    if scene.observation.status_queue_ghz_s is not None or scene.observation.status_ghz is not None:
        raise Got("the state of others")
    return f"{len(seen)} fields observed, {len(told)} told, all of the model"


def _everything() -> Iterator[object]:
    """Whatever can be reached: the collector's objects, modules, frames, and what they lead to."""
    gc.unfreeze()
    frames: list[object] = []
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        frames += [frame, *frame.f_locals.values()]
        frame = frame.f_back
    stack: list[object] = [*gc.get_objects(), *sys.modules.values(), *frames]
    known = {id(stack), id(frames)}
    while stack and len(known) < _MAX_OBJECTS:
        value = stack.pop()
        if id(value) in known:
            continue
        known.add(id(value))
        yield value
        if not isinstance(value, str | bytes | int | float | type(None)):
            stack.extend(gc.get_referents(value))


@attack
def walk_all_objects(scene: Scene) -> str:
    """Find scenario, network, trace, seed, capacities or tasks of others in any object."""
    own: set[int] = set()
    count, defaults = 0, _defaults()
    for value in _everything():
        count += 1
        kind = type(value)
        ours = str(kind.__module__).partition(".")[0] in ("model", "emulation")
        if ours and kind.__name__ in _FORBIDDEN_TYPES and id(value) not in defaults:
            raise Got(f"a {kind.__module__}.{kind.__name__}")
        if isinstance(value, NodeConfig | Briefing) and value.name != scene.profile.name:
            raise Got(f"the {kind.__name__} of {value.name}")
        for number in _numbers(value):
            if number in scene.foreign:
                raise Got(f"a number that only others know, in a {kind.__name__}")
            if number in scene.own:
                own.add(number)
    if not own:
        raise Got("the search does not even find what is its own")
    return f"{count} objects: {len(own)} of its own {len(scene.own)} numbers, none of others"


def _defaults() -> set[int]:
    """The defaults of a scenario's sections belong to the code, not to the run."""
    kinds = [k for k in vars(scenario_module).values() if isinstance(k, type)]
    return {id(f.default) for k in kinds for f in getattr(k, "model_fields", {}).values()}


def _numbers(value: object) -> Iterator[int]:
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53):
        yield masked(float(value))
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.size < 10**6:
        yield from map(masked, value.astype(float).ravel().tolist())


_PAGE, _BLOCK = 4096, 1 << 24


@attack
def scrape_own_memory(scene: Scene) -> str:
    """Search every readable byte of the process for what only others know."""
    own = np.array(sorted(scene.own), dtype=np.uint64)
    foreign = np.array(sorted(scene.foreign), dtype=np.uint64)
    found_own, size = 0, 0
    for at, data in _blocks():
        size += len(data)
        words = np.frombuffer(data, dtype="<u8") * np.uint64(MASK)
        if np.isin(words, foreign).any():
            raise Got(f"a number that only others know, near {at:#x}")
        found_own += int(np.isin(own, words).sum())
    if not found_own:
        raise Got("the search does not even find what is its own")
    return f"{size >> 20} MB: its own numbers {found_own} times, none of others"


def _regions() -> list[tuple[int, int]]:
    """Readable memory, the kernel's own pages excepted."""
    regions = []
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, access, *_, name = (*line.split(maxsplit=5), "")[:6]
        begin, end = (int(k, 16) for k in span.split("-"))
        if access.startswith("rw") and not name.startswith(("[v", "/dev")):
            regions.append((begin, end))
    return regions


def _blocks() -> Iterator[tuple[int, bytes]]:
    """Memory in blocks, which keep the copy, and so what is searched twice, small."""
    if not Path("/proc/self/maps").exists():
        yield from _found_blocks()
        return
    for begin, end in _regions():
        for at in range(begin, end, _BLOCK):
            yield at, ctypes.string_at(at, min(_BLOCK, end - at))


def _found_blocks() -> Iterator[tuple[int, bytes]]:
    """Pages around every object, and the heap; the kernel copies those of them that it can read."""
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    places = {id(inner) >> 20 for outer in gc.get_objects() for inner in gc.get_referents(outer)}
    top = libc.sbrk(0) >> 20
    places |= set(range(max(0, top - 64), top + 1))
    reader, writer = os.pipe()
    for place in sorted(places):
        pages = [
            os.read(reader, _PAGE)
            for begin in range(place << 20, (place + 1) << 20, _PAGE)
            if libc.write(writer, ctypes.c_void_p(begin), _PAGE) == _PAGE
        ]
        yield place << 20, b"".join(pages)
    os.close(reader)
    os.close(writer)


@attack
def random_stream_tells_seed(scene: Scene) -> str:
    """Take the run's seed from the generator that the policy was given, to draw others' tasks."""
    rng = getattr(scene.policy, "rng", None)
    if rng is None:
        raise Got("no generator was given")
    entropy = rng.bit_generator.seed_seq.entropy
    words = entropy if isinstance(entropy, list | tuple) else [entropy]
    if any(masked(float(w)) in scene.foreign for w in words):
        raise Got(f"the seed: {words}")
    return f"{len(words)} words, none of them the seed"


@attack
def read_environment(scene: Scene) -> str:
    """Find secrets in the environment and the command line."""
    text = " ".join([*os.environ, *os.environ.values(), *sys.argv])
    for word in ("scenario", "--seed", "sock", scene.out):
        if word in text:
            raise Got(word)
    return f"{len(os.environ)} variables, none of them telling"

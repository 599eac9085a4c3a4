"""One whole run, left alone for as long as it takes, and watched for growth."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import psutil

from experiments.chaos.running import Running

ORCHESTRATOR = "orchestrator"
_LEAST_LOOKS = 8
_MEMORY_SHARE, _MEMORY_MB = 0.05, 2.0
"""Growth that is told: more than this share and more than so much, of memory."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a part of a run holds: resident memory, MB, and open descriptors of its processes."""

    memory_mb: float = 0.0
    descriptors: int = 0

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(self.memory_mb + other.memory_mb, self.descriptors + other.descriptors)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a run, so many s after its first slot; its parts by name, hosts by their own."""

    at_s: float
    parts: Mapping[str, Footprint]

    @property
    def total(self) -> Footprint:
        """All parts together."""
        return sum(self.parts.values(), Footprint())


def watch(running: Running, every_s: float, stop: Callable[[], bool]) -> Iterator[Look]:
    """Look at a run from its first slot on, until it ends or ``stop`` says so."""
    running.wait_for_slots()
    begin = next_s = time.monotonic()
    while not (running.at_its_end or stop()):
        if time.monotonic() >= next_s:
            yield Look(time.monotonic() - begin, _parts(running))
            next_s += every_s
        time.sleep(min(1.0, every_s))


def _parts(running: Running) -> dict[str, Footprint]:
    parts: dict[str, Footprint] = {}
    for name, pids in {**running.pids(), ORCHESTRATOR: [running.process_id]}.items():
        for pid in pids:
            with contextlib.suppress(psutil.Error):  # it has just ended
                process = psutil.Process(pid)
                held = Footprint(process.memory_info().rss / 1e6, process.num_fds())
                parts[name] = parts.get(name, Footprint()) + held
    return parts


def growth(looks: Sequence[Look]) -> list[str]:
    """What has grown, in words, in the last quarter of the looks against the second.

    The first quarter is for filling what is filled once. Of memory the medians are compared. Of
    descriptors the least must be more than the median was, since connections come and go with the
    load: what leaks does not come back to where it was. Nothing is told of fewer than eight looks.
    """
    if len(looks) < _LEAST_LOOKS:
        return []
    quarter = len(looks) // 4
    early, late = looks[quarter : 2 * quarter], looks[-quarter:]
    told = []
    for name in sorted(set(early[0].parts) & set(late[-1].parts)):
        before, after = ([k.parts[name] for k in part if name in k.parts] for part in (early, late))
        was, now = (median(k.memory_mb for k in part) for part in (before, after))
        if now - was > max(_MEMORY_MB, _MEMORY_SHARE * was):
            told.append(f"{name}: memory from {was:.1f} to {now:.1f} MB")
        usual, least = median(k.descriptors for k in before), min(k.descriptors for k in after)
        if least > usual:
            told.append(f"{name}: descriptors from {usual:g} to at least {least}")
    return told

"""Which tasks a unit takes in: those that are born, and are what the trace says.

Edges and the cloud, which run nothing of a user's, are briefed on every task. A device is not: its
policy could read of the others' tasks. It takes nothing that no task of the scenario can be. Where
tasks are about clips, each unit compares their bytes with those of the clip that they name.
"""

from __future__ import annotations

import hashlib

from emulation.node.event_loop import Clock
from emulation.node.transcoding.content import index_of
from emulation.protocol.briefing import Briefing
from emulation.protocol.frames import Frame, WireError
from model.clips import catalogue

_EARLY_S = 1e-3
"""Rounding of times; all processes read the same clock."""
_MOST_CLIPS_HELD = 128
"""Of one device's, that arrive at a unit at once or wait there, where the trace is not known."""


class Admission:
    """Looks at each TASK header before its data come, and at the data of clips once they are there.

    Attributes:
        most_held: how many clips of one device a unit may hold; None: as many as it has tasks.
    """

    def __init__(self, briefing: Briefing, clock: Clock):
        self._expected, self._clock = briefing.expected, clock
        self._most_work_ghz_s = briefing.most_work_ghz_s
        self._most_bytes = briefing.most_payload_bytes
        self._sha256 = briefing.clip_sha256
        self._clips = () if briefing.clips is None else catalogue(briefing.clips)
        self._taken: set[tuple[int, int]] = set()
        self._remembers = self._expected is not None or bool(self._clips)
        self.most_held = _MOST_CLIPS_HELD if self._expected is None and self._clips else None

    def require(self, frame: Frame, *, again: bool) -> None:
        """Raise ``WireError`` for what the sender's task is not; ``again``: it is here already."""
        what = _name(frame)
        if frame.value > self._most_work_ghz_s:
            raise WireError(f"{what}: no task is of {frame.value:g} GHz·s")
        if frame.payload_bytes > self._most_bytes:
            raise WireError(f"{what}: no task is of {frame.payload_bytes} bytes")
        if self._expected is not None:
            self._require_expected(frame, what)
        if (frame.device, frame.task) in self._taken and not again:
            raise WireError(f"{what} has been served")

    def _require_expected(self, frame: Frame, what: str) -> None:
        assert self._expected is not None  # noqa: S101 - for the type checker: asked before
        expected = self._expected
        if self._clock.now() < expected.born_s[frame.task] - _EARLY_S:
            raise WireError(f"{what} is not born yet")
        if frame.value != expected.work_ghz_s[frame.task]:
            raise WireError(f"{what} is not of {frame.value:g} GHz·s")
        if frame.payload_bytes != expected.payload_bytes[frame.task]:
            raise WireError(f"{what} is not of {frame.payload_bytes} bytes")

    def require_data(self, frame: Frame, data: bytes | bytearray) -> None:
        """Raise ``WireError`` unless the data are, byte for byte, the clip that the task is about.

        An edge knows which clip that is; a device takes the clip that the data name.
        """
        if not self._clips:
            return
        what = _name(frame)
        try:
            index = index_of(data)
            clip = self._clips[index]
        except (ValueError, IndexError) as error:
            raise WireError(f"{what}: the data are no clip that is known") from error
        if self._expected is not None and index != self._expected.clip[frame.task]:
            wanted = self._expected.clip[frame.task]
            raise WireError(f"{what} is about clip {wanted}, its data are named clip {index}")
        if frame.value != clip.work_ghz_s:
            raise WireError(f"{what} is not of {frame.value:g} GHz·s, as clip {index} is not")
        if self._sha256 and hashlib.sha256(data).hexdigest() != self._sha256[index]:
            raise WireError(f"{what}: the data are not those of clip {index}, which they name")

    def taken(self, frame: Frame) -> None:
        """A task has arrived."""
        if self._remembers:
            self._taken.add((frame.device, frame.task))


def _name(frame: Frame) -> str:
    return f"task {frame.task} of device {frame.device}"

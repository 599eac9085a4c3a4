"""The clips of a scenario whose work is transcoding: what each is, becomes, weighs and costs.

Section VI-C of the paper: clips of U[2, 10] s in five representations. There are a few of each,
the same for all seeds, so that they can be prepared beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.random_streams import stream
from model.scenario import ClipsSpec, RepresentationSpec, Scenario

PACKET_BYTES = 188
"""Of an MPEG transport stream: a clip is a whole number of them."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A representation at the scenario's scale: pixels, frames per second, bit/s."""

    width: int
    height: int
    fps: int
    rate_bps: int


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip.

    Attributes:
        index: its position in the catalogue.
        source, result: names of the representation that it has and of the one that it gets.
        frames: of the source; its length is a whole number of frames of both.
        duration_s: its length, s.
        data_bytes: size of its file.
        result_bytes: about what its result weighs: rate times length.
        work_ghz_s: s_i, GHz·s.
    """

    index: int
    source: str
    result: str
    frames: int
    duration_s: float
    data_bytes: int
    result_bytes: int
    work_ghz_s: float

    def result_frames(self, wanted: Picture) -> int:
        """Return how many frames its result has, in that picture."""
        return round(self.duration_s * wanted.fps)


def picture(spec: ClipsSpec, name: str) -> Picture:
    """A representation by its name, scaled; sides are even, as the coding wants them."""
    found = _representation(spec, name)
    height = max(16, 2 * round(found.height * spec.picture_scale / 2))
    width = max(16, 2 * round(found.height * spec.picture_scale * 16 / 9 / 2))
    rate_bps = max(1, round(found.rate_mbps * 1e6 * spec.picture_scale**2))
    return Picture(width, height, found.fps, rate_bps)


def catalogue(spec: ClipsSpec) -> tuple[Clip, ...]:
    """All clips, in order of their index."""
    sources = [r for r in spec.representations if r.to is not None]
    pairs = [(r, version) for r in sources for version in range(spec.versions)]
    return tuple(_clip(spec, k, r, version) for k, (r, version) in enumerate(pairs))


def catalogue_of(scenario: Scenario) -> tuple[Clip, ...]:
    """The clips of a scenario; none where its tasks are not about clips."""
    return () if scenario.clips is None else catalogue(scenario.clips)


def _clip(spec: ClipsSpec, index: int, source: RepresentationSpec, version: int) -> Clip:
    result = _representation(spec, str(source.to))
    low, high = spec.duration_s
    length_s = float(stream(0, "clips", source.name, str(version)).uniform(low, high))
    slower = min(source.fps, result.fps)
    duration_s = max(1, round(length_s * slower)) / slower
    return Clip(
        index=index,
        source=source.name,
        result=result.name,
        frames=round(duration_s * source.fps),
        duration_s=duration_s,
        data_bytes=_packets(picture(spec, source.name), duration_s) * PACKET_BYTES,
        result_bytes=_packets(picture(spec, result.name), duration_s) * PACKET_BYTES,
        work_ghz_s=source.start_ghz_s + source.ghz * duration_s,
    )


def _packets(of: Picture, duration_s: float) -> int:
    return max(1, round(of.rate_bps * duration_s / 8 / PACKET_BYTES))


def _representation(spec: ClipsSpec, name: str) -> RepresentationSpec:
    return next(r for r in spec.representations if r.name == name)

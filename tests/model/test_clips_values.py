"""Clips and pictures in numbers, down to the smallest that can be coded."""

from __future__ import annotations

import pytest

from model.clips import PACKET_BYTES, Picture, catalogue, picture
from model.scenario.load import load_scenario
from model.scenario.schema import ClipsSpec, RepresentationSpec


def spec(**changes: object) -> ClipsSpec:
    fine = RepresentationSpec(
        name="fine", height=1080, fps=60, rate_mbps=6.0, to="coarse", start_ghz_s=3.0, ghz=2.0
    )
    coarse = RepresentationSpec(name="coarse", height=240, fps=30, rate_mbps=0.5)
    return ClipsSpec(
        **{"representations": (fine, coarse), "versions": 3, "duration_s": (4.0, 4.0), **changes}
    )


@pytest.mark.parametrize(
    ("scale", "fine", "coarse"),
    [
        (1.0, Picture(1920, 1080, 60, 6_000_000), Picture(426, 240, 30, 500_000)),
        (0.5, Picture(960, 540, 60, 1_500_000), Picture(214, 120, 30, 125_000)),
        (1e-4, Picture(16, 16, 60, 1), Picture(16, 16, 30, 1)),
    ],
)
def test_pictures_are_wide_even_and_never_too_small_to_code(
    scale: float, fine: Picture, coarse: Picture
) -> None:
    scaled = spec(picture_scale=scale)
    assert (picture(scaled, "fine"), picture(scaled, "coarse")) == (fine, coarse)


def test_a_clip_in_numbers() -> None:
    clips = catalogue(spec())
    assert [clip.index for clip in clips] == [0, 1, 2]
    for clip in clips:
        assert (clip.source, clip.result, clip.duration_s, clip.frames) == (
            "fine",
            "coarse",
            4,
            240,
        )
        assert clip.data_bytes == round(6e6 * 4 / 8 / PACKET_BYTES) * PACKET_BYTES
        assert clip.result_bytes == round(0.5e6 * 4 / 8 / PACKET_BYTES) * PACKET_BYTES
        assert clip.work_ghz_s == 3.0 + 2.0 * 4


def test_the_shortest_clip_has_one_frame_of_the_slower_coding_and_one_packet() -> None:
    for clip in catalogue(spec(duration_s=(1e-6, 1e-6), picture_scale=1e-4)):
        assert clip.duration_s == 1 / 30
        assert clip.frames == 2
        assert clip.data_bytes == clip.result_bytes == PACKET_BYTES


def test_the_clips_of_livecast_stay_what_they_were() -> None:
    clips = load_scenario("livecast").clips
    assert clips is not None
    assert [(clip.frames, clip.data_bytes) for clip in catalogue(clips)[:6]] == [
        (556, 2_316_724), (501, 2_087_552), (150, 624_912), (582, 2_425_012), (128, 666_648),
        (208, 1_083_256),
    ]  # fmt: skip

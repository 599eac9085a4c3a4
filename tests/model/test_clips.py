"""Scenarios whose tasks are about clips: the catalogue, the trace, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from model.clips import PACKET_BYTES, catalogue, picture
from model.errors import ScenarioError
from model.scenario.load import load_scenario
from model.workload import generate_trace

SCENARIO = load_scenario("livecast")


def test_the_catalogue_is_the_papers_and_scaled() -> None:
    spec = SCENARIO.clips
    assert spec is not None
    clips = catalogue(spec)
    assert [c.index for c in clips] == list(range(len(clips))) == list(range(5 * spec.versions))
    assert {c.source for c in clips} == {"1080p60", "1080p30", "720p60", "720p30", "480p30"}
    sizes = {r.name: r.height for r in spec.representations}
    for clip in clips:
        assert sizes[clip.result] < sizes[clip.source]
        assert 2.0 - 1 / 30 <= clip.duration_s <= 10.0 + 1 / 30
        assert clip.frames == pytest.approx(clip.duration_s * picture(spec, clip.source).fps)
        assert clip.data_bytes % PACKET_BYTES == 0
        rate_mbps = clip.data_bytes * 8e-6 / clip.duration_s
        nominal = next(r.rate_mbps for r in spec.representations if r.name == clip.source)
        assert rate_mbps == pytest.approx(nominal * spec.picture_scale**2, rel=0.01)
    first = picture(spec, "1080p60")
    assert (first.width, first.height, first.fps) == (960, 540, 60)
    assert catalogue(spec) == clips


def test_tasks_have_the_work_and_the_data_of_their_clips() -> None:
    clips = catalogue(SCENARIO.clips) if SCENARIO.clips else ()
    trace = generate_trace(SCENARIO, 3)
    assert len(trace) > 100
    assert set(trace.clip.tolist()) == set(range(len(clips)))
    assert trace.work_ghz_s == pytest.approx([clips[k].work_ghz_s for k in trace.clip])
    assert trace.data_mb == pytest.approx([clips[k].data_bytes / 1e6 for k in trace.clip])
    again = generate_trace(SCENARIO, 3)
    assert np.array_equal(trace.clip, again.clip)


def test_other_tasks_are_about_no_clip() -> None:
    assert (generate_trace(load_scenario("mini"), 1).clip == -1).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"compute.work": "timed"}, "are for compute.work: ffmpeg"),
        ({"cloud.mode": "overflow"}, "must be none with compute.work: ffmpeg"),
        ({"compute.device.idle_probability": 0.5}, "must be 1 with compute.work: ffmpeg"),
        ({"workload.data_mb": 7}, "must be the clips' mean"),
        ({"workload.work_ghz_s": 1}, "must be the clips' mean"),
        ({"compute.workers.edge": 1, "compute.edge_ghz": 100}, "cannot use the 1.4 cores"),
        ({"clips.duration_s": "[9, 3]"}, "low must not exceed high"),
        ({"clips.representations.0.to": "144p15"}, "is none of 1080p60"),
        ({"clips.versoins": 3}, "did you mean 'versions'"),
    ],
)
def test_what_does_not_fit_is_said(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario("livecast", settings)
    with pytest.raises(ScenarioError, match="ffmpeg needs clips"):
        load_scenario("mini", {"compute.work": "ffmpeg"})

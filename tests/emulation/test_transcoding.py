"""FFmpeg on clips, the worker that runs it, and the queue in front of it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from cli import calibrate_clips
from emulation.calibration.transcoding import Fit, Measured, fit, scenario_text
from emulation.node.event_loop import Clock, Loop
from emulation.node.transcoding import content, ffmpeg, worker
from emulation.node.transcoding.queue import Transcoding
from emulation.node.work import Job, Outcome
from emulation.orchestrator import clip_cache
from emulation.protocol.messages import Transcoded
from model.clips import Clip, catalogue, picture
from model.compute import FrequencyTrace
from model.errors import UserError
from model.scenario import ClipsSpec, RepresentationSpec
from model.scenario.load import load_scenario

pytestmark = [pytest.mark.ffmpeg]
SPEC = ClipsSpec(
    picture_scale=0.25,
    duration_s=(1.0, 1.5),
    versions=1,
    representations=(
        RepresentationSpec(name="720p60", height=720, fps=60, rate_mbps=8, to="480p30", ghz=2),
        RepresentationSpec(name="480p30", height=480, fps=30, rate_mbps=6, to="360p30", ghz=1),
        RepresentationSpec(name="360p30", height=360, fps=30, rate_mbps=3),
    ),
)
CLIPS = catalogue(SPEC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clips, prepared."""
    return clip_cache.prepare(SPEC, lambda _: None, tmp_path_factory.mktemp("clips"))


def frames(clip: Clip) -> int:
    return round(clip.duration_s * picture(SPEC, clip.result).fps)


def test_clips_are_what_the_catalogue_says_and_made_once(folder: Path) -> None:
    for clip in CLIPS:
        data = content.load(folder, clip.index)
        source = picture(SPEC, clip.source)
        assert len(data) == clip.data_bytes
        assert content.index_of(data) == clip.index
        found = ffmpeg.probe(data)
        assert astuple(found) == (source.width, source.height, source.fps, clip.frames)
        # Not mostly stuffing: what crosses the links is video.
        assert data.count(content.label(clip.index)[:4]) * 188 < 0.4 * len(data)
    made: list[str] = []
    assert clip_cache.prepare(SPEC, made.append, folder.parent) == folder
    assert made == []


@pytest.mark.parametrize("clip", CLIPS, ids=lambda c: str(c.source))
def test_a_transcoded_clip_has_size_rate_and_length(folder: Path, clip: Clip) -> None:
    wanted = picture(SPEC, clip.result)
    ran = ffmpeg.transcode(content.load(folder, clip.index), wanted)
    found = ffmpeg.probe(ran.output)
    ffmpeg.check(found, wanted, frames(clip))
    assert (found.width, found.height, found.fps) == (wanted.width, wanted.height, wanted.fps)
    assert abs(found.frames / found.fps - clip.duration_s) <= 1 / wanted.fps
    assert ran.cpu_s > 0.01


def test_a_result_that_is_not_what_was_asked_for_is_refused(folder: Path) -> None:
    clip = CLIPS[0]
    wanted = picture(SPEC, clip.result)
    found = ffmpeg.probe(ffmpeg.transcode(content.load(folder, 0), wanted).output)
    for wrong, words in (
        (replace(found, width=found.width + 2), "×"),
        (replace(found, fps=60.0), "frames/s"),
        (replace(found, frames=found.frames - 2), "frames, not"),
    ):
        with pytest.raises(ffmpeg.FFmpegError, match=words):
            ffmpeg.check(wrong, wanted, frames(clip))


def corrupt(data: bytes) -> bytes:
    """A clip whose label is whole and whose video is not."""
    return data[:188] + bytes(len(data) - 188)


def test_a_corrupt_clip_fails_with_ffmpegs_words_and_so_does_half_of_one(folder: Path) -> None:
    clip = CLIPS[0]
    job = {"job": 1, "result": astuple(picture(SPEC, clip.result)), "frames": frames(clip)}
    data = content.load(folder, 0)
    answer, result = worker.transcoded(job, corrupt(data))
    assert result == b""
    assert answer["error"].startswith("ffmpeg: ")
    answer, result = worker.transcoded(job, data[: len(data) // 2])
    assert result == b""
    assert answer["error"]
    answer, result = worker.transcoded(job, data)
    assert answer["error"] == ""
    assert len(result) == answer["bytes"] > 0


def test_what_is_missing_or_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "PATH", "/nowhere")
    with pytest.raises(ffmpeg.FFmpegError, match="ffmpeg: No such file"):
        ffmpeg.run(["ffmpeg", "-version"], b"")


def test_a_rate_too_low_for_the_picture_is_the_users_mistake(tmp_path: Path) -> None:
    tiny = SPEC.representations[0].model_copy(update={"rate_mbps": 0.05})
    spec = SPEC.model_copy(update={"representations": (tiny, *SPEC.representations[1:])})
    with pytest.raises(UserError, match="raise its rate_mbps"):
        clip_cache.prepare(spec, lambda _: None, tmp_path)
    assert list(tmp_path.iterdir()) == []


class Bed:
    """A queue with a real worker behind it, in threads of this process."""

    def __init__(self, workers: int):
        self.loop, self.clock = Loop(), Clock(1.0)
        self.clock.start(time.monotonic())
        ours, theirs = socket.socketpair()
        self.reports: list[Transcoded] = []
        self.outcomes: dict[int, Outcome] = {}
        self.work = Transcoding(
            self.loop,
            self.clock,
            FrequencyTrace((0.0,), (10.0,), 10.0),
            SPEC,
            workers,
            ours,
            self.reports.append,
        )
        threading.Thread(target=worker.serve, args=(theirs,), daemon=True).start()

    def serve(self, task: int, data: bytes) -> None:
        job = Job(task, 0, 1.0, data, self.clock.now())
        self.work.serve(job, lambda outcome: self.outcomes.update({task: outcome}))

    def until(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.outcomes) < count:
            assert time.monotonic() < deadline
            self.loop.step(0.01)


@pytest.fixture
def bed() -> Iterator[Bed]:
    one = Bed(2)
    yield one
    one.work.close()
    one.loop.close()


def test_the_queue_serves_in_order_and_not_more_at_a_time_than_it_may(
    bed: Bed, folder: Path
) -> None:
    clips = [content.load(folder, k % len(CLIPS)) for k in range(6)]
    for task, data in enumerate(clips):
        bed.serve(task, data)
    works = [CLIPS[k % len(CLIPS)].work_ghz_s for k in range(6)]
    assert bed.work.queue_ghz_s(bed.clock.now()) == pytest.approx(sum(works), rel=0.1)
    bed.until(6)
    starts = [bed.outcomes[k].start_s for k in range(6)]
    assert starts == sorted(starts)
    for at in starts:
        serving = sum(o.start_s <= at < o.end_s for o in bed.outcomes.values())
        assert serving <= 2
    assert all(o.error == "" and o.result for o in bed.outcomes.values())
    assert {r.task: r.result_bytes for r in bed.reports} == {
        k: len(o.result) for k, o in bed.outcomes.items()
    }
    end = max(o.end_s for o in bed.outcomes.values())
    assert bed.work.queue_ghz_s(end) == 0.0
    spent = sum(o.end_s - o.start_s for o in bed.outcomes.values())
    assert bed.work.busy_share(0.0, end) == pytest.approx(spent / (2 * end))


def test_a_failure_costs_its_own_clip_only(bed: Bed, folder: Path) -> None:
    good = content.load(folder, 0)
    for task, data in enumerate((good, corrupt(good), b"no clip at all", good)):
        bed.serve(task, data)
    bed.until(4)
    assert [bool(bed.outcomes[k].error) for k in range(4)] == [False, True, True, False]
    assert bed.outcomes[2].error == "the data are no clip that is known"
    (failed,) = [r for r in bed.reports if r.error]
    assert (failed.task, failed.result_bytes) == (1, 0)


def test_the_worker_ends_with_its_unit() -> None:
    ours, theirs = socket.socketpair()
    code = f"""
import socket
from emulation.node.transcoding.worker import serve
raise SystemExit(serve(socket.socket(fileno={theirs.fileno()})))
"""
    child = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()])
    theirs.close()
    ours.close()
    assert child.wait(20) == 0


def test_the_fit_finds_the_line_and_writes_a_scenario(tmp_path: Path) -> None:
    scenario = load_scenario("livecast")
    assert scenario.clips is not None
    measured = [
        Measured(replace(clip, duration_s=length), (0.1 + 0.02 * length,) * 2)
        for clip in catalogue(scenario.clips)
        for length in (2.0, 6.0, 10.0)
    ]
    fits = fit(measured)
    assert [f.name for f in fits] == ["1080p60", "1080p30", "720p60", "720p30", "480p30"]
    for found in fits:
        assert (found.start_s, found.slope) == pytest.approx((0.1, 0.02))
        assert found.error_s < 1e-9
    path = tmp_path / "here.yaml"
    path.write_text(scenario_text(scenario, [*fits[:4], Fit("480p30", 0.2, 0.0, 0.0)], "livecast"))
    here = load_scenario(path)
    assert here.name == "livecast"
    assert here.clips is not None
    first, last = here.clips.representations[0], here.clips.representations[4]
    assert first.start_ghz_s == pytest.approx(0.1 * here.compute.core_ghz)
    assert (last.ghz, here.clips.representations[5].name) == (0.0, "360p30")
    assert json.loads(here.model_dump_json())["compute"]["work"] == "ffmpeg"


def test_what_was_measured_for_a_users_file_extends_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    mine.mkdir()
    elsewhere.mkdir()
    (mine / "my.yaml").write_text("extends: livecast-mini\nname: other\nslots: 17\n")
    monkeypatch.setattr(calibrate_clips, "measure", lambda *_: [])
    monkeypatch.setattr(calibrate_clips, "fit", lambda _: [])
    monkeypatch.chdir(mine)
    for out in (None, elsewhere / "here.yaml"):
        calibrate_clips.calibrate_clips("my.yaml", out)
        path = out or mine / "other-here.yaml"
        assert load_scenario(path).slots == 17
    calibrate_clips.calibrate_clips("livecast-mini", elsewhere / "shipped.yaml")
    assert "extends: livecast-mini" in (elsewhere / "shipped.yaml").read_text()
    with pytest.raises(UserError, match="is the scenario's own file"):
        calibrate_clips.calibrate_clips("my.yaml", Path("my.yaml"))

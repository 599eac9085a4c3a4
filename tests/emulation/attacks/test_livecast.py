"""Attacks by way of clips: on what a unit believes, on its memory, and on FFmpeg.

Each test says what is tried and what is expected of it. Clips are made of stuffing here: a unit
looks at bytes alone, and no FFmpeg is needed where none is attacked.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from emulation.node.admission import Admission
from emulation.node.event_loop import Clock, Loop
from emulation.node.task_server import Unit
from emulation.node.transcoding import content, ffmpeg, worker
from emulation.node.work import Done, Job, Outcome
from emulation.orchestrator.briefer import Briefer
from emulation.protocol.briefing import Briefing
from emulation.protocol.frames import HEADER_BYTES, Frame, Kind, decode, encode
from emulation.protocol.messages import Arrived, Record, from_list
from model.clips import PACKET_BYTES, Picture, catalogue_of
from model.compute import FrequencyTrace
from model.network import build_network
from model.scenario.load import load_scenario
from model.workload import generate_trace

SCENARIO = load_scenario("livecast-mini", {"slots": 60})
NETWORK = build_network(SCENARIO)
TRACE = generate_trace(SCENARIO, 5, NETWORK)
CLIPS = catalogue_of(SCENARIO)
TASKS = [int(k) for k in TRACE.of_device(0)]
LOCALHOST = "127.0.0.1"
WANTED = Picture(64, 36, 30, 100_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips that have the right labels and sizes, and no video."""
    made = tmp_path_factory.mktemp("clips")
    for clip in CLIPS:
        content.clip_path(made, clip.index).write_bytes(bytes_of(clip.index))
    return made


def bytes_of(index: int, filling: int = 0) -> bytes:
    """A label, and something of a clip's size."""
    label = content.label(index)
    return label + bytes([filling]) * (CLIPS[index].data_bytes - len(label))


def header(task: int, **change: float) -> Frame:
    """An honest header of device 0's."""
    clip = CLIPS[int(TRACE.clip[task])]
    frame = Frame(Kind.TASK, 0, task, 1, clip.data_bytes, clip.work_ghz_s)
    return frame._replace(**change)  # type: ignore[arg-type]


class At(Clock):
    """A clock that stands, at the end of the run."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def now(self) -> float:
        return 60.0


class KeptWork:
    """Work on clips without FFmpeg: it keeps what it is given, and ends when it is asked to."""

    frequency = FrequencyTrace((0.0,), (10.0,), 10.0)
    most_bytes: int | None = max(c.data_bytes for c in CLIPS) + PACKET_BYTES

    def __init__(self) -> None:
        self.given: list[tuple[Job, Done]] = []

    def serve(self, job: Job, done: Done) -> None:
        self.given.append((job, done))

    def end(self, result: bytes) -> None:
        self.given[-1][1](Outcome(60.0, 60.0, result))

    def queue_ghz_s(self, time_s: float) -> float:
        return 0.0

    def busy_share(self, begin_s: float, end_s: float) -> float:
        return 0.0

    def close(self) -> None:
        pass


class Target:
    """A unit that is attacked over TCP, and what becomes of it."""

    def __init__(self, name: str, folder: Path):
        briefer = Briefer(SCENARIO, NETWORK, TRACE, 5, 1.0, content=str(folder))
        briefing = Briefing.from_json(briefer.brief(name, "local", {}).to_json())
        self.loop, self.work = Loop(), KeptWork()
        self.records: list[Record] = []
        self.unit = Unit(self.loop, At(), self.work, self.records.append)
        self.unit.admission = Admission(replace(briefing, owners=None), At())
        self.port = self.unit.listen(LOCALHOST, 0)
        self.sockets: list[socket.socket] = []

    def connect(self) -> socket.socket:
        handle = socket.create_connection((LOCALHOST, self.port))
        self.sockets.append(handle)
        return handle

    def send(self, frame: Frame, data: bytes, handle: socket.socket | None = None) -> socket.socket:
        """A task, all of it, from a thread, for the loop is to run meanwhile."""
        handle = handle or self.connect()

        def write() -> None:
            with suppress(OSError):  # refused before its end
                handle.sendall(encode(frame) + data)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        self.until(lambda: not thread.is_alive())
        return handle

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            self.loop.step(0.005)

    def settle(self) -> None:
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            self.loop.step(0.005)

    def answer(self, handle: socket.socket) -> str:
        """What an ERROR says."""
        self.settle()
        handle.settimeout(5)
        data = b""
        with suppress(ConnectionResetError):
            while piece := handle.recv(65536):
                data += piece
        return data[HEADER_BYTES:].decode(errors="replace")

    @property
    def served(self) -> list[int]:
        return [job.task for job, _ in self.work.given]

    def close(self) -> None:
        for handle in self.sockets:
            handle.close()
        self.unit.close()
        self.loop.close()


@pytest.fixture(params=["e1", "c1d2"])
def target(request: pytest.FixtureRequest, folder: Path) -> Iterator[Target]:
    """An edge, which knows the trace, and a device, which does not."""
    made = Target(request.param, folder)
    yield made
    made.close()


@pytest.fixture
def edge(folder: Path) -> Iterator[Target]:
    made = Target("e1", folder)
    yield made
    made.close()


def test_an_honest_clip_is_served(target: Target) -> None:
    task = TASKS[0]
    target.send(header(task), bytes_of(int(TRACE.clip[task])))
    target.until(lambda: target.served == [task])


def test_the_label_of_another_clip_is_refused(edge: Target) -> None:
    """Expected: not served and not recorded, though size and work in the header are right."""
    task = TASKS[0]
    clip = int(TRACE.clip[task])
    other = next(c.index for c in CLIPS if c.index != clip)
    data = content.label(other) + bytes_of(clip)[PACKET_BYTES:]
    handle = edge.send(header(task), data)
    edge.settle()
    assert edge.served == []
    assert not [r for r in edge.records if isinstance(r, Arrived)]
    assert f"is about clip {clip}, its data are named clip {other}" in edge.answer(handle)


def test_cheap_bytes_under_the_right_label_are_refused(target: Target) -> None:
    """Expected: not served; a black picture would cost less than the clip."""
    task = TASKS[0]
    handle = target.send(header(task), bytes_of(int(TRACE.clip[task]), filling=1))
    target.settle()
    assert target.served == []
    assert "the data are not those of clip" in target.answer(handle)


@pytest.mark.parametrize("index", [len(CLIPS), 65535])
def test_a_clip_that_does_not_exist_is_refused(target: Target, index: int) -> None:
    """Expected: not served; the number in a label is looked up and counts nothing."""
    task = TASKS[0]
    data = content.label(index) + bytes_of(int(TRACE.clip[task]))[PACKET_BYTES:]
    handle = target.send(header(task), data)
    target.settle()
    assert target.served == []
    assert "no clip that is known" in target.answer(handle)


def test_a_clip_of_less_work_than_it_takes_is_refused(target: Target) -> None:
    """Expected: not served; the unit's queue would be told less work than there is."""
    task = TASKS[0]
    handle = target.send(header(task, value=0.001), bytes_of(int(TRACE.clip[task])))
    target.settle()
    assert target.served == []
    assert "is not of 0.001 GHz" in target.answer(handle)


def test_headers_take_no_memory(edge: Target) -> None:
    """838 headers that announce a clip each, and not one byte of it.

    Expected: less than 2 MB, where the clips together have hundreds.
    """
    tasks = [TASKS[k % len(TASKS)] for k in range(838)]
    announced = sum(header(t).payload_bytes for t in tasks)
    assert announced > 100e6
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for task in tasks:
            edge.connect().sendall(encode(header(task)))
            edge.loop.step(0.0)
        edge.settle()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 2e6
    # A task that is sent anew takes the place of its first transfer.
    assert sum(p.busy for p in edge.unit._peers) == len(set(tasks))


def test_memory_grows_with_the_bytes_that_came(edge: Target) -> None:
    """Expected: a clip of which 100 kB have come takes about that, twice at most."""
    task = TASKS[0]
    edge.connect().sendall(encode(header(task)) + bytes_of(int(TRACE.clip[task]))[:100_000])
    edge.settle()
    (peer,) = edge.unit._peers
    assert peer._data is not None
    assert len(peer._data) == 100_000
    assert peer._data.__sizeof__() < 200_000


def test_a_device_holds_so_many_clips_of_another_and_no_more(folder: Path) -> None:
    """A unit that knows no trace is sent ever new numbers of tasks. Expected: a limit."""
    target = Target("c1d2", folder)
    assert target.unit.admission is not None
    target.unit.admission.most_held = 3
    try:
        for task in range(5):
            target.connect().sendall(encode(header(TASKS[0])._replace(task=task)))
        target.settle()
        assert sum(p.busy for p in target.unit._peers) == 3
        assert "3 tasks of device 0 are here" in target.answer(target.sockets[-1])
    finally:
        target.close()


def test_connections_of_one_address_are_bounded(
    edge: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expected: those beyond the limit are closed, the others work."""
    monkeypatch.setattr("emulation.node.task_server._MOST_CONNECTIONS", 5)
    handles = [edge.connect() for _ in range(8)]
    edge.settle()
    assert len(edge.unit._peers) == 5
    assert handles[-1].recv(1) == b""


def test_the_same_task_twice_is_served_once(target: Target) -> None:
    """Expected: one service; its result comes again for whom the first one did not reach."""
    task = TASKS[0]
    data = bytes_of(int(TRACE.clip[task]))
    first = target.send(header(task), data)
    target.until(lambda: target.served == [task])
    first.close()
    target.settle()
    target.work.end(b"result")
    second = target.send(header(task, attempt=2), data)
    target.settle()
    assert target.served == [task]
    second.settimeout(5)
    received = second.recv(65536)
    kinds = [decode(received[:HEADER_BYTES]).kind]
    kinds += [decode(received[HEADER_BYTES : 2 * HEADER_BYTES]).kind]
    assert kinds == [Kind.ARRIVED, Kind.RESULT]
    assert received.endswith(b"result")
    # The result has come over. With the next service it is forgotten, and the task refused.
    target.send(header(TASKS[1]), bytes_of(int(TRACE.clip[TASKS[1]])), second)
    target.until(lambda: target.served == [task, TASKS[1]])
    target.work.end(b"another")
    third = target.send(header(task, attempt=3), data)
    target.settle()
    assert target.served == [task, TASKS[1]]
    assert "has been served" in target.answer(third)


@pytest.mark.parametrize("frames", [10**12, 2**31, -1, True, 1.5])
def test_impossible_frames_are_no_record(frames: object) -> None:
    """Expected: refused as no record; 10^12 would not fit the table and would end the run."""
    value = ["transcoded", 0, 0, 1.0, 2.0, 0.1, 240, 1000, 1000, "", 0]
    assert from_list(value)
    for at in (1, 2, 6):
        with pytest.raises(ValueError, match="not a record"):
            from_list([*value[:at], frames if at > 1 else -1, *value[at + 1 :]])


# What FFmpeg is given.

PLAYLISTS: dict[str, str] = {
    "HLS, a file": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:{file}\n#EXT-X-ENDLIST\n",
    "HLS, a URL": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://{url}/a.ts\n"
    "#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile 'file:{file}'\n",
    "concat, a URL": "ffconcat version 1.0\nfile 'http://{url}/a.ts'\n",
    "DASH": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet mimeType="video/mp2t"><Representation id="0">'
    "<BaseURL>http://{url}/a.ts</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "subtitles": "# VobSub index file, v7\nid: en, index: 0\n"
    "timestamp: 00:00:01:000, filepos: 000000000\n",
    "ASS": "[Script Info]\nScriptType: v4.00+\nAudio File: {file}\nVideo File: {file}\n[Events]\n",
}


class Bait:
    """A pipe and a TCP port that tell whether they were opened."""

    def __init__(self, folder: Path):
        self.path, self.opened = folder / "secret.ts", threading.Event()
        os.mkfifo(self.path)
        self._server = socket.create_server((LOCALHOST, 0))
        self.url = f"{LOCALHOST}:{self._server.getsockname()[1]}"
        for watch in (self._watch_path, self._watch_port):
            threading.Thread(target=watch, daemon=True).start()

    def _watch_path(self) -> None:
        handle = os.open(self.path, os.O_WRONLY)  # until a reader comes
        self.opened.set()
        os.close(handle)

    def _watch_port(self) -> None:
        with suppress(OSError):
            self._server.accept()[0].close()
            self.opened.set()

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[Bait]:
    made = Bait(tmp_path)
    yield made
    made.close()


@pytest.mark.ffmpeg
@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("labelled", [False, True])
def test_a_clip_that_names_files_or_urls_opens_nothing(
    bait: Bait, name: str, labelled: bool
) -> None:
    """Expected: FFmpeg and ffprobe fail, and neither the file nor the port is touched."""
    data = PLAYLISTS[name].format(file=bait.path, url=bait.url).encode()
    data = content.label(0) + data if labelled else data
    with pytest.raises(ffmpeg.FFmpegError):
        ffmpeg.transcode(data, WANTED)
    with pytest.raises(ffmpeg.FFmpegError):
        ffmpeg.probe(data)
    assert not bait.opened.wait(0.1)
    answer, result = worker.transcoded({"job": 1, "result": (64, 36, 30, 1), "frames": 1}, data)
    assert answer["error"].startswith("ff")
    assert result == b""


@pytest.mark.ffmpeg
@pytest.mark.parametrize("name", ["concat", "HLS, a URL"])
def test_the_bait_is_taken_where_ffmpeg_may_guess(bait: Bait, name: str) -> None:
    """The test before this one can fail: FFmpeg that may open protocols opens them."""
    data = PLAYLISTS[name].format(file=bait.path, url=bait.url).encode()
    allowed = ["-protocol_whitelist", "file,pipe,http,tcp,crypto"]
    safe = ["-f", "concat", "-safe", "0"] if name == "concat" else []
    with suppress(ffmpeg.FFmpegError):
        ffmpeg.run(["ffmpeg", *allowed, *safe, "-i", "pipe:0", "-f", "null", "-"], data)
    assert bait.opened.wait(5)


@pytest.mark.ffmpeg
def test_another_container_or_coding_is_not_tried() -> None:
    """A video that FFmpeg could read, but no clip is like it. Expected: refused unread."""
    scene = ["-f", "lavfi", "-i", "testsrc2=size=64x36:rate=30", "-frames:v", "10"]
    for form in (["-f", "matroska"], ["-c:v", "mpeg2video", "-f", "mpegts"]):
        made = ffmpeg.run(["ffmpeg", "-loglevel", "error", *scene, *form, "pipe:1"], b"").output
        assert made
        with pytest.raises(ffmpeg.FFmpegError):
            ffmpeg.transcode(made, WANTED)


LIMITED = """
import resource, sys
wanted = {"cpu": resource.RLIMIT_CPU, "data": resource.RLIMIT_DATA, "file": resource.RLIMIT_FSIZE}
import time; time.sleep(0.2)
print({name: resource.getrlimit(kind)[0] for name, kind in wanted.items()})
"""


def test_a_coder_has_limits_of_time_memory_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expected: 120 s of CPU, 1 GiB of memory, and no file larger than the largest result."""
    monkeypatch.setattr(ffmpeg, "PATH", os.environ["PATH"])
    ran = ffmpeg.run(["python3", "-c", LIMITED], b"", ffmpeg._LIMITS)
    assert eval(ran.output) == {"cpu": 120, "data": 1 << 30, "file": 1 << 26}  # noqa: S307

"""A unit's queue of clips: so many at a time go to its worker, the rest wait their turn."""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import Any

from emulation.node.event_loop import READ, WRITE, Clock, Loop
from emulation.node.transcoding import content
from emulation.node.work import Done, Job, Outcome
from emulation.protocol.frames import MAX_RESULT_BYTES
from emulation.protocol.messages import Transcoded
from model.clips import PACKET_BYTES, Clip, Picture, catalogue, picture
from model.compute import FrequencyTrace
from model.scenario import ClipsSpec

_CHUNK = 1 << 18


@dataclass(slots=True)
class _Service:
    """A job that the worker has."""

    job: Job
    clip: Clip
    done: Done
    start_s: float


class Transcoding:
    """Work that is done by FFmpeg, ``workers`` clips at a time.

    How long a clip takes is not known beforehand. Q_u is reckoned by the work that the catalogue
    says, less what F_u, shared by the clips in service, has done of it since.
    """

    def __init__(
        self,
        loop: Loop,
        clock: Clock,
        frequency: FrequencyTrace,
        spec: ClipsSpec,
        workers: int,
        worker: socket.socket,
        report: Callable[[Transcoded], None],
    ):
        self._loop, self._clock, self.frequency = loop, clock, frequency
        self._clips = catalogue(spec)
        self._results = [picture(spec, clip.result) for clip in self._clips]
        self.most_bytes: int | None = max(c.data_bytes for c in self._clips) + PACKET_BYTES
        self._workers, self._socket, self._report = workers, worker, report
        self._waiting: deque[tuple[Job, Clip, Done]] = deque()
        self._serving: dict[int, _Service] = {}
        self._ended: deque[tuple[float, float]] = deque()
        self._unsent: deque[memoryview] = deque()
        self._received = bytearray()
        self._answer: dict[str, Any] | None = None
        self._next = 0
        worker.setblocking(False)
        loop.watch(worker.fileno(), READ, self._ready)

    def serve(self, job: Job, done: Done) -> None:
        """A clip joins the queue; what is no clip of the catalogue fails at once."""
        try:
            clip = self._clips[content.index_of(job.data)]
        except (ValueError, IndexError):
            now, why = job.joined_s, "the data are no clip that is known"
            self._loop.at(0.0, done, Outcome(now, now, error=why))
            return
        self._waiting.append((job, clip, done))
        self._begin()

    def queue_ghz_s(self, time_s: float) -> float:
        """By the catalogue's works."""
        ghz = self.frequency.at(time_s) / max(1, len(self._serving))
        left = sum(
            max(0.0, s.clip.work_ghz_s - ghz * (time_s - s.start_s)) for s in self._serving.values()
        )
        return left + sum(clip.work_ghz_s for _, clip, _ in self._waiting)

    def busy_share(self, begin_s: float, end_s: float) -> float:
        """Of the workers' time."""
        while self._ended and self._ended[0][1] <= begin_s:
            self._ended.popleft()
        spans = [*self._ended, *((s.start_s, end_s) for s in self._serving.values())]
        busy = sum(max(0.0, min(end, end_s) - max(start, begin_s)) for start, end in spans)
        return busy / (self._workers * (end_s - begin_s))

    def close(self) -> None:
        """The worker ends with its socket, and FFmpeg with the worker."""
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def _begin(self) -> None:
        while self._waiting and len(self._serving) < self._workers:
            job, clip, done = self._waiting.popleft()
            number, self._next = self._next, self._next + 1
            self._serving[number] = _Service(job, clip, done, self._clock.now())
            wanted: Picture = self._results[clip.index]
            order = {
                "job": number,
                "bytes": len(job.data),
                "frames": clip.result_frames(wanted),
                "result": astuple(wanted),
            }
            self._unsent.append(memoryview(json.dumps(order).encode() + b"\n"))
            self._unsent.append(memoryview(job.data))
        self._send()

    def _send(self) -> None:
        try:
            while self._unsent:
                first = self._unsent.popleft()
                left = first[self._socket.send(first[:_CHUNK]) :] if len(first) else first
                if len(left):
                    self._unsent.appendleft(left)
        except BlockingIOError:
            self._unsent.appendleft(first)
        events = READ | WRITE if self._unsent else READ
        self._loop.watch(self._socket.fileno(), events, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._send()
        if events & ~WRITE:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return
            if not data:
                raise ConnectionResetError("the worker has gone")
            self._received += data
            for answer, result in self._answers():
                self._finish(answer, result)

    def _answers(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        while True:
            if self._answer is None:
                line, newline, rest = self._received.partition(b"\n")
                if not newline:
                    return
                self._answer, self._received = json.loads(line), rest
            size = int(self._answer["bytes"])
            if not 0 <= size <= MAX_RESULT_BYTES:
                raise ConnectionResetError(f"the worker announces a result of {size} bytes")
            if len(self._received) < size:
                return
            answer, result = self._answer, bytes(memoryview(self._received)[:size])
            del self._received[:size]
            self._answer = None
            yield answer, result

    def _finish(self, answer: dict[str, Any], result: bytes) -> None:
        ended = self._serving.pop(int(answer["job"]))
        job, clip, now = ended.job, ended.clip, self._clock.now()
        self._ended.append((ended.start_s, now))
        self._report(
            Transcoded(
                job.task, clip.index, ended.start_s, now, float(answer["cpu_s"]),
                int(answer["frames"]), len(job.data), len(result), str(answer["error"]), job.device,
            )
        )  # fmt: skip
        self._begin()
        ended.done(Outcome(ended.start_s, now, result, str(answer["error"])))

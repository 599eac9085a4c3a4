"""The process beside a unit that runs FFmpeg for it, so that the unit itself never waits for one.

It lives behind the same walls as its unit, has no network, and is a process of its own so that a
share of the machine can be given to FFmpeg alone: a unit that were held back with it would answer
late. Over its socket come jobs and go results, each a line of JSON and as many bytes as it says:

    {"job": 7, "bytes": n, "frames": 240, "result": [width, height, fps, rate_bps]}
    {"job": 7, "bytes": n, "cpu_s": 0.4, "frames": 240, "error": ""}

Each job is begun at once: how many there may be at a time is for the unit to say.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from typing import Any

from emulation.node.transcoding import ffmpeg
from model.clips import Picture

NICENESS = 10
"""Above that of everything else of a run: what must be in time goes before what takes time."""
_CHUNK = 1 << 20
_MOST_LINE_BYTES = 4096


def serve(handle: socket.socket) -> int:
    """Be a worker until the unit closes the socket; returns the exit status."""
    handle.setblocking(True)
    with contextlib.suppress(OSError):  # it is nicer already
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    answering = threading.Lock()
    with handle.makefile("rb", _CHUNK) as jobs:
        while line := jobs.readline(_MOST_LINE_BYTES):
            job = json.loads(line)
            data = jobs.read(int(job["bytes"]))
            threading.Thread(target=_work, args=(handle, answering, job, data), daemon=True).start()
    return 0


def _work(
    handle: socket.socket, answering: threading.Lock, job: dict[str, Any], data: bytes
) -> None:
    answer, result = transcoded(job, data)
    with answering, contextlib.suppress(ConnectionError):
        handle.sendall(json.dumps(answer).encode() + b"\n" + result)


def transcoded(job: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """A job's answer and the bytes that follow it; a job that fails is an answer, too."""
    answer: dict[str, Any] = {"job": job["job"], "bytes": 0, "cpu_s": 0.0, "frames": 0}
    wanted = Picture(*job["result"])
    try:
        ran = ffmpeg.transcode(data, wanted)
        answer["cpu_s"] = ran.cpu_s
        found = ffmpeg.probe(ran.output)
        answer["frames"] = found.frames
        ffmpeg.check(found, wanted, int(job["frames"]))
    except ffmpeg.FFmpegError as error:
        return {**answer, "error": str(error)}, b""
    except (OSError, ValueError, KeyError) as error:
        return {**answer, "error": f"{type(error).__name__}: {error}"[:300]}, b""
    return {**answer, "error": "", "bytes": len(ran.output)}, ran.output

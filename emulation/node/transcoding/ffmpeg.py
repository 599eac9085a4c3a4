"""FFmpeg: what is typed, what it says when it fails, and whether its output is what was asked for.

Input and output are files in memory, so that nothing is written to a disk and FFmpeg waits for no
pipe. It is run on one thread: what a unit may use is given by its share of the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulation.protocol.frames import MAX_RESULT_BYTES
from model.clips import Picture
from model.errors import RunError

PATH = "/usr/local/bin:/usr/bin:/bin"
_LONGEST_CPU_S = 120
"""FFmpeg ends itself after so much CPU time: no clip may hold a worker for ever."""
_AS_CLIP = ("-f", "mpegts", "-format_whitelist", "mpegts", "-codec_whitelist", "h264",
            "-protocol_whitelist", "pipe", "-i", "pipe:0")  # fmt: skip
"""Input is what clips are, and nothing else is tried: a playlist would name further files."""
_LIMITS = {
    resource.RLIMIT_CPU: _LONGEST_CPU_S,
    resource.RLIMIT_DATA: 1 << 30,
    resource.RLIMIT_FSIZE: MAX_RESULT_BYTES,
    resource.RLIMIT_CORE: 0,
}
"""Of a program that reads a clip: CPU time, s; memory written to and each file, bytes."""
_QUIET = ("-hide_banner", "-nostdin", "-loglevel", "error")
_CODER = ("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1")
FRAME_TOLERANCE = 1
"""Frames by which a result may differ from length · rate. A change of the frame rate rounds time
stamps to the nearest frame of the new rate, so at either end half a frame may be won or lost."""


class FFmpegError(RunError):
    """FFmpeg or its output is not as it should be; one line."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A program that has ended by itself: what it wrote and the CPU time that it took, s."""

    output: bytes
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Probed:
    """What ffprobe finds in a file."""

    width: int
    height: int
    fps: float
    frames: int


def coding(picture: Picture, rate_bps: int | None = None) -> list[str]:
    """Arguments that code video of a size, frame rate and bit rate as a transport stream."""
    rate = str(picture.rate_bps if rate_bps is None else rate_bps)
    limits = ["-b:v", rate, "-maxrate", rate, "-bufsize", rate]
    group = ["-g", str(2 * picture.fps)]
    return [*_CODER, *limits, *group, "-pix_fmt", "yuv420p", "-an", "-f", "mpegts", "pipe:1"]


def transcode(data: bytes | bytearray | memoryview, result: Picture) -> Ran:
    """A clip in another representation. Raises ``FFmpegError`` with FFmpeg's words."""
    scale = f"scale={result.width}:{result.height}:flags=fast_bilinear,fps={result.fps}"
    command = ["ffmpeg", *_QUIET, "-xerror", "-timelimit", str(_LONGEST_CPU_S)]
    command += ["-threads", "1", *_AS_CLIP, "-filter_threads", "1", "-vf", scale]
    return run([*command, *coding(result)], data, _LIMITS)


def generate(source: Picture, frames: int, rate_bps: int) -> bytes:
    """A clip of a moving test picture with noise, which costs bits as a camera's does."""
    scene = f"testsrc2=size={source.width}x{source.height}:rate={source.fps}"
    command = ["ffmpeg", *_QUIET, "-f", "lavfi", "-i", scene, "-frames:v", str(frames)]
    command += ["-vf", "noise=alls=12:allf=t"]
    return run([*command, *coding(source, rate_bps)], b"").output


def probe(data: bytes | bytearray | memoryview) -> Probed:
    """Size, frame rate and number of frames of a video. Raises ``FFmpegError`` if it is none."""
    wanted = "stream=width,height,avg_frame_rate,r_frame_rate,nb_read_packets"
    command = ["ffprobe", "-hide_banner", "-loglevel", "error", "-select_streams", "v:0"]
    command += ["-count_packets", "-show_entries", wanted, "-of", "json", *_AS_CLIP]
    streams = json.loads(run(command, data, _LIMITS).output).get("streams", [])
    if not streams:
        raise FFmpegError("ffprobe: no video in it")
    found: dict[str, Any] = streams[0]
    return Probed(
        int(found["width"]),
        int(found["height"]),
        _ratio(found["r_frame_rate"]),
        int(found["nb_read_packets"]),
    )


def check(found: Probed, result: Picture, frames: int) -> None:
    """Raise ``FFmpegError`` unless a result has the size, frame rate and length asked for."""
    if (found.width, found.height) != (result.width, result.height):
        raise FFmpegError(
            f"result of {found.width}×{found.height}, not {result.width}×{result.height}"
        )
    if found.fps != result.fps:
        raise FFmpegError(f"result of {found.fps:g} frames/s, not {result.fps}")
    if abs(found.frames - frames) > FRAME_TOLERANCE:
        raise FFmpegError(f"result of {found.frames} frames, not {frames}")


def version() -> str:
    """``5.1.9-0+deb12u1``, as FFmpeg says it. Raises ``FFmpegError`` where there is none."""
    first = run(["ffmpeg", "-version"], b"").output.decode(errors="replace").split("\n")[0]
    return first.removeprefix("ffmpeg version ").split(" ")[0]


def run(
    command: Sequence[str],
    data: bytes | bytearray | memoryview,
    limits: Mapping[int, int] | None = None,
) -> Ran:
    """Run a program on data, within limits of ``resource``, as far as this process has them.

    Raises ``FFmpegError`` with the program's words if it fails or is missing.
    """
    inputs, output, errors = (os.memfd_create(name) for name in ("in", "out", "err"))
    try:
        _fill(inputs, data)
        try:
            child = subprocess.Popen(
                list(command),
                stdin=inputs,
                stdout=output,
                stderr=errors,
                env={**os.environ, "PATH": PATH},  # the rest marks it as its run's
            )
        except OSError as error:
            raise FFmpegError(f"{command[0]}: {error.strerror}") from error
        _limit(child.pid, limits or {})
        # Waited for in this way, the kernel tells what it has cost.
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise FFmpegError(_words(command[0], child.returncode, _content(errors)))
        return Ran(_content(output), usage.ru_utime + usage.ru_stime)
    finally:
        for handle in (inputs, output, errors):
            os.close(handle)


def _limit(pid: int, limits: Mapping[int, int]) -> None:
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(hard, most)
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(pid, kind, (value, value))


def _fill(handle: int, data: bytes | bytearray | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]
    os.lseek(handle, 0, os.SEEK_SET)


def _content(handle: int) -> bytes:
    size = os.fstat(handle).st_size
    return os.pread(handle, size, 0)


def _words(program: str, status: int, errors: bytes) -> str:
    """The last thing that a program said, in one line."""
    lines = [line.strip() for line in errors.decode(errors="replace").splitlines()]
    said = [line for line in lines if line]
    why = f"signal {-status}" if status < 0 else f"status {status}"
    return f"{program}: {said[-1][:200] if said else why}"


def _ratio(text: str) -> float:
    above, _, below = str(text).partition("/")
    return float(above) / float(below or 1) if float(below or 1) else 0.0

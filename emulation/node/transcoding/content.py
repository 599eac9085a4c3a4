"""The clips as files: prepared once for a scenario and kept, so that no run waits for them.

A clip is an MPEG transport stream of exactly the size that the catalogue says: stuffing packets,
which every reader skips, fill it up, and the first one carries the clip's index, so that a unit
knows from the bytes alone what is to become of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from emulation.node.transcoding import ffmpeg
from model.clips import PACKET_BYTES, Clip, catalogue, picture
from model.errors import UserError
from model.scenario import ClipsSpec

CACHE = Path("/var/cache/crowd-edge-lab/clips")
_STUFFING = b"\x47\x1f\xff\x10"
"""Header of a packet of stuffing: sync byte, PID 0x1FFF, payload only."""
_LABEL = struct.Struct("!4sH")
_MARK = b"CLIP"
_RECIPE = 1
"""To be raised when clips are made differently, so that old ones are not used."""
_SHARES = (0.9, 0.75, 0.6, 0.45)
"""Of the rate that is asked of the coder, one after the other until the file is small enough."""

Progress = Callable[[str], None]


def clip_path(folder: Path, index: int) -> Path:
    """The file of a clip."""
    return folder / f"{index:04d}.ts"


def content_folder(spec: ClipsSpec, cache: Path = CACHE) -> Path:
    """Where the clips of a catalogue are kept: named after all that they depend on."""
    # The work that a clip is reckoned with changes none of its bytes.
    costs = {"start_ghz_s", "ghz"}
    text = spec.model_dump_json(exclude={"representations": {"__all__": costs}})
    told = f"{_RECIPE} {ffmpeg.version()} {text}"
    return cache / hashlib.sha256(told.encode()).hexdigest()[:16]


def prepare(spec: ClipsSpec, progress: Progress, cache: Path = CACHE) -> Path:
    """The folder with all clips, made where it is not there yet.

    Raises ``UserError`` if the clips cannot be made or kept.
    """
    try:
        folder = content_folder(spec, cache)
        if folder.is_dir():
            return folder
        cache.mkdir(parents=True, exist_ok=True)
        # Made elsewhere and moved: what was interrupted leaves nothing that looks complete.
        unfinished = Path(tempfile.mkdtemp(prefix=".making-", dir=cache))
        try:
            clips = catalogue(spec)
            for clip in clips:
                progress(f"preparing clips, {clip.index + 1} of {len(clips)}")
                clip_path(unfinished, clip.index).write_bytes(make(spec, clip))
            for path in (unfinished, *unfinished.iterdir()):
                path.chmod(0o755 if path.is_dir() else 0o644)
            if not folder.is_dir():  # another run may have been as quick
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise UserError(f"{cache}: clips cannot be kept there: {error.strerror}") from error
    except ffmpeg.FFmpegError as error:
        raise UserError(f"clips cannot be prepared: {error}") from error
    return folder


def make(spec: ClipsSpec, clip: Clip) -> bytes:
    """A clip's bytes. Raises ``FFmpegError`` if its size cannot be met."""
    source = picture(spec, clip.source)
    for share in _SHARES:
        made = ffmpeg.generate(source, clip.frames, round(share * source.rate_bps))
        room = clip.data_bytes - len(made) - PACKET_BYTES
        if room >= 0:
            filling = _STUFFING.ljust(PACKET_BYTES, b"\xff")
            return label(clip.index) + made + filling * (room // PACKET_BYTES)
    raise ffmpeg.FFmpegError(
        f"a clip of {clip.source} does not fit into {clip.data_bytes} bytes; raise its rate_mbps"
    )


def label(index: int) -> bytes:
    """The first packet of a clip."""
    return (_STUFFING + _LABEL.pack(_MARK, index)).ljust(PACKET_BYTES, b"\xff")


def index_of(data: bytes | bytearray | memoryview) -> int:
    """Which clip it is that these bytes begin. Raises ``ValueError`` if they begin none."""
    head = bytes(data[: len(_STUFFING) + _LABEL.size])
    if len(head) < len(_STUFFING) + _LABEL.size or not head.startswith(_STUFFING):
        raise ValueError("not a clip")
    mark, index = _LABEL.unpack(head[len(_STUFFING) :])
    if mark != _MARK:
        raise ValueError("not a clip")
    return int(index)


def digests(folder: str | os.PathLike[str], count: int) -> tuple[str, ...]:
    """SHA-256 of each clip of a catalogue of so many, in hexadecimal. Raises ``OSError``."""
    return tuple(hashlib.sha256(load(folder, k)).hexdigest() for k in range(count))


def load(folder: str | os.PathLike[str], index: int) -> bytes:
    """The bytes of a clip. Raises ``OSError``."""
    return clip_path(Path(folder), index).read_bytes()

"""The clips of a scenario: prepared once and kept, so that no run waits for them."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from emulation.node.transcoding import ffmpeg
from emulation.node.transcoding.content import clip_path, label, stuffing
from model.clips import PACKET_BYTES, Clip, catalogue, picture
from model.errors import UserError
from model.scenario import ClipsSpec

CACHE = Path("/var/cache/crowd-edge-lab/clips")
_RECIPE = 1
"""To be raised when clips are made differently, so that old ones are not used."""
_SHARES = (0.9, 0.75, 0.6, 0.45)
"""Of the rate that is asked of the coder, one after the other until the file is small enough."""

Progress = Callable[[str], None]


def content_folder(spec: ClipsSpec, cache: Path = CACHE) -> Path:
    """Where the clips of a catalogue are kept: named after all that they depend on."""
    # The work that a clip is reckoned with changes none of its bytes.
    costs = {"start_ghz_s", "ghz"}
    text = spec.model_dump_json(exclude={"representations": {"__all__": costs}})
    told = f"{_RECIPE} {ffmpeg.version()} {text}"
    return cache / hashlib.sha256(told.encode()).hexdigest()[:16]


def prepare(spec: ClipsSpec, progress: Progress, cache: Path = CACHE) -> Path:
    """The folder with all clips, made where it is not there yet.

    Raises ``UserError`` if the clips cannot be kept, ``FFmpegError`` if they cannot be made.
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
    return folder


def make(spec: ClipsSpec, clip: Clip) -> bytes:
    """A clip's bytes. Raises ``UserError`` if its size cannot be met."""
    source = picture(spec, clip.source)
    for share in _SHARES:
        made = ffmpeg.generate(source, clip.frames, round(share * source.rate_bps))
        room = clip.data_bytes - len(made) - PACKET_BYTES
        if room >= 0:
            return label(clip.index) + made + stuffing(room // PACKET_BYTES)
    raise UserError(
        f"a clip of {clip.source} does not fit into {clip.data_bytes} bytes; raise its rate_mbps"
    )

"""The bytes of a capture: from files, pipes and standard input, compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import sys
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from model.errors import UserError

STDIN = Path("-")
PADDING_BYTES = 256
"""Zeros behind the file's bytes, so that fields of a short last packet can be gathered blindly."""
PCAP_MAGICS = frozenset(
    struct.pack(f"{order}I", number)
    for number in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)
    for order in "<>"
)
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".lz4")
_CHUNK_BYTES = 1 << 20
_DAMAGED = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)


def name_of(path: Path) -> str:
    """The name of a source as messages print it."""
    return "standard input" if path == STDIN else str(path)


def load(path: Path) -> tuple[NDArray[np.uint8], int, str]:
    """Read everything that a file, a pipe or standard input (``-``) gives, uncompressed.

    Returns the bytes and ``PADDING_BYTES`` zeros (uint8), the number of bytes, and a note on a
    damaged compression, or ''. Raises ``UserError`` for what cannot be read, is no capture, or does
    not fit into the memory that is free.
    """
    try:
        data, size = _raw(path)
        compression = compression_of(data[:8].tobytes())
        if compression is None:
            return data, size, ""
        return _unpacked(path, data[:size], compression)
    except MemoryError:
        raise UserError(f"{name_of(path)}: cannot be read: memory is too small for it") from None
    except OSError as error:
        raise UserError(f"{name_of(path)}: cannot be read: {error.strerror or error}") from error


def compression_of(head: bytes) -> str | None:
    """The compression that a file begins with, or None."""
    return next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)


def looks_like_a_capture(path: Path) -> bool:
    """Whether a regular file begins like a capture, compressed or not. Raises ``OSError``."""
    with path.open("rb") as file:
        head = file.read(8)
        compression = compression_of(head)
        if compression is None:
            return is_capture(head)
        file.seek(0)
        try:
            return is_capture(_opened(file, compression).read(4))
        except _DAMAGED:
            return False


def is_capture(head: bytes) -> bool:
    """Whether bytes begin like a pcap or pcapng file."""
    return head[:4] in PCAP_MAGICS or head[:4] == PCAPNG_MAGIC


def _raw(path: Path) -> tuple[NDArray[np.uint8], int]:
    if path == STDIN:
        return _stream(path, sys.stdin.buffer)
    with path.open("rb") as file:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return _stream(path, file)
        _require_memory(path, status.st_size)
        data = np.zeros(status.st_size + PADDING_BYTES, np.uint8)
        # The file may be growing; what it has beyond that size is left for the next reading.
        return data, file.readinto(data[: status.st_size].data)


def _stream(path: Path, file: IO[bytes]) -> tuple[NDArray[np.uint8], int]:
    """Read a pipe until its end; refuse at once what does not begin like a capture."""
    content = bytearray()
    while chunk := file.read1(_CHUNK_BYTES):  # type: ignore[attr-defined]
        content += chunk
        _require_a_capture(path, content, packed=True)
        _require_memory(path, len(content))
    return _padded(content)


def _unpacked(
    path: Path, packed: NDArray[np.uint8], compression: str
) -> tuple[NDArray[np.uint8], int, str]:
    content, note = bytearray(), ""
    try:
        stream = _opened(io.BytesIO(packed.data), compression)
        while chunk := stream.read1(_CHUNK_BYTES):
            content += chunk
            _require_a_capture(path, content, packed=False)
            _require_memory(path, len(content))
    except _DAMAGED as error:
        if not content:
            raise UserError(
                f"{name_of(path)}: its {compression} compression is damaged: {error}"
            ) from error
        note = (
            f"{name_of(path)}: its {compression} compression is damaged or ends early; "
            f"the {len(content)} bytes before that were read"
        )
    return *_padded(content), note


def _opened(file: IO[bytes], compression: str) -> Any:
    """A stream of uncompressed bytes."""
    match compression:
        case "gzip":
            return gzip.GzipFile(fileobj=file)
        case "bzip2":
            return bz2.BZ2File(file)
        case "xz":
            return lzma.LZMAFile(file)
    import pyarrow  # takes a tenth of a second, which only such files should pay for

    return pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), compression)


def _padded(content: bytearray) -> tuple[NDArray[np.uint8], int]:
    size = len(content)
    content += bytes(PADDING_BYTES)
    return np.frombuffer(content, np.uint8), size


def _require_a_capture(path: Path, content: bytearray, *, packed: bool) -> None:
    head = bytes(content[:8])
    if len(head) == 8 and not is_capture(head) and not (packed and compression_of(head)):
        raise UserError(no_capture(path, head))


def no_capture(path: Path, head: bytes) -> str:
    """The sentence on a source that is no capture."""
    return (
        f"{name_of(path)}: is no pcap file and no pcapng file, it begins with {head[:4].hex(' ')}"
    )


def _require_memory(path: Path, size: int) -> None:
    available = psutil.virtual_memory().available
    if size > _CHUNK_BYTES and size > available // 2:
        raise UserError(
            f"{name_of(path)}: more than {size / 1e6:.0f} MB to read, and {available / 1e6:.0f} MB "
            "of memory are free; split it into smaller captures"
        )

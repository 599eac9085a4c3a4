"""Reads ``.npz`` files that nobody vouches for: arrays of float32 and one text, in bounded memory.

``numpy.load`` allocates what an array's header claims and unpacks what an archive's claims; here
both have to agree with the bytes that are there before anything is made of them.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from model.errors import UserError

MOST_BYTES = 16 * 1024 * 1024
"""Of a file, and of what it holds: the actors of the lab have a tenth of a megabyte."""

_FLOATS = np.dtype("<f4")
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class NotReadableError(UserError):
    """A file is no archive of float32 arrays and a text; says why."""


def read(path: Path, text_name: str) -> tuple[str, dict[str, NDArray[np.float32]]]:
    """The text of the given name, and all arrays by theirs. Raises ``NotReadableError``."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise NotReadableError("too large")
        with zipfile.ZipFile(path) as archive:
            entries = _entries(archive)
            text = str(_array(entries.pop(text_name), text=True))
            return text, {name: _array(data, text=False) for name, data in entries.items()}
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise NotReadableError(str(error)) from error
    except KeyError:
        raise NotReadableError(f"it has no entry '{text_name}'") from None
    except zlib.error as error:
        raise NotReadableError("its packed data are damaged") from error


def _entries(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """All files of an archive, each read no further than the size that it claims."""
    members = archive.infolist()
    if sum(m.file_size for m in members) > MOST_BYTES:
        raise NotReadableError("it would unpack to too much")
    found: dict[str, bytes] = {}
    for member in members:
        plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if member.flag_bits & 1 or not plain:
            raise NotReadableError(f"'{member.filename[:40]}' is packed in a way numpy never packs")
        with archive.open(member) as file:
            # With a size, or the unpacker would first unpack all there is.
            found[member.filename.removesuffix(".npy")] = file.read(member.file_size)
    return found


def _array(data: bytes, *, text: bool) -> NDArray[np.float32]:
    file = io.BytesIO(data)
    try:
        shape, by_columns, kind = _HEADERS[npy.read_magic(file)](file)
    except Exception as error:
        # A header is parsed as Python, and may raise whatever Python's parser does.
        raise NotReadableError("an array whose header cannot be read") from error
    fits = kind.kind == "U" and shape == () if text else kind == _FLOATS
    if not fits:
        raise NotReadableError(f"an array of {str(kind)[:40]} where none may be")
    content = memoryview(data)[file.tell() :]
    if any(type(n) is not int for n in shape):
        raise NotReadableError("an array whose shape is not of whole numbers")
    if math.prod(shape) * kind.itemsize != len(content):
        raise NotReadableError("an array whose size is not the one it claims")
    array = np.frombuffer(content, kind) if content else np.zeros(0, kind)
    return array.reshape(shape, order="F" if by_columns else "C").copy()

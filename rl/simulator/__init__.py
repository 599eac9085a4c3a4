"""The simulator: the second world, slotted for agents and continuous in time between slots.

Numba keeps compiled functions and looks for changes in the file of each alone, but what one file
inlines of another is compiled into it, too. So each version of the sources has a folder of its own.
It lies in the folder that ``NUMBA_CACHE_DIR`` names, else in the user's cache, else where temporary
files go; where nothing can be written, code is compiled for each process.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from pathlib import Path

from records.user_folders import cache_folder, is_temporary

_HERE = Path(__file__).resolve().parent
_SOURCES = (
    *sorted(_HERE.glob("*.py")),
    *(p for p in sorted(_HERE.parent.glob("learning/*.py")) if b"from numba" in p.read_bytes()),
)
_VARIABLE = "NUMBA_CACHE_DIR"


_ANNOUNCED = "LAB_COMPILING_ANNOUNCED"
"""Set in the environment, so that child processes do not say again what their parent has said."""

_logger = logging.getLogger(__name__)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _cache_folder() -> tuple[Path | None, str]:
    """Return the folder of these sources' compiled code, and what the user should know about it."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]
    note = ""
    if named := os.environ.get(_VARIABLE):
        folder = Path(named).absolute()
        folder = folder if folder.name == digest else folder / digest
        if _is_writable(folder):
            return folder, ""
        note = f"note: {_VARIABLE}={named}: this folder cannot be written; "
    found = cache_folder()
    if found is None:
        note = note or "note: no folder for compiled code can be written; "
        return None, f"{note}each process compiles the simulator again ({_VARIABLE} names a folder)"
    if is_temporary(found):
        note = note or "note: this user has no cache folder that can be written; "
    folder = found / "numba" / digest
    kept = f"compiled code is kept in {folder.parent} ({_VARIABLE} names another)"
    return folder, note and note + kept


def _use_cache() -> tuple[Path | None, str]:
    folder, note = _cache_folder()
    if folder is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = str(folder)  # for numba's import, and for child processes
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder or "")
    return folder, note


_FOLDER, _NOTE = _use_cache()
CACHED = _FOLDER is not None
"""Whether compiled functions are kept: numba's option ``cache``."""


def announce_compiling() -> None:
    """Log, once for a process and its children, that the first simulation is compiled now.

    Without a handler for logs, Python prints this on standard error.
    """
    if os.environ.get(_ANNOUNCED):
        return
    os.environ[_ANNOUNCED] = "1"
    if _NOTE:
        _logger.warning(_NOTE)
    if _FOLDER is None or next(_FOLDER.glob("**/kernel.*.nbi"), None) is None:
        _logger.warning("compiling the simulator (once); this takes up to a minute or two")

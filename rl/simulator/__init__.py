"""The simulator: the second world, slotted for agents and continuous in time between slots.

Numba keeps compiled functions and looks for changes in the file of each alone, but what one file
inlines of another is compiled into it, too. So each version of the sources has a folder of its own.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_SOURCES = (
    *sorted(_HERE.glob("*.py")),
    *(p for p in sorted(_HERE.parent.glob("learning/*.py")) if b"from numba" in p.read_bytes()),
)
_VARIABLE = "NUMBA_CACHE_DIR"


def _cache_folder() -> Path:
    """Below what the user says; else in the environment if it is the user's own, or their cache."""
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]
    said = os.environ.get(_VARIABLE)
    if said:
        folder = Path(said)
        return folder if folder.name == digest else folder / digest
    environment = Path(sys.prefix)
    if environment.stat().st_uid == os.geteuid():
        return environment / "cache" / "numba" / digest
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "crowd-edge-lab" / "numba" / digest


def _use_cache() -> None:
    folder = str(_cache_folder())
    os.environ[_VARIABLE] = folder  # for numba when it is imported, and for child processes
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = folder


_use_cache()

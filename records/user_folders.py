"""Folders of the user, after the XDG base directory specification; never the checkout.

Data is what a user would miss (fidelity cards, tuned parameters): it belongs to the user behind
``sudo``. A cache holds what can be made again: it belongs to whom this process runs as, since
libraries write it, and some of them execute what they find in it.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from model.errors import UserError
from records.ownership import user_behind_sudo

NAME = "crowd-edge-lab"


def data_folder() -> Path:
    """Return the folder of the user's data; it need not exist yet.

    It is ``LAB_STATE``, else ``XDG_DATA_HOME/crowd-edge-lab``, else below the home folder. Raises
    ``UserError`` for a user without a home folder.
    """
    if named := os.environ.get("LAB_STATE"):
        return Path(named)
    if folder := _absolute("XDG_DATA_HOME"):
        return folder / NAME
    home = _home_behind_sudo() or _own_home()
    if home is None:
        raise UserError(
            "this user has no home folder to keep data in; name a folder: LAB_STATE=/folder"
        )
    return home / ".local/share" / NAME


def cache_folder() -> Path | None:
    """Return a folder that this user alone can write, made if need be, or None where there is none.

    It is in the Python environment if that is the user's own, else in ``XDG_CACHE_HOME`` or the
    home folder, else where temporary files go.
    """
    return next((folder for folder in _caches() if is_private(folder)), None)


def is_temporary(folder: Path) -> bool:
    """Return whether ``cache_folder`` took this folder for want of a better one."""
    return folder == _temporary()


def is_private(folder: Path) -> bool:
    """Make a folder if it is missing; return whether it is this user's and can be written."""
    uid = os.geteuid()
    try:
        above = next(p for p in (folder, *folder.parents) if p.exists())
        if uid == 0 and above.stat().st_uid != 0:
            return False  # Root's files in a user's folder could not be deleted by that user.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        foreign = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or foreign:
            return False
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _caches() -> Iterator[Path]:
    if sys.prefix != sys.base_prefix:
        yield Path(sys.prefix) / "cache"
    if folder := _absolute("XDG_CACHE_HOME"):
        yield folder / NAME
    for home in (_own_home(), _home_of(os.geteuid())):
        if home is not None:
            yield home / ".cache" / NAME
    if temporary := _temporary():
        yield temporary


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir()) / f"{NAME}-{os.geteuid()}"
    except OSError:
        return None


def _absolute(variable: str) -> Path | None:
    # The specification has relative paths ignored.
    folder = Path(os.environ.get(variable, ""))
    return folder if folder.is_absolute() else None


def _own_home() -> Path | None:
    return _absolute("HOME") or _home_of(os.getuid())


def _home_behind_sudo() -> Path | None:
    user = user_behind_sudo()
    return _home_of(user[0]) if user else None


def _home_of(uid: int) -> Path | None:
    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return None

"""Files that root writes on behalf of a user belong to that user."""

from __future__ import annotations

import os
from pathlib import Path


def user_behind_sudo() -> tuple[int, int] | None:
    """Return uid and gid of the user who called ``sudo``; None without it."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not uid.isdecimal() or not gid.isdecimal():
        return None
    return int(uid), int(gid)


def give_to_user(path: Path) -> None:
    """Make the user behind ``sudo`` the owner of a file or folder; nothing without ``sudo``.

    Symbolic links are given themselves, not what they point to.
    """
    user = user_behind_sudo()
    if user is not None:
        os.chown(path, *user, follow_symlinks=False)


def give_tree_to_user(folder: Path) -> None:
    """``give_to_user`` for a folder and everything in it."""
    if user_behind_sudo() is None:
        return
    give_to_user(folder)
    for path in folder.rglob("*"):
        give_to_user(path)


def make_folder(path: Path) -> Path:
    """Create a folder and its missing parents, all of them the user's. Raises ``OSError``."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        give_to_user(folder)
    return path

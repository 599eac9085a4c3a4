"""Judged runs: a seed that is drawn after the policy was handed in, and published after the end.

The author of a policy could otherwise compute the tasks and F(t) of all units beforehand, from
scenario and seed. So a judged run first takes the hashes of the policy's files, then draws 128
bits, and keeps them in the memory of the orchestrator. Until its end the result folder
is root's alone.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulation.sandbox.namespaces import try_walls
from emulation.sandbox.policy_files import policy_file, user_folder
from emulation.sandbox.policy_sources import modules
from model.errors import UserError

_SEED_BITS = 128
_PIECE_BYTES = 1 << 20


def draw_seed() -> int:
    """A seed that is not to be guessed."""
    return secrets.randbits(_SEED_BITS)


def require_walls() -> None:
    """Raise ``UserError`` if this machine lacks a wall around policies, and say which and why."""
    missing = try_walls()
    if missing:
        what = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise UserError(f"--judged: this machine lacks walls around policies: {what}")


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What decides in a judged run, as it was before the seed was drawn.

    Attributes:
        files: path → SHA-256 of the policy's file and of those that its parameters name.
        folder_sha256: of all Python files in the policy's folder that it may import; '' for ours.
    """

    files: dict[str, str]
    folder_sha256: str

    @classmethod
    def of(cls, policy: str, params: Mapping[str, Any]) -> HandedIn:
        """Take the hashes. Raises ``UserError`` for a file that cannot be read."""
        folder = user_folder()
        own = policy_file(policy, folder)
        named = [Path(v) for v in params.values() if isinstance(v, str) and _is_file(v)]
        try:
            files = {str(p): _sha256(p) for p in (*([own] if own else []), *named)}
            beside = _of_folder(folder) if own and folder else ""
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be read: {error.strerror}") from error
        return cls(files, beside)

    def require_same(self, policy: str, params: Mapping[str, Any]) -> None:
        """Raise ``UserError`` if a file is not as it was handed in: it could know the seed."""
        now = HandedIn.of(policy, params)
        if now != self:
            changed = [path for path, value in self.files.items() if now.files.get(path) != value]
            what = changed[0] if changed else "a Python file in the policy's folder"
            raise UserError(f"--judged: {what} was changed after the policy had been handed in")

    def to_dict(self) -> dict[str, object]:
        """For the manifest."""
        return {"sha256": self.files, "folder_sha256": self.folder_sha256}


def policy_hashes(policy: str, params: Mapping[str, Any]) -> dict[str, object]:
    """Return what any run's manifest says of its policy's files; {} where one cannot be read.

    A policy may do without a file beside it that this user cannot read.
    """
    try:
        return HandedIn.of(policy, params).to_dict()
    except UserError:
        return {}


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_absolute() and Path(value).is_file()
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            found.update(piece)
    return found.hexdigest()


def _of_folder(folder: Path) -> str:
    lines = (f"{path.relative_to(folder)} {_sha256(path)}\n" for path in _readable(folder))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _readable(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(set(modules(folder))) if path.is_file())

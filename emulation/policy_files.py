"""The file of a user's own policy: found and checked without running any of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from emulation.messages import NodeConfig
from model.errors import UserError


def look_here_too() -> None:
    """Let modules be found in the current folder; last, so that no file there hides a library."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def policy_file(name: str) -> Path | None:
    """Where the module of ``package.module:Class`` lies, found without running any of it."""
    module, colon, _ = name.partition(":")
    if not colon or module in sys.modules:
        return None
    relative = Path(*module.split("."))
    for folder in sys.path:
        for candidate in (relative.with_suffix(".py"), relative / "__init__.py"):
            path = Path(folder or ".").resolve() / candidate
            if path.is_file():
                return path
    return None


def require_readable(path: Path | None, config: NodeConfig) -> None:
    """Raise ``UserError`` if this process, unprivileged by now, cannot read a policy's file."""
    if path is not None and not os.access(path, os.R_OK):
        raise UserError(
            f"policy '{config.policy}': {path} cannot be read by uid {config.uid}, as which nodes "
            "run; put it where every user may read it"
        )

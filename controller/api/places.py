"""Where a run's API is found: two files in a directory that only root can enter."""

from __future__ import annotations

from pathlib import Path


def socket_path(directory: Path) -> Path:
    """The Unix socket on which the API of the run in ``directory`` listens."""
    return directory / "api.sock"


def token_path(directory: Path) -> Path:
    """The file, readable by its owner only, with the token that every request must bear."""
    return directory / "api.token"

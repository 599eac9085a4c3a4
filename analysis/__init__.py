"""What is read from result folders: tables, figures, reports."""

from __future__ import annotations

import os

from records.user_folders import cache_folder


def _keep_fonts() -> None:
    """Give matplotlib a folder for its list of fonts that can be written, before its import."""
    folder = cache_folder()
    if folder is not None:
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))


_keep_fonts()

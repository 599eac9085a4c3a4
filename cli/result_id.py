"""Result folders as arguments: a path, or the id that `./lab results` shows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

_ID = re.compile(r"[0-9a-f]{4,8}")
_ROOT = Path("results")


class ResultFolder(click.Path):
    """A folder; where there is none of that name, the result below results/ of that id."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the folder's path. Raises ``click.BadParameter`` where there is none, or two."""
        text = str(value)
        if _ID.fullmatch(text) and not Path(text).exists():
            found = _with_id(text)
            if len(found) > 1:
                self.fail(f"'{text}' is the id of {len(found)} results: name a folder.", param, ctx)
            value = found[0] if found else value
        return super().convert(value, param, ctx)


def _with_id(text: str) -> list[Path]:
    """Return the result folders below results/ whose run id begins so: it ends their names."""
    found = []
    for name, inner, files in os.walk(_ROOT):
        if "manifest.json" in files:
            inner.clear()
            if Path(name).name.rpartition("-")[2].startswith(text):
                found.append(Path(name))
    return found

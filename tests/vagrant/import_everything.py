"""Import every module of the project, its checks included, as ``./lab python`` runs this file."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent

if __name__ == "__main__":
    found = [one.name for one in pkgutil.walk_packages([str(PROJECT)])]
    # ``__main__`` is the one name that does something when it is imported.
    for name in found:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    sys.stdout.write(f"{len(found)} modules imported\n")

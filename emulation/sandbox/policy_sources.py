"""The Python sources of a user's folder: read before root is given up, run only by a guest.

A guest sees no folder of a user's, and may not be able to read it. So the text is read first, by a
process that runs none of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

_MOST_SOURCES, _MOST_SOURCE_BYTES, _DEEPEST = 500, 1 << 22, 8


class Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds modules among sources that were read; to be asked last, after every library."""

    def __init__(self, folder: Path, policy: str = ""):
        """Read the modules of ``folder``, of its packages, and of the folders above ``policy``.

        ``policy``: as in ``"package.module:Class"``; its folders need no ``__init__.py``.
        """
        self._found: dict[str, tuple[Path, bytes]] = {}
        self._folders: set[str] = set()
        *above, _ = policy.partition(":")[0].split(".")
        for depth in range(len(above)):
            self._folders.add(".".join(above[: depth + 1]))
            self._read(folder, folder.joinpath(*above[: depth + 1]).glob("*.py"))
        self._read(folder, modules(folder))

    def _read(self, folder: Path, paths: Iterator[Path]) -> None:
        for path in paths:
            if len(self._found) >= _MOST_SOURCES:
                return
            name = ".".join(path.relative_to(folder).with_suffix("").parts)
            with suppress(OSError):
                if (
                    path.resolve().is_relative_to(folder.resolve())
                    and path.stat().st_size < _MOST_SOURCE_BYTES
                ):
                    self._found[name.removesuffix(".__init__")] = path, path.read_bytes()

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of that name, if the folder has it."""
        if name in self._found:
            origin = str(self._found[name][0])
            return importlib.util.spec_from_loader(name, self, origin=origin)
        if name in self._folders:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = []
            return spec
        return None

    def get_source(self, name: str) -> str:
        """Its text."""
        return importlib.util.decode_source(self._found[name][1])

    def get_code(self, name: str) -> CodeType:
        """Its code, which knows its file: tracebacks name it."""
        path, text = self._found[name]
        return self.source_to_code(text, str(path))

    def is_package(self, name: str) -> bool:
        """Whether it is a folder."""
        return self._found[name][0].name == "__init__.py"

    def exec_module(self, module: ModuleType) -> None:
        """Run it, which only a guest does."""
        if os.geteuid() == 0:
            raise PermissionError("root runs nothing from a user's folder")
        module.__file__ = str(self._found[module.__name__][0])
        super().exec_module(module)


def modules(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Python files of a folder and, where they are packages, of the folders in it."""
    with suppress(OSError):
        yield from sorted(folder.glob("*.py"))
        if depth < _DEEPEST:
            for package in sorted(folder.glob("*/__init__.py")):
                yield from modules(package.parent, depth + 1)

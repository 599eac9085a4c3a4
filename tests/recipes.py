"""Code of the how-to pages: a lab in which one of their recipes has been followed, for one test.

A page's files go to a folder of the test, which becomes a part of the package that they belong to;
its line goes into the registry. The test's monkeypatch takes both back.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

REGISTRIES = {
    "verb.md": "cli.main:VERBS:Look",
    "figure.md": "analysis.figures:FIGURES",
    "learner.md": "rl.policies.learned:LEARNERS",
    "fault.md": "experiments.chaos.fault:MODULES",
}
"""Page → ``module:NAME`` of the registry that it adds a line to, with the key of a table in it."""
_BUILT_FROM = {"figure.md": ("cli.figure",)}
"""Modules that read a registry when they are imported."""


def text_of(page: str) -> str:
    """Return the text of a page below ``docs/howto``."""
    return (ROOT / "docs" / "howto" / page).read_text("utf-8")


def write_files(page: str, folder: Path) -> list[Path]:
    """Write the blocks of a page that begin with a comment with a path; return the files."""
    paths = []
    for content, name in re.findall(r"```\w+\n(# (\S+\.\w+)\n.*?)```", text_of(page), re.DOTALL):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths


def line_of(page: str) -> Any:
    """Return what the one line of a page adds to its registry: a dictionary, or the whole tuple."""
    (line,) = re.findall(r"```python\n((?: *\"|[A-Z]+ = )[^\n]*)\n```", text_of(page))
    name, equals, value = line.partition(" = ")
    return ast.literal_eval(value if equals else f"{{{name.strip()}}}")


def forget_module(name: str, patch: pytest.MonkeyPatch) -> None:
    """Let a module be imported anew, and not be there any more when the patch is undone."""
    patch.setitem(sys.modules, name, ModuleType(name))
    patch.delitem(sys.modules, name)


def extend_package(name: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the modules of a folder modules of a package, until the patch is undone."""
    package = importlib.import_module(name)
    patch.setattr(package, "__path__", [*package.__path__, str(folder)])
    for path in folder.glob("*.py"):
        forget_module(f"{name}.{path.stem}", patch)
        patch.setattr(package, path.stem, None, raising=False)
    importlib.invalidate_caches()


def register(page: str, patch: pytest.MonkeyPatch) -> None:
    """Add the line of a page to its registry, until the patch is undone."""
    module_name, name, *keys = REGISTRIES[page].split(":")
    module, added = importlib.import_module(module_name), line_of(page)
    registry = getattr(module, name)
    if isinstance(registry, tuple):
        assert added[: len(registry)] == registry, f"{page}: the line is not {name} with one more"
        patch.setattr(module, name, added)
    else:
        for key in keys:
            registry = registry[key]
        for key, value in added.items():
            assert key not in registry, f"{page}: {key} is there already"
            patch.setitem(registry, key, value)
    for built in _BUILT_FROM.get(page, ()):
        patch.delitem(sys.modules, built, raising=False)


def follow(page: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Do what a page says: its module in its package, its line in the registry."""
    path = write_files(page, folder)[0]
    if package := ".".join(path.relative_to(folder).parent.parts):
        extend_package(package, path.parent, patch)
    register(page, patch)

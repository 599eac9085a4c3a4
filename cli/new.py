"""Begin something of one's own: a policy."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path

import click

from model.errors import UserError, as_user_error
from records.ownership import give_to_user
from records.streams import one_line, say

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
_MODULE, _CLASS = "my_policy", "MyPolicy"
"""What the example is called, which is what a new policy begins as."""


@click.group()
def new() -> None:
    """Begin something of one's own: files that work, to be changed."""


@new.command()
@click.argument("name", metavar="NAME")
def policy(name: str) -> None:
    """Write NAME.py, a policy that works, and test_NAME.py beside it, into this folder.

    NAME is that of a Python module: small letters, digits, underscores. Nothing is overwritten.
    The policy needs no registration: from this folder, every verb knows it as NAME:Class.
    """
    cls = class_of(name)
    files = {Path(f"{k}{name}.py"): EXAMPLES / f"{k}{_MODULE}.py" for k in ("", "test_")}
    for path in files:
        if path.exists():
            raise UserError(f"{path} is there already, and is left as it is")
    for path, example in files.items():
        write_new(path, example.read_text("utf-8").replace(_MODULE, name).replace(_CLASS, cls))
    say(f"written: {' '.join(map(one_line, files))}; try:")
    for command in (
        f"run mini --policy {name}:{cls} --world simulator",
        f"contest mini --policies {name}:{cls},own-edge,self-biased --episodes 4",
        f"python -m pytest test_{name}.py",
    ):
        say(f"  ./lab {command}")


def class_of(name: str) -> str:
    """``my_policy`` → ``MyPolicy``. Raises ``UserError`` for what cannot name a new module."""
    if not _can_name_a_module(name):
        close = re.sub(r"\W+|(?<=[a-z0-9])(?=[A-Z])", "_", name).strip("_").lower()
        hint = f"; did you mean '{close}'?" if _can_name_a_module(close) else ""
        raise UserError(
            f"'{name}' cannot name a policy's file, which takes small letters, digits and "
            f"underscores, and no word of Python{hint}"
        )
    if _is_taken(name):
        raise UserError(f"'{name}' is the name of a Python module already; take another")
    return "".join(part.capitalize() for part in name.split("_"))


def _can_name_a_module(name: str) -> bool:
    return bool(re.fullmatch(r"[a-z][a-z0-9_]*", name)) and not keyword.iskeyword(name)


def _is_taken(name: str) -> bool:
    found = importlib.util.find_spec(name)
    # A namespace package is but a folder; one's own file is told of when it would be overwritten.
    if found is None or found.origin is None:
        return False
    return name in sys.stdlib_module_names or Path(found.origin).parent != Path.cwd()


def write_new(path: Path, text: str) -> None:
    """Write a file, which is the user's. Raises ``UserError`` if it cannot be written."""
    with as_user_error(f"{path}: cannot be written"), path.open("x", encoding="utf-8") as file:
        file.write(text)
    give_to_user(path)

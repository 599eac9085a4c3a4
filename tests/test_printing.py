"""All printing goes through two modules, in which text of others is text and no markup."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    "model",
    "controller",
    "emulation",
    "rl",
    "experiments",
    "analysis",
    "records",
    "benchmarks",
    "metrics",
    "cli",
)
THE_ROOM = {"records/console.py", "records/streams.py"}
OTHERWISE = {
    "rich.console.Console": "records.console.Screen",
    "rich.console.print": "records.console.Screen",
    "rich.progress.TextColumn": "records.console.words",
    "rich.text.Text.from_markup": "records.console.styled",
    "rich.print": "records.streams.say",
    "rich.markup.escape": "records.console.Screen, which knows no markup",
    "click.echo": "records.streams.say",
    "click.secho": "records.console.styled",
    "click.style": "records.console.styled",
    "print": "records.streams.say",
}
NEEDS_SCREEN = {"rich.progress.Progress", "rich.live.Live", "rich.status.Status"}
"""Without ``console=`` these take rich's own, in which strings are markup."""


def names_of(tree: ast.Module) -> dict[str, str]:
    """What names that are imported stand for."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                found[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """The full name of what is called."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def faults(source: str) -> Iterator[str]:
    """What prints elsewhere than in the room, by line."""
    tree = ast.parse(source)
    names = names_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in (f"{node.module}.{a.name}" for a in node.names):
                if name in OTHERWISE:
                    yield f"{node.lineno}: {name}: take {OTHERWISE[name]}"
        if isinstance(node, ast.Attribute | ast.Name):
            # Not only where it is called: `partial(click.echo, err=True)` prints as well.
            name = dotted(node, names)
            if name in OTHERWISE and not (name == "print" and _prints_to_a_file(tree, node)):
                yield f"{node.lineno}: {name}: take {OTHERWISE[name]}"
        if (
            isinstance(node, ast.Call)
            and dotted(node.func, names) in NEEDS_SCREEN
            and "console" not in {k.arg for k in node.keywords}
        ):
            yield f"{node.lineno}: give it console=Screen()"


def _prints_to_a_file(tree: ast.Module, name: ast.expr) -> bool:
    calls = (n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.func is name)
    return any(k.arg == "file" for call in calls for k in call.keywords)


@pytest.mark.parametrize("room", ROOMS)
def test_printing_goes_through_the_room(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{fault}"
        for path in sorted((ROOT / room).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in THE_ROOM
        for fault in faults(path.read_text(encoding="utf-8"))
    ]
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "import click\nclick.echo('a')",
        "import click\nsay = partial(click.echo, err=True)",
        "from rich.console import Console as C\nC().print('[bold]a')",
        "import rich.console\nrich.console.Console()",
        "from rich import print",
        "from rich.text import Text\nText.from_markup('a')",
        "from rich.live import Live\nLive('a')",
        "print('a')",
    ],
)
def test_what_prints_elsewhere_is_found(source: str) -> None:
    assert list(faults(source))

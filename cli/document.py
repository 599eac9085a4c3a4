"""docs/reference/options.md, from the commands themselves: ``./lab python -m cli.document``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from cli.main import VERBS, lab

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "options.md"
_HEAD = """\
# Every option

What `./lab VERB --help` says of each verb, on one page; [the verbs](../cli.md) tells what for.
Made by `./lab python -m cli.document`.
"""


def document() -> str:
    """The page, as Markdown."""
    parts = [_HEAD]
    with lab.make_context("./lab", [], resilient_parsing=True) as above:
        for heading, verbs in VERBS.items():
            parts.append(f"## {heading}\n")
            for name in verbs:
                command = lab.get_command(above, name)
                if command is not None:
                    parts += _of(command, above, name)
    return "\n".join(parts)


def _of(command: click.Command, above: click.Context, name: str) -> Iterator[str]:
    """A command's help, then those of the commands below it."""
    # Terminal and environment must not decide what the page says.
    with click.Context(command, info_name=name, parent=above, terminal_width=100) as context:
        yield f"### {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
        if isinstance(command, click.Group):
            for below in command.list_commands(context):
                found = command.get_command(context, below)
                if found is not None:
                    yield from _of(found, context, below)


if __name__ == "__main__":
    PAGE.write_text(document(), encoding="utf-8")

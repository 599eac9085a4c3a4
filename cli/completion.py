"""Print what makes a shell complete verbs, options, scenarios and policies."""

from __future__ import annotations

import re

import click
from click.shell_completion import get_completion_class

from records.streams import say

_CALL = {"zsh": '"${words[1]}"', "fish": "(commandline -opc)[1]"}
"""Who is asked: the command as it was typed. bash does so by itself; `lab` need not be on PATH."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion of ./lab for SHELL, for its start-up file.

    \b
    bash:  eval "$(./lab completion bash)"       in ~/.bashrc, with the path of your checkout
    zsh:   eval "$(./lab completion zsh)"        in ~/.zshrc, after compinit
    fish:  ./lab completion fish | source        in ~/.config/fish/config.fish
    """  # noqa: D301 - click's mark for lines that are kept
    from cli.main import COMPLETE, lab

    made = get_completion_class(shell)
    if made is None:
        raise click.ClickException(f"click has no completion for {shell}")
    source = made(lab, {}, "lab", COMPLETE).source()
    if shell in _CALL:
        # The function asks `lab`, which is found on PATH only; and zsh does not ask if it is not.
        source = re.sub(r"^.*commands\[lab\].*\n", "", source, flags=re.MULTILINE)
        source = re.sub(r"(_complete) lab\b|(COMP_CWORD=\(commandline -t\)) lab\b",
                        lambda m: f"{m[1] or m[2]} {_CALL[shell]}", source)  # fmt: skip
    say(_without_space_after_keys(source, shell))


def _without_space_after_keys(source: str, shell: str) -> str:
    """Return the script so that a ``KEY=`` it offers is followed by a value, not by a space."""
    if shell == "bash":
        line = "            COMPREPLY+=($value)\n"
        return source.replace(line, f"{line}            [[ $value != *= ]] || compopt -o nospace\n")
    if shell == "zsh":
        line = """            if [[ "$descr" == "_" ]]; then\n"""
        keys = """            if [[ "$key" == *= ]]; then
                compadd -U -S '' -V keys -- "$key"\n"""
        return source.replace(line, keys + line.replace("if", "elif"))
    return source

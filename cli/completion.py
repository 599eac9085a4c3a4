"""Print what makes a shell complete verbs, options, scenarios and policies."""

from __future__ import annotations

import re

import click
from click.shell_completion import BashComplete, CompletionItem, get_completion_class

from records.streams import say

_CALL = {"zsh": '"${words[1]}"', "fish": "(commandline -opc)[1]"}
"""Who is asked: the command as it was typed. bash does so by itself; `lab` need not be on PATH."""


class BashWords(BashComplete):
    """Completion for bash, which takes ``KEY=VALUE`` for three words and completes the last."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words as they were typed."""
        args, begun = super().get_completion_args()
        words: list[str] = []
        for word in [*args, begun]:
            if words and "=" in (word, words[-1][-1:]) and len(words) > 1:
                words[-1] += word
            else:
                words.append(word)
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Return a completion for bash: of a value alone, if its key is typed."""
        begun = self.get_completion_args()[1]
        key, equals, _ = begun.partition("=")
        given = item.value.startswith(key + equals) and equals
        return f"{item.type},{item.value.removeprefix(key + equals) if given else item.value}"


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

"""How bash completes: it splits words at ``=``, which ``--set KEY=VALUE`` has."""

from __future__ import annotations

from click.shell_completion import BashComplete, CompletionItem


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

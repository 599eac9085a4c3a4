"""The commands that README.md and docs/ tell to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.name != "options.md"),
]
_TYPED = re.compile(r"(?:\$ )?((?:sudo )?(?:\./lab|python -m|vagrant ssh -c) .*)")
_INLINE = re.compile(r"`((?:sudo )?(?:\./lab|python -m|vagrant ssh -c) [^`]+)`")
_ENDS = {"&&", "||", "|", ";", "&", ">", ">>", "2>"}


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        where: page and line.
        words: as a shell hands them over, ``sudo`` left out.
        whole: it stands in a block, to be copied; in a sentence it may be but a verb's name.
    """

    where: str
    words: tuple[str, ...]
    whole: bool
    sudo: bool

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def commands(page: Path) -> list[Command]:
    """Every command of a page, in order."""
    found: list[Command] = []
    fenced = False
    # A command may go on in the next line.
    text = re.sub(r" *\\\n *", " ", page.read_text("utf-8"))
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{page.relative_to(ROOT)}:{number}"
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            if match := _TYPED.fullmatch(line.strip()):
                found += _split(where, match[1], whole=True)
        else:
            for text in _INLINE.findall(line):
                found += _split(where, text, whole=False)
    return found


def _split(where: str, text: str, *, whole: bool) -> Iterator[Command]:
    words: list[str] = []
    for word in [*shlex.split(text, comments=True), ";"]:
        if word not in _ENDS:
            words.append(word)
            continue
        sudo = words[:1] == ["sudo"]
        words = words[1:] if sudo else words
        if words[:3] == ["vagrant", "ssh", "-c"]:
            yield from _split(where, words[3], whole=whole)
        elif words and (words[0] == "./lab" or words[:2] == ["python", "-m"]):
            yield Command(where, tuple(words), whole, sudo)
        words = []

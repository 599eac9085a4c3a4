"""Text that can be written down, and shown."""

from __future__ import annotations

import re

import numpy as np

_LARGEST = 1e15
_BASE = re.compile(r"0[xX][0-9a-fA-F]{1,12}|0[oO][0-7]{1,15}|0[bB][01]{1,50}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?")
_MOST_CHARACTERS = 4000


def is_unicode(text: str) -> bool:
    """Whether a text can be written to a file; lone surrogates, which escapes can make, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object, most: int = 80) -> str:
    """Any value in one short line of text that can be printed, whatever its ``repr`` does."""
    try:
        text = repr(value.item() if isinstance(value, np.generic) else value)
    except Exception:  # noqa: BLE001 - of an object of a user's
        return f"<{type(value).__name__}>"
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def how_to_write(value: object) -> str:
    """Return ``"; write 1000"`` for a number in a form that is not read as one, "" for others.

    Such forms are ``1e3`` where a whole number is meant, ``1_000``, ``1,000`` and ``0x3e8``.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST:
        return f"; write {int(value)}"
    if not isinstance(value, str):
        return ""
    if _BASE.fullmatch(value):
        return f"; write {int(value.lower(), 0)}"
    digits = re.sub("[_,]", "", value.strip())
    if not _NUMBER.fullmatch(digits):
        return ""
    return "; leave the quotes out" if digits == value.strip() else f"; write {digits}"


def safe_line(text: str, most: int = _MOST_CHARACTERS) -> str:
    """A stranger's text as a terminal may show it: one line, bounded, without control characters.

    White space becomes a space, and what cannot be printed (escape sequences, marks that reverse
    the direction of writing, lone surrogates) a question mark.
    """
    cut = text[:most]
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in cut)

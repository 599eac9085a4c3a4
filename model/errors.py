"""Errors that are the user's to mend: one line that says what, where and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

INTERRUPTED = 130
"""Exit status of what was ended by Ctrl-C, as shells have it."""


class UserError(Exception):
    """A mistake in input or circumstances that the user can mend.

    The message is one line without a traceback: what is wrong, where, and what is allowed or to be
    done. ``exit_code`` is what a command ends with.
    """

    exit_code = 2


def nearest(word: str, allowed: Iterable[str]) -> str:
    """``"; did you mean 'rate_mbps'?"``, or nothing where no allowed word is near."""
    spelled = {name.lower(): name for name in allowed}
    close = [spelled[name] for name in get_close_matches(word.lower(), list(spelled), n=1)]
    return f"; did you mean '{close[0]}'?" if close and close[0] != word else ""


class ScenarioError(UserError):
    """A scenario file that cannot be used: file, key path, what is wrong, what is allowed."""

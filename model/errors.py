"""Errors that are the user's to mend: one line that says what, where and what to do."""

from __future__ import annotations

INTERRUPTED = 130
"""Exit status of what was ended by Ctrl-C, as shells have it."""


class UserError(Exception):
    """A mistake in input or circumstances that the user can mend.

    The message is one line without a traceback: what is wrong, where, and what is allowed or to be
    done. ``exit_code`` is what a command ends with.
    """

    exit_code = 2


class ScenarioError(UserError):
    """A scenario file that cannot be used: file, key path, what is wrong, what is allowed."""

"""How a command ends: a ``LabError`` takes one line on standard error, no traceback."""

from __future__ import annotations

import errno
from collections.abc import Callable

import click

from model.errors import INTERRUPTED, LabError
from records.streams import complain, say

_OF_THE_USERS_FOLDERS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR,
    errno.EISDIR, errno.ENAMETOOLONG,
)  # fmt: skip
"""Errors of files that no fault of the lab's explains."""


def status_of(
    command: Callable[[], object], with_hint: Callable[[str], str] = lambda message: message
) -> int:
    """Run a click command, called without its own error handling; return the exit status.

    ``with_hint`` completes what click says of a wrong command line.
    """
    try:
        result = command()
    except click.ClickException as error:
        return _of_usage(error, with_hint)
    except LabError as error:
        for line in error.lines:
            complain(line)
        return error.exit_code
    except OSError as error:
        if error.errno not in _OF_THE_USERS_FOLDERS or error.filename is None:
            raise
        complain(f"{error.filename}: {error.strerror}; mend that, or name another place (--out)")
        return LabError.exit_code
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted")
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _of_usage(error: click.ClickException, with_hint: Callable[[str], str]) -> int:
    message = with_hint(error.format_message())
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        # A group called without its verb: its whole help, which is more than a line by nature.
        say(message, err=True)
        return error.exit_code
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message += f" See: {error.ctx.command_path} --help"
    complain(message)
    return error.exit_code

"""The one place that runs external commands; a failure carries everything one needs to know."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from model.errors import RunError


class ProcessError(RunError):
    """A process of the emulation ended, failed or did not answer; ``what`` names it."""

    def __init__(self, what: str, how: str, said: str = ""):
        self.what = what
        super().__init__(f"{what} {how}" + (f": {said.strip()}" if said.strip() else ""))


class CommandError(RunError):
    """A command failed. Attributes: ``command``, ``status``, ``stdout``, ``stderr``."""

    def __init__(self, command: Sequence[str], status: int, stdout: str, stderr: str):
        self.command, self.status, self.stdout, self.stderr = command, status, stdout, stderr
        said = (stderr or stdout).strip() or "(it said nothing)"
        super().__init__(f"`{shlex.join(command)}` ended with status {status}: {said}")


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
    input_text: str | None = None,
) -> str:
    """Run a command (never through a shell) and return its standard output.

    ``env`` is added to this process's environment. Raises ``CommandError`` if the command fails, is
    not installed or does not end within ``timeout_s``.
    """
    try:
        done = subprocess.run(
            list(command),
            env={**os.environ, **(env or {})},
            input=input_text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(command, 127, "", f"{error.filename}: not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(command, 124, "", f"no end within {timeout_s:g} s") from error
    if done.returncode != 0:
        raise CommandError(command, done.returncode, done.stdout, done.stderr)
    return done.stdout

"""Errors that a command answers with a line on standard error instead of a traceback.

::

    LabError                 any of these; a command ends with its ``exit_code``
    ├── UserError            input or circumstances that the user can mend
    │   ├── ScenarioError    a scenario file, with a line for each of its mistakes
    │   ├── NotReadableError  a file that is no checkpoint (``rl.policies.checkpoint_file``)
    │   ├── LearnerError     a class that is no learner (``rl.learning.registry``)
    │   ├── OptionError      an option of a training (``rl.learning.config``)
    │   ├── PolicyError      a policy that raised or decided illegally (``rl.policies.checking``)
    │   ├── ShapingError     a link that is not shaped as asked (``emulation.network.shaping``)
    │   └── SysctlError      a setting that the kernel does not take (``emulation.host.sysctls``)
    ├── RunError             a part of a run has broken
    │   ├── CommandError, ProcessError           (``emulation.host.commands``)
    │   ├── ControllerError, BacklogError        (``controller.core``, ``controller.link_sampler``)
    │   ├── FFmpegError                          (``emulation.node.transcoding.ffmpeg``)
    │   └── HangError                            (``experiments.chaos.running``)
    └── ProtocolError        a peer sent what its protocol does not have
        ├── WireError, also a ``ConnectionError``  (``emulation.protocol.frames``)
        └── HandshakeError                         (``controller.handshake``)

``records.answers.status_of`` alone turns them into a line and a status, for every command. Any
other exception is a mistake of the lab and keeps its traceback. Two kinds are not in the tree:
illegal actions and arguments of the Python API stay ``ValueError``, and an exception that never
leaves its module stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

INTERRUPTED = 130
"""Exit status of what was ended by Ctrl-C, as shells have it."""


class LabError(Exception):
    """A failure that one line explains: what failed, on which object, why, and what to do."""

    exit_code = 2

    @property
    def lines(self) -> list[str]:
        """What a command prints."""
        return [str(self)]


class UserError(LabError):
    """A mistake in input or circumstances that the user can mend."""


class ScenarioError(UserError):
    """A scenario file that cannot be used: file, key path, what is wrong, what is allowed."""

    @property
    def lines(self) -> list[str]:
        """A line for each mistake in the file."""
        return str(self).splitlines()


class RunError(LabError):
    """A part of a run has broken; the message says what and how."""


class ProtocolError(LabError):
    """A peer sent what its protocol does not have."""


@contextmanager
def as_user_error(what: str, hint: str = "") -> Iterator[None]:
    """Turn an ``OSError`` of the block into ``UserError``: ``what``, why, and what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what}: {error.strerror or error}{hint}") from error


def nearest(word: str, allowed: Iterable[str]) -> str:
    """``"; did you mean 'rate_mbps'?"``, or nothing where no allowed word is near."""
    spelled = {name.lower(): name for name in allowed}
    close = [spelled[name] for name in get_close_matches(word.lower(), list(spelled), n=1)]
    return f"; did you mean '{close[0]}'?" if close and close[0] != word else ""

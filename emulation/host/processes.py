"""Child processes of a run: started in a namespace, marked as the run's, stopped by pid."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from emulation.host.commands import ProcessError
from emulation.host.netlink import namespace_path
from model.text import safe_line

_TERM_GRACE_S = 3.0


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    namespace: str | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a long-running child in a network namespace; what it says goes to ``log``.

    The child is killed when this process dies, however it dies, and sits in a session of its own,
    so that Ctrl-C reaches the orchestrator only, which then stops its children in order. The
    programs in front of it replace themselves by it: the pid is the child's own.
    """
    prefix = ["setpriv", "--pdeathsig", "KILL", "--"]
    if namespace is not None:
        prefix += ["nsenter", f"--net={namespace_path(namespace)}", "--"]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*prefix, *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, then SIGKILL, by pid; returns the exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_TERM_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def ended(children: Mapping[str, subprocess.Popen[bytes]]) -> dict[str, int]:
    """Exit status of each child that has ended; below 0: minus the number of a signal."""
    return {name: status for name, c in children.items() if (status := c.poll()) is not None}


def describe_end(status: int) -> str:
    """How a process ended, for a sentence about it."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended by itself with status {status}"


def check_alive(process: subprocess.Popen[bytes], what: str, log: Path) -> None:
    """Raise ``ProcessError`` with the last line of its log if a child has ended by itself.

    The last line of a traceback says what went wrong; the rest is kept with the result.
    """
    status = process.poll()
    if status is None:
        return
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    last = next((k for k in reversed(lines) if k.strip()), "")
    # Nodes, which run a user's policy, write into the log of their parent, too.
    raise ProcessError(what, describe_end(status), safe_line(last))

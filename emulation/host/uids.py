"""Which uid a node gets: one of its own, that nothing else on the machine has.

The uids 0x70000000 … 0x7fffffff are in nobody's range: systemd, Debian and the usual container
runtimes leave them free (systemd: "Users, Groups, UIDs and GIDs"). A run's id, 16 bits, and a
node's position, 12 bits, fill exactly that. Its own uid keeps a node from signalling or tracing
others, of this run or another, and lets the kernel count its processes.
"""

from __future__ import annotations

import grp
import pwd
import secrets
from pathlib import Path

from model.errors import UserError

FIRST = 0x70000000
_NODES_OF_A_RUN = 1 << 12
_RUNS = 1 << 16
_SIMULATIONS = 1 << 8
"""The last ids are no run's: their uids are those of simulations' policies; `clean` leaves them."""
GUESTS = _NODES_OF_A_RUN // 2
"""Added to a device's uid, it is that of its policy's process."""
_SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))


def first_uid(run_id: str) -> int:
    """The uid, and gid, of a run's first node; the next ones follow.

    Raises ``UserError`` if some of the run's are given to somebody else.
    """
    first = FIRST + int(run_id, 16) * _NODES_OF_A_RUN
    last = first + _NODES_OF_A_RUN - 1
    taken = [p.pw_name for p in pwd.getpwall() if first <= p.pw_uid <= last]
    taken += [g.gr_name for g in grp.getgrall() if first <= g.gr_gid <= last]
    for path in _SUBORDINATE:
        taken += [n for n, a, b in _ranges(path) if a <= last and b >= first]
    if taken:
        raise UserError(
            f"uids {first} … {last}, which this run's nodes would get, belong to {taken[0]}; "
            "the next run gets others"
        )
    return first


def draw_run_id() -> str:
    """Draw the id of a run, four hexadecimal digits."""
    return f"{secrets.randbelow(_RUNS - _SIMULATIONS):04x}"


def first_uid_of_simulation() -> int:
    """Draw the uid, and gid, of the first policy of a simulation; the next ones follow.

    Raises ``UserError`` if some of them are given to somebody else.
    """
    return first_uid(f"{_RUNS - 1 - secrets.randbelow(_SIMULATIONS):04x}")


def run_of_uid(uid: int) -> str | None:
    """The id of the run whose nodes have such uids; None for anybody else's."""
    number = (uid - FIRST) // _NODES_OF_A_RUN
    return f"{number:04x}" if 0 <= number < _RUNS - _SIMULATIONS else None


def _ranges(path: Path) -> list[tuple[str, int, int]]:
    """(owner, first, last) of every line ``owner:first:count``."""
    ranges = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        owner, *numbers = line.split(":")
        if len(numbers) == 2 and all(n.isdigit() for n in numbers):
            begin, count = map(int, numbers)
            ranges.append((owner, begin, begin + count - 1))
    return ranges

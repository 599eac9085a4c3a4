"""The latest changes of the network in words, for the live view; the result has them as rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

_KEPT = 20
_ONE_BY_ONE = 3
"""Capacities that change at the same time and are named each; more are counted."""


class EventLog:
    """Lines such as ``60.0 s: bs1-bs2 is down``, the latest last."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._changes: list[tuple[float, str, float]] = []

    def capacity(self, time_s: float, link: str, rate_mbps: float) -> None:
        """Note that a link has had another capacity since a scenario time."""
        self._changes.append((time_s, link, rate_mbps))

    def cable(self, time_s: float, links: Sequence[str], *, up: bool) -> None:
        """Note that both links of a cable failed or came back at a scenario time."""
        cable = "-".join(sorted(links[0].split(">"))) if links else "a cable"
        self._lines.append(f"{time_s:.1f} s: {cable} is {'up again' if up else 'down'}")

    def latest(self) -> tuple[str, ...]:
        """Return the latest lines, those of this slot's capacities put together."""
        changes, self._changes = self._changes, []
        if len(changes) > _ONE_BY_ONE:
            at_s = changes[-1][0]
            self._lines.append(f"{at_s:.1f} s: {len(changes)} links have other capacities")
        else:
            self._lines.extend(f"{t:.1f} s: {link} has {rate:g} Mbps" for t, link, rate in changes)
        return tuple(self._lines)

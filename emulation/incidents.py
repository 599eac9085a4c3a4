"""What happened to a run that its scenario does not say: processes that died, cables that failed.

An incident is told at once, logged, and kept for the manifest, where the verdict finds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Incidents:
    """The incidents of one run.

    Attributes:
        entries: for the manifest: ``at_s`` (scenario time), ``what`` it happened to, ``text``.
    """

    def __init__(self, log: Callable[[str, dict[str, Any]], None], note: Callable[[str], None]):
        self._log, self._note = log, note
        self._begin, self._speedup = 0.0, 1.0
        self.entries: list[dict[str, Any]] = []

    def begin(self, begin: float, speedup: float) -> None:
        """Scenario time 0 is at this ``time.monotonic()``."""
        self._begin, self._speedup = begin, speedup

    def add(self, what: str, text: str) -> None:
        """Something has just happened; ``text`` is a sentence's worth, without a time."""
        now = time.monotonic()
        at_s = (now - self._begin) * self._speedup if self._begin else 0.0
        entry = {"at_s": round(max(0.0, at_s), 3), "what": what, "text": text}
        self.entries.append(entry)
        self._log("incident", {"level": "error", **entry})
        self._note(f"note: at {entry['at_s']:.1f} s: {text}")


class Cables:
    """Which cables are down: by the scenario, which is as planned, or by mishap.

    ``write(cable, up)`` is called once for each change, whoever has noticed it first.
    """

    def __init__(self, write: Callable[[str, bool], None], incidents: Incidents):
        self._write, self._incidents = write, incidents
        self._down: set[str] = set()
        self._planned: set[str] = set()
        self._mishaps: set[str] = set()
        self._unreachable: set[str] = set()

    def plan(self, cable: str, *, up: bool) -> None:
        """The scenario is about to do this; the switches may notice before it says that it has."""
        if up:
            self._planned.discard(cable)
        else:
            self._planned.add(cable)

    def switch(self, name: str, *, up: bool) -> None:
        """A switch has come to the controller, or gone from it with all that it could tell."""
        if up:
            self._unreachable.discard(name)
        else:
            self._unreachable.add(name)

    def changed(self, cable: str, *, up: bool) -> None:
        """Somebody says that a cable is down, or up again."""
        if up != (cable in self._down) or self._unreachable & set(cable.split("-")):
            return
        self._write(cable, up)
        if up:
            self._down.discard(cable)
            if cable in self._mishaps:
                self._mishaps.discard(cable)
                self._incidents.add(cable, f"cable {cable} is up again")
            return
        self._down.add(cable)
        if cable not in self._planned:
            self._mishaps.add(cable)
            text = f"cable {cable} has failed, which the scenario does not say"
            self._incidents.add(cable, text)

    def seen_up(self, cables: set[str]) -> None:
        """These are up now: what nobody could tell while there was no controller."""
        for cable in sorted(self._down & cables):
            self.changed(cable, up=True)

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
        self._begin, self._speedup, self._end_s = 0.0, 1.0, 0.0
        self.entries: list[dict[str, Any]] = []

    def begin(self, begin: float, speedup: float, end_s: float) -> None:
        """Scenario time 0 is at this ``time.monotonic()``; the slots end at ``end_s``."""
        self._begin, self._speedup, self._end_s = begin, speedup, end_s

    def add(self, what: str, text: str) -> None:
        """Something has just happened; ``text`` is a sentence's worth, without a time."""
        now = time.monotonic()
        # Before the start it is 0, and after the last slot the end.
        at_s = min(max(0.0, (now - self._begin) * self._speedup), self._end_s)
        entry = {"at_s": round(at_s, 3), "what": what, "text": text}
        self.entries.append(entry)
        self._log("incident", {"level": "error", **entry})
        self._note(f"note: at {entry['at_s']:.1f} s: {text}")

"""The slots of a run in real time: when each ends, when its reports are due, and when to stop.

Runs in the orchestrator. It covers the clock and the order to stop, and nothing of what a slot's
end brings, which are the callers' functions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

REPORTS_GRACE = 0.3
"""Share of a slot after its end by which all reports of it should have come."""


class SlotLoop:
    """Counts the slots of a run.

    Args:
        slots: how many there are.
        slot_real_s: how long each lasts, real s.
    """

    def __init__(self, slots: int, slot_real_s: float):
        self._slots, self._slot_real_s = slots, slot_real_s
        self._stop_asked = asyncio.Event()

    @property
    def stop_asked(self) -> bool:
        """Whether ``ask_to_stop`` was called."""
        return self._stop_asked.is_set()

    def ask_to_stop(self) -> None:
        """End in order at the next opportunity."""
        self._stop_asked.set()

    async def run(
        self,
        begin: float,
        on_end: Callable[[int, float], None],
        on_reports: Callable[[int], None],
    ) -> bool:
        """Run all slots, the first from the monotonic time ``begin`` on.

        ``on_end(slot, lateness in real s)`` is called at the end of each, ``on_reports(slot)`` when
        its reports have come. Returns whether all were run; False: asked to stop before.
        """
        for slot in range(self._slots):
            end = begin + (slot + 1) * self._slot_real_s
            await self._sleep_until(end)
            on_end(slot, max(0.0, time.monotonic() - end))
            await self._sleep_until(end + REPORTS_GRACE * self._slot_real_s)
            if self.stop_asked:
                return False
            on_reports(slot)
        return True

    async def _sleep_until(self, moment: float) -> None:
        """Sleep until a monotonic time, or until asked to stop."""
        left = moment - time.monotonic()
        if left > 0 and not self.stop_asked:
            try:
                await asyncio.wait_for(self._stop_asked.wait(), left)
            except TimeoutError:
                return

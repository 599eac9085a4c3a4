"""The slots of a run, kept by the controller: looks at all links within slots and at their ends."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from controller.link_sampler import LinkReading, LinkSampler, timed_sample
from controller.switch_messages import Failed


@dataclass(frozen=True, slots=True)
class SlotEnded:
    """The links as they were when slot ``slot`` ended (0: when slot 1 began)."""

    slot: int
    sampled_at: float
    readings: list[LinkReading]


@dataclass(frozen=True, slots=True)
class Looked:
    """The links as they were within a slot."""

    sampled_at: float
    readings: list[LinkReading]


@dataclass(frozen=True, slots=True)
class Slots:
    """The slots of a run: slot k ends at ``t0 + k * slot_s`` (CLOCK_MONOTONIC, s), k = 1…slots.

    ``looks``: how often the links are looked at in a slot; the last look is at its end. ``first``:
    the end at which to begin, above 0 where another process has looked before.
    """

    t0: float
    slot_s: float
    slots: int
    looks: int = 1
    first: int = 0

    def __post_init__(self) -> None:
        if self.slot_s <= 0 or self.slots < 1 or self.looks < 1 or self.first < 0:
            raise ValueError(f"{self}: slot_s, slots and looks must be positive")


class SlotClock:
    """A native thread that looks at the links at each slot's end.

    A thread of its own keeps the time exact while flows are being installed; it changes no state,
    it only hands what it saw to ``receive``. A look that comes late says so by ``sampled_at``.
    """

    def __init__(
        self,
        sampler: LinkSampler,
        slots: Slots,
        receive: Callable[[SlotEnded | Looked | Failed], None],
    ):
        self._sampler, self._slots, self._receive = sampler, slots, receive
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slots", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            times = self._slots
            for look in range(times.first * times.looks, times.slots * times.looks + 1):
                wait = times.t0 + look * times.slot_s / times.looks - time.monotonic()
                if self._stopped.wait(max(0.0, wait)):
                    return
                slot, rest = divmod(look, times.looks)
                seen = timed_sample(self._sampler)
                self._receive(Looked(*seen) if rest else SlotEnded(slot, *seen))
        except Exception:  # noqa: BLE001 - whoever receives it ends the process with it
            self._receive(Failed(traceback.format_exc()))

    def stop(self) -> None:
        """End, even before the last slot has ended."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

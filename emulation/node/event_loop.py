"""A small event loop: one epoll set and one heap of timers, on the monotonic clock.

asyncio would do, but dozens of node processes share two cores with the emulated network: here an
event costs one Python call, a timer fires in order of its due time, and nothing else is loaded.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Any

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
Callback = Callable[..., None]
_LONGEST_WAIT_S = 3600.0
"""The system's waits overflow at some hundred years, which a timer's due time need not keep to."""


class Timer:
    """A call that is due at a monotonic time; ``cancel`` takes it back."""

    __slots__ = ("args", "call", "due")

    def __init__(self, due: float, call: Callback, args: tuple[Any, ...]):
        self.due = due
        self.call: Callback | None = call
        self.args = args

    def cancel(self) -> None:
        """Never call (a call that has happened stays)."""
        self.call = None
        self.args = ()


class Loop:
    """Waits for sockets and times; exceptions of a callback end ``run``."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Callback]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False

    def at(self, due: float, call: Callback, *args: Any) -> Timer:
        """Call ``call(*args)`` at a time of ``time.monotonic``, real s."""
        timer = Timer(due, call, args)
        heapq.heappush(self._timers, (due, next(self._order), timer))
        return timer

    def after(self, delay_s: float, call: Callback, *args: Any) -> Timer:
        """Call ``call(*args)`` in ``delay_s`` real seconds."""
        return self.at(time.monotonic() + delay_s, call, *args)

    def watch(self, fd: int, events: int, call: Callable[[int], None]) -> None:
        """Call ``call(events)`` whenever a descriptor is ready (level-triggered)."""
        before = self._watched.get(fd)
        if before is None:
            self._epoll.register(fd, events)
        elif before[0] != events:
            self._epoll.modify(fd, events)
        self._watched[fd] = (events, call)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; to be called before it is closed."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def stop(self) -> None:
        """Let ``run`` return after the present callback."""
        self._running = False

    def run(self) -> None:
        """Serve events until ``stop``."""
        self._running = True
        while self._running:
            self._fire_due()
            if self._running:
                self._wait()

    def step(self, limit_s: float = 0.0) -> None:
        """Serve what is due, waiting for at most ``limit_s`` real seconds; for tests."""
        self._running = True
        self._fire_due()
        self._wait(limit_s)
        self._fire_due()

    def close(self) -> None:
        """Free the epoll set."""
        self._epoll.close()

    def _fire_due(self) -> None:
        timers = self._timers
        while timers and self._running and timers[0][0] <= time.monotonic():
            timer = heapq.heappop(timers)[2]
            if timer.call is not None:
                timer.call(*timer.args)

    def _wait(self, limit_s: float | None = None) -> None:
        timers = self._timers
        while timers and timers[0][2].call is None:
            heapq.heappop(timers)
        wait_s = None
        if timers:
            wait_s = min(max(0.0, timers[0][0] - time.monotonic()), _LONGEST_WAIT_S)
        if limit_s is not None:
            wait_s = limit_s if wait_s is None else min(wait_s, limit_s)
        # epoll counts in milliseconds; select on the epoll set itself waits to the microsecond.
        if not select.select([self._epoll], [], [], wait_s)[0]:
            return
        # What was due while this process had no processor comes before what has arrived since.
        self._fire_due()
        for fd, events in self._epoll.poll(0):
            # An earlier callback of this round may have closed this one.
            watched = self._watched.get(fd)
            if watched is not None and self._running:
                watched[1](events)


class Clock:
    """Scenario time: t = (monotonic - t0) · speed-up; 0 before the start."""

    def __init__(self, speedup: float):
        self.speedup = speedup
        self._t0: float | None = None

    @property
    def started(self) -> bool:
        """Whether ``start`` was called."""
        return self._t0 is not None

    def start(self, t0: float) -> None:
        """Scenario time 0 is the monotonic time ``t0``."""
        self._t0 = t0

    def now(self) -> float:
        """Scenario time, s; never negative."""
        if self._t0 is None:
            return 0.0
        return max(0.0, (time.monotonic() - self._t0) * self.speedup)

    def real(self, time_s: float) -> float:
        """Monotonic time of a scenario time (before the start: now)."""
        if self._t0 is None:
            return time.monotonic()
        return self._t0 + time_s / self.speedup

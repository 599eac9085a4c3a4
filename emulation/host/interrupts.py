"""Ctrl-C and SIGTERM on long work: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_BOTH = (signal.SIGINT, signal.SIGTERM)


def raise_interrupt(_: int = 0, __: FrameType | None = None) -> None:
    """End the main thread's work by ``KeyboardInterrupt``; a handler of a signal."""
    raise KeyboardInterrupt


@contextmanager
def handled(
    handler: Callable[[int, FrameType | None], None] | signal.Handlers,
    numbers: tuple[signal.Signals, ...] = _BOTH,
) -> Iterator[None]:
    """Let a handler answer signals in the ``with`` block; of the main thread only."""
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, earlier in zip(numbers, before, strict=True):
            signal.signal(number, earlier)


@contextmanager
def interruptible(
    on_first: Callable[[], object], on_second: Callable[[], object] = raise_interrupt
) -> Iterator[Callable[[], bool]]:
    """Call a function at the first interrupt and another at each later one.

    Yields whether an end was asked for.
    """
    asked = False

    def answer(_: int, __: FrameType | None) -> None:
        nonlocal asked
        if asked:
            on_second()
            return
        asked = True
        on_first()

    with handled(answer):
        yield lambda: asked


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore both signals: what tidies up must come to its end, and is quick."""
    with handled(signal.SIG_IGN):
        yield
